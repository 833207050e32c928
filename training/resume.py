"""A stopped run: everything that continuing it needs, in one file that is moved into place after each epoch."""

import json
from pathlib import Path

import numpy as np

from age_gender.files import reading, replacing, reserve
from age_gender.hdf5 import refuse_what_lies_elsewhere
from networks.checkpoints import check_seal, seal, size_of

RESUME_FILE = "resume.weights.h5"
RESUME_ATTRIBUTE = "age_gender_resume"
VAL_LOSS = {"val_loss": "of faces"}  # a mean; in versions before 0.16, which say nothing here, it was one of batches
KEPT = {"epoch": int, "arguments": dict, "split": dict, "best": dict, "history": list, "dropout_seeds": dict}


def read_resume(folder: Path) -> dict:
    """What `write_resume` kept of a stopped run: `epoch`, the number of epochs that are done, and the rest of KEPT; {}
    where none was stopped.

    Raises:
        ValueError: if the file is damaged.
    """
    import h5py

    path = Path(folder) / RESUME_FILE
    if not path.is_file():
        return {}
    with reading_resume(path), h5py.File(path, "r") as file:
        refuse_what_lies_elsewhere(path, file)
        check_seal(file, RESUME_ATTRIBUTE)
        kept = json.loads(file.attrs[RESUME_ATTRIBUTE])
        for name, kind in KEPT.items():
            if not isinstance(kept[name], kind):
                raise TypeError(f"its {name} is no {kind.__name__}")
        return kept


def reading_resume(path: Path):
    """The block in which a run's file is read: whatever is wrong with it becomes one ValueError."""
    return reading(path, f"{path} is damaged; --restart discards it and starts over")


def forget(folder: Path) -> None:
    """Removes what a resume needs: the run is finished, or not worth continuing."""
    (Path(folder) / RESUME_FILE).unlink(missing_ok=True)


def write_resume(path: Path, model, epoch: int, state: dict[str, object]) -> None:
    """Keeps weights and optimiser of a model that was trained for so many whole epochs, the dropouts' random numbers
    and what else `state` has, as JSON takes it."""
    import h5py

    with replacing(path) as temporary:
        reserve(temporary, size_of([*model.variables, *model.optimizer.variables]), path)
        model.save_weights(temporary)
        with h5py.File(temporary, "r+") as file:
            kept = {"epoch": epoch, "dropout_seeds": dropout_seeds(model), **VAL_LOSS, **state}
            seal(file, RESUME_ATTRIBUTE, json.dumps(kept))


def dropout_seeds(model) -> dict[str, list[int]]:
    """The state of each dropout's random generator, which Keras does not save with the weights."""
    dropouts = (layer for layer in model.layers if hasattr(layer, "seed_generator"))
    return {layer.name: np.asarray(layer.seed_generator.state).tolist() for layer in dropouts}


def set_dropout_seeds(model, seeds: dict[str, list[int]]) -> None:
    """Puts the generators back into the state that `dropout_seeds` returned."""
    for name, state in seeds.items():
        model.get_layer(name).seed_generator.state.assign(np.array(state, np.uint32))
