"""The only file that imports TensorFlow or JAX: which device computes, and prediction as one compiled call.

Keras chooses the backend by the environment variable KERAS_BACKEND or its own configuration; TensorFlow is the
default. `start` comes before anything that imports Keras.
"""

import hashlib
import logging
import os
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from age_gender.cli import stops_go_to
from age_gender.machine import held_back_stderr
from age_gender.runtimes import Predict, Run


def start() -> str:
    """Imports Keras and its backend, quietly, and says what will compute: 'GPU (NVIDIA H100)' or 'CPU'."""
    if (asked := os.environ.get("KERAS_BACKEND") or "tensorflow") not in ("tensorflow", "jax"):
        raise ValueError(f"KERAS_BACKEND is {asked}; the suite computes with tensorflow or jax")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only; the user's own setting wins
    logging.getLogger("tensorflow").addFilter(_worth_saying)
    with held_back_stderr() as said:
        import keras  # noqa: F401

        found = _device()
        messages = said()
    if found == "CPU" and shutil.which("nvidia-smi"):
        sys.stderr.write(messages)  # there is a GPU, and the backend's own words say why it is not used
    return found


def _worth_saying(record: logging.LogRecord) -> bool:
    """Not what TensorFlow says of many traced functions: each fold, and each teacher, is a network of its own."""
    return "tf.function retracing" not in record.getMessage()


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


# ------------------------------------------------------------------------------------------- several devices, on JAX

# What Keras's own variables say of several processes: the address of the first, how many there are, which this is.
KERAS_CLUSTER = (
    "KERAS_DISTRIBUTION_JOB_ADDRESSES",
    "KERAS_DISTRIBUTION_NUM_PROCESSES",
    "KERAS_DISTRIBUTION_PROCESS_ID",
)
OUT_OF_MEMORY = ("ResourceExhaustedError", "JaxRuntimeError", "XlaRuntimeError")  # TensorFlow's error, and JAX's
HEARTBEAT = 100  # seconds, JAX's own


class Team(NamedTuple):
    """The devices that train one network together."""

    devices: int = 0  # of all processes; 0 where the network is trained as Keras does it by itself
    process: int = 0  # this process's number, counted from 0
    processes: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes and prints."""
        return self.process == 0


_team = Team()


def team() -> Team:
    """Those that this process trains with, as `join` found them."""
    return _team


def join(devices: int | None, distributed: bool, heartbeat: int = HEARTBEAT) -> Team:
    """Has what is built from here on live on several devices, of this process or of all that a launcher started.

    It comes before anything that touches a device, and again after keras.utils.clear_session, which forgets it.
    Keras's DataParallel keeps one copy of the weights on each device, all of them the same, and batch norm sees the
    whole step's batch.

    Args:
        devices: how many of this process; None takes all its GPUs where there are several and JAX computes.
        distributed: all devices of all processes. JAX learns of the others from srun, mpirun or Kubernetes, and
            anywhere from KERAS_CLUSTER.
        heartbeat: seconds of silence after which a process counts as dead, and the others end.

    Raises:
        ValueError: if the backend is not JAX, there are not so many devices, or nothing says who the others are.
    """
    global _team
    if not (devices or distributed) and os.environ.get("KERAS_BACKEND") != "jax":
        return _team
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("JAX_ENABLE_PREEMPTION_SERVICE", "0")  # which would swallow SIGTERM
    with held_back_stderr():
        import keras

    if keras.backend.backend() != "jax":
        raise ValueError("--devices and --distributed need JAX: pip install jax, and set KERAS_BACKEND=jax")
    import jax

    if distributed and not jax.distributed.is_initialized():
        _meet(heartbeat)
    names = keras.distribution.list_devices()
    if not (devices or distributed):
        gpus = [name for name in names if name.startswith("gpu")]
        if len(gpus) < 2:
            return _team
        names = gpus
    elif not distributed and devices > len(names):
        raise ValueError(f"--devices {devices}: this machine has {len(names)}")
    names = names if distributed else names[:devices]
    # Each process makes its own share of a step: later versions of Keras would share that out once more.
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=names, auto_shard_dataset=False))
    first, _team = _team == Team(), Team(len(names), jax.process_index(), jax.process_count())
    if first and _team.processes > 1:
        _end_by_force(heartbeat)
        # All add up once: later, who compiles for longer than 30 s would be cut off by the others.
        meet = keras.distribution.distribution().get_data_layout((len(names),)).backend_layout
        mine = np.ones(jax.local_device_count(), np.float32)
        jax.jit(lambda ones: ones.sum())(jax.make_array_from_process_local_data(meet, mine)).block_until_ready()
    return _team


def _end_by_force(seconds: int) -> None:
    """Has SIGTERM end this process some seconds later at the latest: Python sees no signal while JAX waits."""
    arrived, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def watch() -> None:
        while number := os.read(arrived, 1):
            if number[0] == signal.SIGTERM:
                time.sleep(seconds)
                os._exit(128 + signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _meet(heartbeat: int) -> None:
    """Waits for the other processes."""
    import jax

    addresses, count, number = (os.environ.get(name) for name in KERAS_CLUSTER)
    known = {}
    if addresses:
        try:
            known = {"num_processes": int(count or ""), "process_id": int(number or "")}
        except ValueError:
            raise ValueError(f"--distributed: {' and '.join(KERAS_CLUSTER[1:])} must both be whole numbers") from None
        known["coordinator_address"] = first = addresses.split(",")[0]
        if not re.fullmatch(r".+:\d+", first):
            raise ValueError(
                f"--distributed: {KERAS_CLUSTER[0]} begins with HOST:PORT, such as first:1234; not {first}"
            )
        if not 0 <= known["process_id"] < known["num_processes"]:
            raise ValueError(f"--distributed: process {number} is none of {count}: {' and '.join(KERAS_CLUSTER[1:])}")
    patience = 3 * heartbeat
    # JAX would end the process by a signal, with a trace of its own.
    watch = threading.Timer(patience, _say_who_waits, (count, number, addresses, patience))
    watch.daemon = True
    watch.start()
    try:
        # Nothing is there to be put away yet, and Python sees no signal while JAX waits: the system ends the process.
        with stops_go_to(signal.SIG_DFL):
            # By the shutdown's limit, what fails in one process ends the others: JAX would wait 300 s for them.
            jax.distributed.initialize(
                heartbeat_timeout_seconds=heartbeat,
                shutdown_timeout_seconds=heartbeat,
                initialization_timeout=patience + 30,
                **known,
            )
    except ValueError as error:  # no launcher that JAX knows
        raise ValueError(
            f"--distributed: JAX finds no launcher ({str(error).rstrip('.')}); set {', '.join(KERAS_CLUSTER)}"
        ) from None
    except jax.errors.JaxRuntimeError as error:
        port = f"the port of {first}" if addresses else "its port"
        raise ValueError(f"--distributed: JAX cannot start ({error}); is {port} taken?") from None
    finally:
        watch.cancel()


def _say_who_waits(count: str | None, number: str | None, addresses: str | None, seconds: int) -> None:
    """Ends a process that waited for others in vain."""
    me = f"process {number or '?'} of {count or '?'}"
    print(
        f"train.py: error: --distributed: {me} waited {seconds} s for the others, which should meet at "
        f"{addresses or 'the first one'}: those that do not print this line are missing",
        file=sys.stderr,
        flush=True,
    )
    os._exit(2)


@contextmanager
def apart() -> Iterator[None]:
    """What is built within lives on one device of this process, and no other process has to take part.

    Keras builds variables where one would not think so, as in `save`; on the team's devices these would wait for the
    other processes.
    """
    if not _team.devices:
        yield
        return
    import keras

    distribution = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(distribution)


def from_leader(values: np.ndarray) -> np.ndarray:
    """The first process's array, in all of them; each gives one of the same shape and dtype."""
    if _team.processes == 1:
        return values
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.broadcast_one_to_all(values))


def agree(what: str, value: str) -> None:
    """Raises ValueError in all processes unless all have the same text: they would train other networks."""
    if _team.processes == 1:
        return
    from jax.experimental import multihost_utils

    mine = np.frombuffer(hashlib.sha256(value.encode()).digest(), np.uint32)
    others = np.asarray(multihost_utils.process_allgather(mine))
    if differing := [number for number, each in enumerate(others) if not np.array_equal(each, others[0])]:
        raise ValueError(f"the processes {', '.join(map(str, differing))} have other {what} than process 0")


@contextmanager
def leaving() -> Iterator[None]:
    """Where a process of a team fails, it goes at once, with its exit status: JAX would wait for the others, and then
    abort. The others end when they miss this one's heartbeat."""
    try:
        yield
    except SystemExit as ended:
        if _team.processes > 1 and ended.code:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(ended.code if isinstance(ended.code, int) else 1)
        raise


def wait_for_all(seconds: int = 24 * 3600) -> None:
    """Returns when all processes have come here."""
    if _team.processes > 1:
        from jax._src.distributed import global_state  # JAX shows its client nowhere else

        global_state.client.wait_at_barrier("finished", seconds * 1000)


# -------------------------------------------------------------------------------------------------------------------


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
    """Turns what TensorFlow and JAX raise of a full memory into a MemoryError of one line, and what TensorFlow raises
    of a full disk into an OSError: the only files that it writes itself are TensorBoard's, in the folder `logs`."""
    try:
        yield
    except Exception as error:
        kind, said = type(error), str(error)
        if kind.__name__ in OUT_OF_MEMORY and ("OOM" in said or "memory" in said):
            raise MemoryError("the device's memory does not suffice: take a smaller --batch_size") from None
        if not kind.__module__.startswith("tensorflow."):
            raise
        if str(logs) in said or "events.out.tfevents" in said:
            raise OSError(
                f"TensorBoard's logs in {logs} cannot be written: is the disk full? ({said.splitlines()[0]})"
            ) from None
        raise


def compiled_predict(model) -> Predict:
    """Prediction as one compiled call: a function of (n, h, w, 3) uint8 BGR, n >= 1, that returns the outputs as a list
    of float32 arrays, from any one thread at a time.

    `model.predict` sets up a loop at every call; this calls the compiled network itself, traced once, and keeps
    nothing between calls.
    """
    import keras

    return _tensorflow_predict(model) if keras.backend.backend() == "tensorflow" else _jax_predict(model)


def _tensorflow_predict(model) -> Predict:
    import keras
    import tensorflow as tf

    signature = [tf.TensorSpec(model.inputs[0].shape, tf.uint8)]  # any number of images: one trace serves all

    @tf.function(input_signature=signature, autograph=False)
    def forward(images):
        return keras.tree.flatten(model(images, training=False))  # a list, of a single output too

    compiled = forward.get_concrete_function()
    return lambda images: [output.numpy() for output in compiled(tf.constant(images))]


def _jax_predict(model) -> Predict:
    import jax
    import keras

    @jax.jit
    def forward(trainable, non_trainable, images):
        return keras.tree.flatten(model.stateless_call(trainable, non_trainable, images, training=False)[0])

    trainable = [variable.value for variable in model.trainable_variables]
    non_trainable = [variable.value for variable in model.non_trainable_variables]

    def predict(images: np.ndarray) -> list[np.ndarray]:
        # JAX compiles once for each shape: the next power of two keeps these few.
        count = len(images)
        padded = np.zeros((1 << (count - 1).bit_length(), *images.shape[1:]), images.dtype)
        padded[:count] = images
        return [np.asarray(output)[:count] for output in forward(trainable, non_trainable, padded)]

    return predict


def in_full_precision() -> None:
    """Has TensorFlow compute float32 in full: newer GPUs round to 10 bits, and ages would differ by 0.02 years."""
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)


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
    """The SavedModel in a folder as a LiteRT file whose convolutions are computed in 8 bits, and nothing else; their
    ranges are measured on (n, size, size, 3) uint8 faces."""
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
