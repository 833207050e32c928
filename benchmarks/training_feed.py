"""Does augmentation slow the training down?

    python benchmarks/training_feed.py
    python benchmarks/training_feed.py --depth 16 --width 8 --mixed_precision bfloat16

Trains one wide residual network by model.fit in turns: fed by MixupGenerator with full augmentation from a mapped
database, and fed one finished batch again and again, which is as fast as this network can be fed at all: that is peer
and physical limit in one. Each pair of turns gives a ratio; 1 means that augmentation costs nothing. The order within
a pair alternates. What the generator makes without any training is measured too.
"""

import argparse
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the suite's modules lie above this folder

import common
from batches import write_faces

from age_gender import cli

AUGMENTED, CONSTANT = "fit, MixupGenerator --aug, mapped", "limit: fit, one batch again and again"
ALONE = "MixupGenerator --aug, mapped, no training"


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.parser_for(__doc__, "training_feed.py")
    parser.add_argument("--depth", type=int, default=10, metavar="N", help="of the network")
    parser.add_argument("--width", type=int, default=2, metavar="K", help="of the network")
    parser.add_argument("--faces", type=cli.number(int, 64), default=38138, metavar="N", help="in the database")
    parser.add_argument("--image_size", type=cli.number(int, 32), default=64, metavar="PIXELS", help="of the faces")
    parser.add_argument("--batch_size", type=cli.number(int, 1), default=32, metavar="N", help="faces in a batch")
    parser.add_argument("--batches", type=cli.number(int, 1), default=200, metavar="N", help="in each turn")
    parser.add_argument("--mixed_precision", choices=("bfloat16", "float16"), help="compute in 16 bits")
    parser.set_defaults(repeats=9)
    return parser


def main(argv: list[str] | None = None) -> None:
    """Write a database, train in turns, report."""
    args = common.parse(build_parser(), argv, {"faces": 1024, "batches": 6, "repeats": 3})
    needed = args.batches * args.batch_size
    if args.faces < needed:
        raise ValueError(f"--faces {args.faces} are fewer than --batches {args.batches} of {args.batch_size} hold")
    from networks import backend

    device = backend.start()
    with common.work_folder() as folder:
        stack = write_faces(folder / "faces.mat", args)
        seconds = common.interleaved(turns(stack, args), args.repeats)
    ratios = [constant / augmented for constant, augmented in zip(seconds[CONSTANT], seconds[AUGMENTED], strict=True)]
    rows = [{"what": name, "images_per_second": common.rates(needed, values)} for name, values in seconds.items()]
    rows.append({"what": "ratio", "augmented_to_limit": common.spread(ratios), "pairs": ratios})
    show(rows, statistics.median(seconds[AUGMENTED]) / args.batches)
    common.report("training_feed", args, rows, device)


def turns(stack, args: argparse.Namespace) -> dict:
    """The tasks: one epoch of each kind, with the same network."""
    import keras
    import numpy as np

    from mixup_generator import Augmentation, Labels, MixupGenerator
    from training.augmentations import AUGMENTATIONS
    from training.callbacks import Epochs

    gender, age = common.noise_labels(args.faces)
    chosen = np.random.default_rng(0).permutation(args.faces)[: args.batches * args.batch_size]
    classic = Augmentation(**AUGMENTATIONS["classic"])
    generator = MixupGenerator(stack, Labels(gender, age), chosen, args.batch_size, classic)
    constant = constant_batches(generator[0], args.batches)
    keras.utils.set_random_seed(0)
    model = build_model(args)

    def train(batches, callbacks):
        model.fit(batches, shuffle=False, verbose=0, callbacks=callbacks)

    def make_all():
        for index in range(len(generator)):
            generator[index]

    return {
        AUGMENTED: lambda: train(generator, [Epochs(generator)]),
        CONSTANT: lambda: train(constant, None),
        ALONE: make_all,
    }


def constant_batches(batch, count: int):
    """A dataset of one batch, `count` times."""
    import keras

    class ConstantBatches(keras.utils.PyDataset):
        """Returns the same arrays each time."""

        def __len__(self):
            return count

        def __getitem__(self, index):
            return batch

    return ConstantBatches()


def build_model(args: argparse.Namespace):
    """The network, compiled as train.py does it, but with a rate so small that noise teaches it nothing."""
    import keras

    from training.metrics import weighted_metrics
    from wide_resnet import wide_resnet

    if args.mixed_precision:
        keras.mixed_precision.set_global_policy(f"mixed_{args.mixed_precision}")
    model = wide_resnet(args.image_size, args.depth, args.width)
    optimizer = keras.optimizers.SGD(1e-4, momentum=0.9, nesterov=True)
    model.compile(optimizer, loss=["categorical_crossentropy"] * 2, weighted_metrics=weighted_metrics())
    return model


def show(rows: list[dict], seconds_per_step: float) -> None:
    """Prints the table and the ratio."""
    from tabulate import tabulate

    *speeds, ratio = rows
    table = [(row["what"], common.shown(row["images_per_second"], ",.0f")) for row in speeds]
    print(tabulate(table, headers=("", "images/s")))
    print(f"\naugmented / limit, pair by pair: {common.shown(ratio['augmented_to_limit'], '.3f')}")
    print(f"a step with augmentation takes {seconds_per_step * 1e3:.1f} ms")


if __name__ == "__main__":
    cli.run(main)
