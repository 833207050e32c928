"""What does one prediction cost beyond the network's own arithmetic, and does memory grow with the calls?

    python benchmarks/predict.py

backend.compiled_predict, as the demo calls it, against model.predict and model.predict_on_batch. Overhead: the time
of a call with a network so small (a pooling and two heads) that nearly all of it is overhead; its limit is the same
arithmetic in OpenCV and NumPy. Latency: one face through WRN-16-8, WRN-16-2 and the model that comes with the suite;
their limit is the time that as many multiplications take in one large convolution on the same device. Memory: what the
process gains over 10,000 compiled calls and over fewer calls of model.predict, with 1 to 8 faces in turn.
"""

import argparse
import gc
from functools import partial

import common  # makes the suite's modules importable
import cv2
import numpy as np

from age_gender import cli
from networks import backend

IMAGE_SIZE = 64
FACES = (1, 3, 8)
NETWORKS = ((16, 8), (16, 2))  # depth, width
# Of the one large convolution that shows what the device can do at most
CONVOLUTION_IMAGES, CONVOLUTION_SIDE, CONVOLUTION_CHANNELS = 8, 32, 256
CONVOLUTION_MULTIPLICATIONS = CONVOLUTION_IMAGES * CONVOLUTION_SIDE**2 * 9 * CONVOLUTION_CHANNELS**2
COMPILED = "compiled_predict"
GROWTH_WARM_UP = 300  # calls after which memory should stand still


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.parser_for(__doc__, "predict.py", repeats=20)
    parser.add_argument("--calls", type=cli.number(int, 1), default=200, metavar="N", help="of each way, small network")
    parser.add_argument("--growth_calls", type=cli.number(int, 1), default=10_000, metavar="N", help="compiled ones")
    parser.add_argument("--keras_calls", type=cli.number(int, 1), default=1000, metavar="N", help="of model.predict")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Measure overhead, latency and growth, report."""
    quick = {"calls": 20, "growth_calls": 300, "keras_calls": 30, "repeats": 3}
    args = common.parse(build_parser(), argv, quick)
    device = backend.start()
    small = small_network()
    overhead = [row for faces in FACES for row in measure_overhead(small, faces, args.calls)]
    show(overhead, "microseconds", ",.0f")
    latency = [row for name, model in networks().items() for row in measure_latency(name, model, args.repeats)]
    show(latency, "milliseconds", ",.1f")
    growth = measure_growth(small, args)
    columns = {
        "": ("what", ""),
        "calls": ("calls", ","),
        "MB gained": ("gained_mb", ",.1f"),
        "KB in 1,000 calls": ("gained_kb_per_1000_calls", ",.1f"),
        "calls/s": ("calls_per_second", ",.1f"),
    }
    common.show(growth, columns)
    common.report("predict", args, overhead + latency + growth, device)


def small_network():
    """The least network with the suite's inputs and outputs."""
    import keras

    from wide_resnet import two_heads

    image = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), dtype="uint8")
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 127.5, -1.0)(image))
    return keras.Model(image, two_heads(pooled))


def images(faces: int, size: int = IMAGE_SIZE):
    """(faces, size, size, 3) uint8 of noise."""
    return np.random.default_rng(faces).integers(0, 256, (faces, size, size, 3), np.uint8)


def ways(model) -> dict:
    """The ways to predict, by name."""
    return {
        COMPILED: backend.compiled_predict(model),
        "model.predict_on_batch": model.predict_on_batch,
        "model.predict": partial(model.predict, verbose=0),
    }


def measure_overhead(model, faces: int, calls: int) -> list[dict]:
    """Microseconds of a call with the small network."""
    batch = images(faces)
    tasks = {name: partial(predict, batch) for name, predict in ways(model).items()}
    tasks["limit: the arithmetic alone"] = partial(arithmetic(model), batch)
    seconds = common.interleaved(tasks, calls, warm_ups=5)
    return [
        {"network": "small", "faces": faces, "what": name, "microseconds": common.spread(v * 1e6 for v in values)}
        for name, values in seconds.items()
    ]


def arithmetic(model):
    """The small network as a function of images, written in OpenCV and NumPy."""
    heads = [model.get_layer(name).get_weights() for name in ("pred_gender", "pred_age")]

    def softmax(values):
        powers = np.exp(values - values.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def predict(batch):
        pooled = np.array([cv2.mean(image)[:3] for image in batch], np.float32) / 127.5 - 1
        return [softmax(pooled @ kernel + bias) for kernel, bias in heads]

    return predict


def networks() -> dict:
    """The networks whose latency is measured, by name."""
    from networks import checkpoints
    from wide_resnet import wide_resnet

    chosen = [wide_resnet(IMAGE_SIZE, depth, width) for depth, width in NETWORKS]
    return {**{model.name: model for model in chosen}, "the shipped model": checkpoints.load(checkpoints.SHIPPED)[0]}


def measure_latency(name: str, model, repeats: int) -> list[dict]:
    """Milliseconds for one face with a real network, and what the device needs for its multiplications alone."""
    batch = images(1, model.input_shape[1])
    tasks = {way: partial(predict, batch) for way, predict in ways(model).items()}
    tasks["convolution"] = large_convolution()
    seconds = common.interleaved(tasks, repeats, warm_ups=2)
    share = multiplications(model) / CONVOLUTION_MULTIPLICATIONS
    limit = [share * value for value in seconds.pop("convolution")]
    return [
        {"network": name, "faces": 1, "what": way, "milliseconds": common.spread(v * 1e3 for v in values)}
        for way, values in {**seconds, "limit: as many multiplications": limit}.items()
    ]


def large_convolution():
    """A task: one 3 x 3 convolution in float32 on the device, until its result is there."""
    from keras import ops, random

    images = random.normal((CONVOLUTION_IMAGES, CONVOLUTION_SIDE, CONVOLUTION_SIDE, CONVOLUTION_CHANNELS))
    kernel = random.normal((3, 3, CONVOLUTION_CHANNELS, CONVOLUTION_CHANNELS))
    return lambda: ops.convert_to_numpy(ops.conv(images, kernel, padding="same")[:1, :1, :1])


def multiplications(model) -> int:
    """Of all convolutions and heads, for one image; a network within a mirrored model sees it twice."""
    total = 0
    for layer in model.layers:
        if hasattr(layer, "layers"):
            total += 2 * multiplications(layer)
        elif weights := layer.get_weights():
            kernel = weights[0]  # (height, width, in, out), or (in, out)
            if kernel.ndim == 4:
                _, height, width, _ = layer.output.shape
                total += height * width * kernel.size
            elif kernel.ndim == 2:
                total += kernel.size
    return total


def measure_growth(model, args: argparse.Namespace) -> list[dict]:
    """Memory that the process gains over many calls with the small network."""
    return [
        growth_row(name, predict, args.growth_calls if name == COMPILED else args.keras_calls)
        for name, predict in ways(model).items()
    ]


def growth_row(name: str, predict, calls: int) -> dict:
    """Calls after a warm-up, with each number of faces in turn."""
    batches = [images(faces) for faces in range(1, max(FACES) + 1)]

    def call(times):
        for index in range(times):
            predict(batches[index % len(batches)])
        gc.collect()

    call(min(GROWTH_WARM_UP, calls))
    before = common.memory_mb("VmRSS")
    seconds = common.seconds_of(partial(call, calls))
    gained = common.memory_mb("VmRSS") - before
    return {
        "network": "small",
        "what": name,
        "calls": calls,
        "gained_mb": gained,
        "gained_kb_per_1000_calls": gained * 1e3 / calls * 1e3,
        "calls_per_second": calls / seconds,
    }


def show(rows: list[dict], unit: str, style: str) -> None:
    """Prints a table of times."""
    what = {"network": ("network", ""), "faces": ("faces", ""), "": ("what", "")}
    common.show(rows, {**what, f"{unit} a call": (unit, style)})


if __name__ == "__main__":
    cli.run(main)
