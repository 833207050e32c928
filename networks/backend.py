"""The only file that imports TensorFlow or JAX: which device computes, and prediction as one compiled call.

Keras chooses the backend by the environment variable KERAS_BACKEND or its own configuration; TensorFlow is the
default. `start` comes before anything that imports Keras.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from age_gender.machine import held_back_stderr
from age_gender.runtimes import Predict, Run


def start() -> str:
    """Imports Keras and its backend, quietly, and says what will compute: 'GPU (NVIDIA H100)' or 'CPU'."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only; the user's own setting wins
    with held_back_stderr() as said:
        import keras  # noqa: F401

        found = _device()
        messages = said()
    if found == "CPU" and shutil.which("nvidia-smi"):
        sys.stderr.write(messages)  # there is a GPU, and the backend's own words say why it is not used
    return found


def _device() -> str:
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        gpus = [
            tf.config.experimental.get_device_details(gpu).get("device_name", "")
            for gpu in tf.config.list_physical_devices("GPU")
        ]
    else:
        import jax

        gpus = [d.device_kind for d in jax.devices() if d.platform == "gpu"]
    if not gpus:
        return "CPU"
    return f"GPU ({gpus[0]})" if len(gpus) == 1 else f"{len(gpus)} GPUs ({gpus[0]})"


def can_write_tensorboard() -> bool:
    """Whether what Keras writes TensorBoard's logs with is installed; under JAX it is kept off the GPU's memory."""
    if not (find_spec("tensorflow") and find_spec("tensorboard")):
        return False
    import keras

    if keras.backend.backend() != "tensorflow":
        with held_back_stderr():
            import tensorflow as tf

            tf.config.set_visible_devices([], "GPU")
    return True


@contextmanager
def telling_failures(logs: Path) -> Iterator[None]:
    """Turns what TensorFlow raises of a full disk or a full memory into one line.

    Args:
        logs: the folder of TensorBoard's logs, the only files that TensorFlow itself writes.

    Raises:
        OSError: if the logs cannot be written.
        MemoryError: if the device's memory does not suffice.
    """
    try:
        yield
    except Exception as error:
        kind = type(error)
        if not kind.__module__.startswith("tensorflow."):
            raise
        said = str(error)
        if kind.__name__ == "ResourceExhaustedError" and ("OOM" in said or "memory" in said):
            raise MemoryError("the device's memory does not suffice: take a smaller --batch_size") from None
        if str(logs) in said or "events.out.tfevents" in said:
            raise OSError(
                f"TensorBoard's logs in {logs} cannot be written: is the disk full? ({said.splitlines()[0]})"
            ) from None
        raise


def compiled_predict(model) -> Predict:
    """Prediction as one compiled call for any number of images.

    `model.predict` sets up a loop at every call; this calls the compiled network itself, traced once, and keeps
    nothing between calls.

    Args:
        model: a Keras model of one image input.

    Returns:
        A function of (n, h, w, 3) uint8 BGR, n >= 1, that returns the outputs as a list of float32 arrays. It may be
        called from any one thread at a time.
    """
    import keras

    return _tensorflow_predict(model) if keras.backend.backend() == "tensorflow" else _jax_predict(model)


def _tensorflow_predict(model) -> Predict:
    import tensorflow as tf

    signature = [tf.TensorSpec(model.inputs[0].shape, tf.uint8)]  # any number of images: one trace serves all

    @tf.function(input_signature=signature, autograph=False)
    def forward(images):
        return model(images, training=False)

    compiled = forward.get_concrete_function()
    return lambda images: [output.numpy() for output in compiled(tf.constant(images))]


def _jax_predict(model) -> Predict:
    import jax

    @jax.jit
    def forward(trainable, non_trainable, images):
        return model.stateless_call(trainable, non_trainable, images, training=False)[0]

    trainable = [variable.value for variable in model.trainable_variables]
    non_trainable = [variable.value for variable in model.non_trainable_variables]

    def predict(images: np.ndarray) -> list[np.ndarray]:
        # JAX compiles once for each shape: the next power of two keeps these few.
        count = len(images)
        padded = np.zeros((1 << (count - 1).bit_length(), *images.shape[1:]), images.dtype)
        padded[:count] = images
        return [np.asarray(output)[:count] for output in forward(trainable, non_trainable, padded)]

    return predict


def saved_model_run(folder: Path) -> Run:
    """The function of an exported SavedModel: images -> output's name -> array."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with held_back_stderr():
        import tensorflow as tf

        model = tf.saved_model.load(str(folder))

    def predict(images: np.ndarray) -> dict[str, np.ndarray]:
        said = model.signatures["serving_default"](image=tf.constant(images))
        return {name: output.numpy() for name, output in said.items()}

    return predict


def half_litert() -> dict[str, object]:
    """What Keras's export passes on to LiteRT's converter so that weights are stored in 16 bits."""
    import tensorflow as tf

    return {"optimizations": [tf.lite.Optimize.DEFAULT], "target_spec": {"supported_types": [tf.float16]}}


def int8_litert(folder: Path, images: np.ndarray) -> bytes:
    """A SavedModel as a LiteRT file whose convolutions are computed in 8 bits, and nothing else.

    Args:
        folder: of the SavedModel.
        images: (n, size, size, 3) uint8, faces on which the ranges are measured.
    """
    import tensorflow as tf
    from tensorflow.lite.python.schema_py_generated import BuiltinOperator

    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ({"image": image[None]} for image in images)
    others = [name for name in vars(BuiltinOperator) if name.isupper() and name not in ("CONV_2D", "DEPTHWISE_CONV_2D")]
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=others)
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter, debug_dataset=converter.representative_dataset, debug_options=options
    )
    return debugger.get_nondebug_quantized_model()
