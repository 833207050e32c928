"""Writes a checkpoint whose weights are the mean of two checkpoints of one network, the later one from the earlier one.

    python samples/average.py --share 0.7 --weight_file old.hdf5 new.hdf5 --output between.hdf5

What a network knew before it was trained on other faces is partly forgotten then. Between the two, little of either is
lost (Wortsman et al., "Robust fine-tuning of zero-shot models", arXiv:2109.01903). The share is chosen on faces that
trained neither. The result says of itself what the second one says; its calibration has to be made anew.
"""

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the suite's modules lie above this folder

from age_gender import cli


def main(argv: list[str] | None = None) -> None:
    """Parse, load both, average, save."""
    parser = cli.parser_for(__doc__, "average.py --weight_file OLD NEW --output FILE [--share SHARE]")
    parser.add_argument(
        "--weight_file", type=Path, nargs=2, required=True, metavar="FILE", help="the earlier, the later"
    )
    parser.add_argument("--share", type=cli.number(float, 0, 1), default=0.7, help="of the later one")
    parser.add_argument("--output", "-o", type=Path, required=True, metavar="FILE", help="checkpoint to write")
    args = parser.parse_args(argv)
    from networks.checkpoints import load, save

    (old, before), (new, description) = (load(path, mirror=False) for path in args.weight_file)
    if (before.network, before.arguments) != (description.network, description.arguments):
        raise ValueError(f"{args.weight_file[0]} and {args.weight_file[1]} are not of one network")
    pairs = zip(old.get_weights(), new.get_weights(), strict=True)
    new.set_weights([(1 - args.share) * one + args.share * other for one, other in pairs])
    averaged = {"averaged": {"share": args.share, "with": before.training}}
    save(new, args.output, replace(description, calibration=None, training=description.training | averaged))
    print(f"{args.output}: {args.share:.0%} of {args.weight_file[1]}, the rest of {args.weight_file[0]}")


if __name__ == "__main__":
    cli.run(main)
