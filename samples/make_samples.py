"""Draw a small data set in WIKI's layout and a few photographs, to try the whole suite without any download.

    python samples/make_samples.py --output_dir quickstart --count 800

takes a quarter of a minute and writes `quickstart/wiki_crop` (faces and `wiki.mat`, one record in six spoilt
in the ways WIKI's are) and `quickstart/photos` (pictures for the demo with `truth.csv`). A program draws the
faces: a network can learn their ages and genders from them, and nothing about people.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the suite's modules lie above this folder

from age_gender import cli


def build_parser():
    """The command line."""
    parser = cli.parser_for(__doc__, "make_samples.py [options]")
    parser.add_argument("--output_dir", default="quickstart", help="gets the folders wiki_crop and photos")
    parser.add_argument("--count", type=int, default=800, help="records of wiki_crop")
    parser.add_argument("--seed", **cli.numeric("N", int, 0, default=0), help="of everything drawn, 0 or more")
    return parser


def main(argv=None):
    """Draw, and say in one line what was written."""
    args = build_parser().parse_args(argv)
    print(write_samples(args.output_dir, args.count, args.seed))


def write_samples(output_dir, count, seed):
    """Write `wiki_crop` and `photos` below `output_dir`; returns a sentence that says what was written.

    Raises:
        FileExistsError: One of the two is there already; nothing is ever overwritten.
        ValueError: `count` is too small to hold every kind of dirt.
    """
    import sample_sets  # OpenCV and SciPy: not for --help

    wiki, photos = os.path.join(output_dir, "wiki_crop"), os.path.join(output_dir, "photos")
    for folder in (wiki, photos):
        if os.path.lexists(folder):
            raise FileExistsError(f"{folder} exists already. Remove it or choose another --output_dir.")
    records = sample_sets.write_wiki(wiki, count, seed)
    faces = sample_sets.write_photos(photos, seed)
    clean = sum(record.kind == sample_sets.CLEAN for record in records)
    return (
        f"Wrote {wiki} ({len(records)} records, {clean} of them clean) and {photos} "
        f"({len(sample_sets.PHOTOS)} pictures, {faces} faces)."
    )


if __name__ == "__main__":
    cli.run(main)
