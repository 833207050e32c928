"""A stopped run: everything that continuing it needs, in one file that is moved into place after each epoch."""

import json
from pathlib import Path

import numpy as np

from age_gender.files import replacing

RESUME_FILE = "resume.weights.h5"
RESUME_ATTRIBUTE = "age_gender_resume"


def read_resume(folder: Path) -> dict:
    """What `write_resume` kept of a stopped run: at least `epoch`, the number of epochs that are done.

    Raises:
        FileNotFoundError: if there is no stopped run.
        ValueError: if the file is damaged.
    """
    import h5py

    path = Path(folder) / RESUME_FILE
    if not path.is_file():
        raise FileNotFoundError(f"there is no stopped run in {folder}: {path} is not there; train without --resume")
    try:
        with h5py.File(path, "r") as file:
            return json.loads(file.attrs[RESUME_ATTRIBUTE])
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}); --restart discards it and starts over") from None


def write_resume(path: Path, model, epoch: int, state: dict[str, object]) -> None:
    """Keeps weights, optimiser, the dropouts' random numbers and what else `state` has, as JSON takes it.

    Args:
        path: RESUME_FILE in the run's folder.
        model: compiled, and trained for a whole epoch at least.
        epoch: how many epochs are done.
        state: what to keep beside.
    """
    import h5py

    with replacing(path) as temporary:
        model.save_weights(temporary)
        with h5py.File(temporary, "r+") as file:
            kept = {"epoch": epoch, "dropout_seeds": dropout_seeds(model), **state}
            file.attrs[RESUME_ATTRIBUTE] = json.dumps(kept)


def dropout_seeds(model) -> dict[str, list[int]]:
    """The state of each dropout's random generator, which Keras does not save with the weights."""
    return {
        layer.name: np.asarray(layer.seed_generator.state).tolist()
        for layer in model.layers
        if hasattr(layer, "seed_generator")
    }


def set_dropout_seeds(model, seeds: dict[str, list[int]]) -> None:
    """Puts the generators back into the state that `dropout_seeds` returned."""
    for name, state in seeds.items():
        model.get_layer(name).seed_generator.state.assign(np.array(state, np.uint32))
