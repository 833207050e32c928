"""How many images a second does MixupGenerator make with full augmentation on one core?

    python benchmarks/batches.py
    python benchmarks/batches.py --faces 8192 --image_size 128

Batches of 32 from an array in memory and from a mapped database. Peer in the same run: Keras's own preprocessing layers
in tf.data, on all cores. The physical limit is copying a finished batch in memory.

TensorFlow is imported in the function of that peer alone: what benchmarks compare with may need it, the suite's
own code leaves it to backend.py.
"""

import argparse
import os
from functools import partial

import common  # makes the suite's modules importable
import numpy as np

from age_gender import cli
from age_gender.labels import NUM_AGES, NUM_GENDERS
from networks import backend
from random_eraser import AREA
from training.augmentations import AUGMENTATIONS
from utils import ImageStack, open_database

IN_MEMORY, MAPPED, PLAIN = "MixupGenerator, in memory", "MixupGenerator, mapped", "MixupGenerator, mapped, no changes"
KERAS, LIMIT = "Keras layers in tf.data", "limit: copy of a batch"


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.parser_for(__doc__, "batches.py", repeats=7)
    parser.add_argument("--faces", **cli.numeric("N", int, 64, default=38138), help="in the database")
    parser.add_argument("--image_size", **cli.numeric("PIXELS", int, 32, default=64), help="of the faces")
    parser.add_argument("--batch_size", **cli.numeric("N", int, 1, default=32), help="faces in a batch")
    parser.add_argument("--batches", **cli.numeric("N", int, 1, default=400), help="in each repetition")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Write a database, pin to one core, measure, report."""
    quick = {"faces": 2048, "batches": 40, "repeats": 3}
    args = common.parse(build_parser(), argv, quick)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[-1:])  # before OpenCV counts the cores
    import cv2

    cv2.setNumThreads(1)
    with common.work_folder() as folder:
        common.write_noise(folder / "faces.mat", args.faces, args.image_size)
        stack = ImageStack([open_database(folder / "faces.mat")])
        in_memory = stack[range(args.faces)]
        rows = measure_pipelines(stack, in_memory, args)
    os.sched_setaffinity(0, cores)
    seconds = common.in_fresh_process(keras_layers, args)  # its TensorFlow sees all cores
    rows.insert(-1, row(KERAS, args.batches * args.batch_size, seconds, len(cores)))
    common.show(rows, {"": ("what", ""), "cores": ("cores", ""), "images/s": ("images_per_second", ",.0f")})
    common.report("batches", args, rows)


def row(name: str, images: int, seconds: list[float], cores: int = 1) -> dict:
    """A figure in images a second."""
    return {"what": name, "cores": cores, "images_per_second": common.rates(images, seconds)}


def measure_pipelines(stack, in_memory, args: argparse.Namespace) -> list[dict]:
    """Whole batches on one core."""
    labels, size = common.noise_labels(args.faces), args.batch_size
    batch = in_memory[:size]
    copy = np.empty_like(batch)
    pipelines = {
        IN_MEMORY: common.training_batches(in_memory, *labels, size).__getitem__,
        MAPPED: common.training_batches(stack, *labels, size).__getitem__,
        PLAIN: common.training_batches(stack, *labels, size, augmentation="none").__getitem__,
        LIMIT: lambda index: np.copyto(copy, batch),
    }
    whole = args.faces // size  # the last, smaller batch is left out

    def make_batches(make):
        for index in range(args.batches):
            make(index % whole)

    seconds = common.interleaved({name: partial(make_batches, make) for name, make in pipelines.items()}, args.repeats)
    return [row(name, args.batches * size, values) for name, values in seconds.items()]


def keras_layers(args: argparse.Namespace) -> list[float]:
    """Seconds of each repetition with Keras's preprocessing layers in tf.data; runs in a process of its own."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    backend.start()
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")  # tf.data computes on the CPU, and the arrays belong there
    shape = (args.faces, args.image_size, args.image_size, 3)
    images = tf.constant(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    heads = zip(common.noise_labels(args.faces), (NUM_GENDERS, NUM_AGES), strict=True)
    targets = tf.concat([tf.one_hot(values, classes) for values, classes in heads], axis=1)
    change = layer_chain()

    def make(rows):
        return change(tf.gather(images, rows), tf.gather(targets, rows))

    dataset = tf.data.Dataset.range(args.faces).shuffle(args.faces).repeat().batch(args.batch_size)
    batches = iter(dataset.map(make, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE))

    def epoch():
        for _ in range(args.batches):
            next(batches)

    return common.interleaved({KERAS: epoch}, args.repeats)[KERAS]  # warms up: tracing, and how many to make at once


def layer_chain():
    """MixupGenerator's changes by the nearest of Keras's layers: images and joined labels in, (images, labels) out."""
    import keras
    import tensorflow as tf

    from mixup_generator import Augmentation

    setting = Augmentation(**AUGMENTATIONS["classic"])
    flip = keras.layers.RandomFlip("horizontal")
    shift = keras.layers.RandomTranslation(setting.shift, setting.shift, fill_mode="nearest")
    mix = keras.layers.MixUp(setting.mixup_alpha)
    erase = keras.layers.RandomErasing((setting.erase, setting.erase), scale=AREA, value_range=(0, 255))

    def change(images, targets):
        images = shift(flip(images, training=True), training=True)
        mixed = mix({"images": images, "labels": targets}, training=True)
        images = erase(mixed["images"], training=True)
        return images, tuple(tf.split(mixed["labels"], (NUM_GENDERS, NUM_AGES), axis=1))

    return change


if __name__ == "__main__":
    cli.run(main)
