"""What does a prediction cost beside the network's own work, and does memory grow with the calls?

    python benchmarks/predict.py

backend.compiled_predict, as the demo calls a Keras network, against model.predict and model.predict_on_batch. A network
so small (a pooling and two heads) that nearly all of its time is the call's; then one face through WRN-16-8, WRN-16-2
and the model that comes with the suite. Memory: what the process gains over 10,000 compiled calls and over fewer calls
of model.predict, with 1 to 8 faces in turn.
"""

import argparse
import gc
from functools import partial

import common  # makes the suite's modules importable
import numpy as np

from age_gender import cli
from networks import backend, checkpoints

IMAGE_SIZE = 64
FACES = (1, 3, 8)
NETWORKS = ((16, 8), (16, 2))  # depth, width
COMPILED = "compiled_predict"
GROWTH_WARM_UP = 300  # calls after which memory should stand still
TIMES = {
    "network": ("network", ""),
    "faces": ("faces", ""),
    "": ("what", ""),
    "milliseconds a call": ("milliseconds", ",.2f"),
}
GROWTH = {
    "": ("what", ""),
    "calls": ("calls", ","),
    "MB gained": ("gained_mb", ",.1f"),
    "calls/s": ("calls_per_second", ",.1f"),
}


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.parser_for(__doc__, "predict.py", repeats=20)
    parser.add_argument("--calls", **cli.numeric("N", int, 1, default=200), help="of each way, small network")
    parser.add_argument("--growth_calls", **cli.numeric("N", int, 1, default=10_000), help="compiled ones")
    parser.add_argument("--keras_calls", **cli.numeric("N", int, 1, default=1000), help="of model.predict")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Measure times and growth, report."""
    quick = {"calls": 20, "growth_calls": 300, "keras_calls": 30, "repeats": 3}
    args = common.parse(build_parser(), argv, quick)
    device = backend.start()
    small = small_network()
    times = [row for faces in FACES for row in measure("small", small, faces, args.calls)]
    for name, model in networks().items():
        times += measure(name, model, 1, args.repeats)
    common.show(times, TIMES)
    calls = [args.growth_calls if name == COMPILED else args.keras_calls for name in ways(small)]
    growth = [measure_growth(name, predict, n) for (name, predict), n in zip(ways(small).items(), calls, strict=True)]
    common.show(growth, GROWTH)
    common.report("predict", args, times + growth, device)


def small_network():
    """The least network with the suite's inputs and outputs."""
    import keras

    from wide_resnet import two_heads

    image = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), dtype="uint8")
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 127.5, -1.0)(image))
    return keras.Model(image, two_heads(pooled))


def networks() -> dict:
    """The networks that are as large as those in use, by name."""
    from wide_resnet import wide_resnet

    chosen = [wide_resnet(IMAGE_SIZE, depth, width) for depth, width in NETWORKS]
    return {**{model.name: model for model in chosen}, "the shipped model": checkpoints.load(checkpoints.SHIPPED)[0]}


def ways(model) -> dict:
    """The ways to predict, by name."""
    return {
        COMPILED: backend.compiled_predict(model),
        "model.predict_on_batch": model.predict_on_batch,
        "model.predict": partial(model.predict, verbose=0),
    }


def noise(faces: int, size: int = IMAGE_SIZE) -> np.ndarray:
    """(faces, size, size, 3) uint8."""
    return np.random.default_rng(faces).integers(0, 256, (faces, size, size, 3), np.uint8)


def measure(network: str, model, faces: int, repeats: int) -> list[dict]:
    """Milliseconds of a call."""
    batch = noise(faces, model.input_shape[1])
    tasks = {way: partial(predict, batch) for way, predict in ways(model).items()}
    return [
        {"network": network, "faces": faces, "what": way, "milliseconds": common.spread(v * 1e3 for v in values)}
        for way, values in common.interleaved(tasks, repeats, warm_ups=5).items()
    ]


def measure_growth(name: str, predict, calls: int) -> dict:
    """Memory that the process gains over many calls after a warm-up, with each number of faces in turn."""
    batches = [noise(faces) for faces in range(1, max(FACES) + 1)]

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
        "calls_per_second": calls / seconds,
    }


if __name__ == "__main__":
    cli.run(main)
