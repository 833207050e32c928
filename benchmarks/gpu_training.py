"""What share of a card's rate does training reach, and does the card wait for its faces?

    KERAS_BACKEND=jax python benchmarks/gpu_training.py
    KERAS_BACKEND=jax python benchmarks/gpu_training.py --small        # on a CPU, to try the script

WRN-16-8 with `train.py --aug`'s augmentation, loss and optimiser, in bfloat16, on JAX. Measured are the product of two
large matrices, a compiled step on faces that are there, and one batch of the input pipeline, on one core of this
machine. An image and step takes 37e9 floating-point operations at 64 px with this network: 3 times its forward pass.
"""

import argparse

import common  # makes the suite's modules importable
import numpy as np

from age_gender import cli
from age_gender.description import Description
from networks import backend
from networks.backbones import build

OPERATIONS = 37e9  # of an image and step of WRN-16-8 at 64 px: forward, and twice as many backward
FACES = 4096


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.parser_for(__doc__, "gpu_training.py")
    parser.add_argument("--small", dest="quick", action="store_true", help="the same as --quick")
    parser.add_argument("--batch_size", **cli.numeric("N", int, 1, default=512), help="faces in a step")
    parser.add_argument("--width", **cli.numeric("K", int, 1, default=8), help="of the network")
    parser.add_argument("--image_size", **cli.numeric("PIXELS", int, 32, default=64), help="of the faces")
    parser.add_argument("--matrix", **cli.numeric("N", int, 16, default=16384), help="rows of the product")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, measure, report."""
    small = {"repeats": 1, "batch_size": 4, "width": 1, "image_size": 32, "matrix": 256}
    args = common.parse(build_parser(), argv, small)
    device = backend.start()
    import keras

    if keras.backend.backend() != "jax":
        raise ValueError("this measures JAX: set KERAS_BACKEND=jax")
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    report(args, {"matrix": matrix_seconds(args), **training_seconds(args)}, device)
    return 0


def matrix_seconds(args: argparse.Namespace) -> list[float]:
    """Seconds of the product of two square bfloat16 matrices."""
    import jax

    matrix = jax.numpy.ones((args.matrix, args.matrix), "bfloat16")
    product = jax.jit(lambda a: a @ a)
    task = {"product": lambda: product(matrix).block_until_ready()}
    return common.interleaved(task, args.repeats, warm_ups=2)["product"]


def training_seconds(args: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of a step on a batch that is there, and of making a batch."""
    import keras

    arguments = {"depth": 16, "width": args.width, "stages": 3, "stem_stride": 1}
    model = build(Description("wide_resnet", arguments, args.image_size), weight_decay=5e-4, dropout=0.0)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True)
    model.compile(optimizer, ["categorical_crossentropy"] * 2)
    count = max(FACES if args.repeats > 1 else 0, args.batch_size)
    shape = (count, args.image_size, args.image_size, 3)
    faces = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    batches = common.training_batches(faces, *common.noise_labels(count), args.batch_size)
    images, targets, weights = batches[0]

    def step() -> float:
        return float(np.asarray(model.train_on_batch(images, targets, sample_weight=weights)[0]))

    return common.interleaved({"step": step, "batch": lambda: batches[0]}, args.repeats, warm_ups=2)


def report(args: argparse.Namespace, measured: dict[str, list[float]], device: str) -> None:
    """Prints the rates; the share is only of the network and size that OPERATIONS is of."""
    rate = common.spread(2 * args.matrix**3 / seconds for seconds in measured["matrix"])
    images = common.rates(args.batch_size, measured["step"])
    rates = {
        "product of matrices, TFLOP/s": common.shown(rate, ",.3f", 1e-12),
        "training, images/s": common.shown(images),
        "batches of one core, images/s": common.shown(common.rates(args.batch_size, measured["batch"])),
    }
    if (args.width, args.image_size) == (8, 64):
        rates["share of the product's rate"] = f"{images['median'] * OPERATIONS / rate['median']:.1%}"
    rows = [{"what": what, "rate": text} for what, text in rates.items()]
    common.show(rows, {"": ("what", ""), "median (min..max)": ("rate", "")})
    waits = np.median(measured["batch"]) > np.median(measured["step"])
    print("the device waits for its faces" if waits else "the faces are there before the device needs them")
    figures = {name: common.spread(seconds) for name, seconds in measured.items()}
    common.report("gpu_training", args, [figures], device)


if __name__ == "__main__":
    cli.run(main)
