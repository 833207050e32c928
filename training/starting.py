"""What a run starts from: the weights that `--weight_file` names, and whether they may have seen this run's faces."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from age_gender.description import ORIGIN_OURS, Description
from networks.backbones import BACKBONES
from networks.checkpoints import choose, inspect
from networks.dlib_resnet import load_dlib
from networks.published import VGGFACE_URL, load_imagenet, load_vggface, published_network, shortened
from networks.split import past_of, remade, splits_of
from networks.starting import copy_weights
from training.data import Data
from training.options import PUBLISHED, Options


class Start(NamedTuple):
    """What a run starts from."""

    path: Path | None = None  # the file of weights; None of random ones and of ImageNet's
    published: str | None = None  # the network that a published file is for; None of a checkpoint
    checkpoint: Description | None = None  # what a checkpoint says of itself; None of a published file


def start_of(weights: str | None) -> Start:
    """What `--weight_file` means, a file, or a folder's newest run.

    Raises:
        FileNotFoundError: if it is not there; of a published VGGFace file, with its address.
        ValueError: if it is no file to start from.
    """
    if weights is None or weights in PUBLISHED:
        return Start()
    path = Path(weights)
    if path.name.startswith("rcmalli_vggface") and not path.exists():
        raise FileNotFoundError(f"{path} is not there: fetch {VGGFACE_URL}{path.name} and name its path")
    path = choose(path)
    published = published_network(path)
    earlier = None if published else inspect(path)
    if earlier and (earlier.origin != ORIGIN_OURS or earlier.network not in BACKBONES):
        raise ValueError(
            f"{path} was written by {earlier.origin}: a training starts from networks of this suite alone; "
            "--teacher learns from this one's answers"
        )
    return Start(path, published, earlier)


def history_of(earlier: Description) -> dict[str, object]:
    """How a model came about, for those that start or learn from it."""
    return {**earlier.training, "split": earlier.split}


def start_from(start: Start, model, options: Options, data: Data) -> None:
    """Gives a model the weights that a run starts from, says what of them, and whether they may have seen its faces.

    Raises:
        ValueError: if they cannot be fetched, or are another network's.
    """
    path, earlier = start.path, start.checkpoint
    if options.weights == "imagenet":
        print(load_imagenet(model, options.model), flush=True)
    elif options.weights == "none":
        print("--weight_file none: every weight is random")
    elif start.published == "dlib_resnet":
        print(f"{path}: {load_dlib(model, path)}", flush=True)
    elif start.published:
        print(f"{path}: {load_vggface(model, options.model, path)}", flush=True)
    elif path and earlier:
        fresh = copy_weights(path, model, ["pred_age"] if earlier.age_scale != options.age_scale else [])
        if (options.freeze_epochs or options.unfreeze_stages) and (random := set(fresh) - set(model.output_names)):
            raise ValueError(
                f"{path} is another network: of this one {len(random)} layers beside the heads would be new, such as "
                f"{min(random)}, and frozen layers must not be; train without --freeze_epochs and --unfreeze_stages"
            )
        weighty = sum(bool(layer.weights) for layer in model.layers)
        print(f"{path}: the weights of {weighty - len(fresh)} of {weighty} layers; new: {shortened(fresh)}")
        say_if_faces_differ(earlier, data)
        say_if_it_saw(earlier, data)


def say_if_faces_differ(earlier: Description, data: Data) -> None:
    """Warns where the faces are not as those that the model which a run starts from was trained on."""
    faces = data.database
    unlike = earlier.differs_from(faces.margin, faces.detector, faces.align)
    if faces.image_size != earlier.image_size:
        unlike.append(f"of {faces.image_size} pixels, those of the training of {earlier.image_size}")
    if unlike:
        aligned = " --align" * earlier.align
        print(
            f"  warning: the faces here are {'; '.join(unlike)}. create_db.py --detector {earlier.detector}{aligned} "
            f"--margin {earlier.margin:g} --img_size {earlier.image_size} cuts them alike"
        )


def say_if_it_saw(earlier: Description, data: Data) -> None:
    """Says so where a model that a run starts or learns from has trained on faces that the run holds out."""
    past = past_of(data.databases, earlier)
    held_out = np.concatenate([data.validation, data.test])
    if seen := int(past.trained[held_out].sum()):
        print(f"  {seen:,} of the faces that validate or test this run have trained it")
    elif past.untold:
        print("  it comes from another split: faces that validate or test this run may have trained it")
    elif again := sorted({each.db for each in data.databases if remade(each, earlier)}):
        print(
            f"  it was trained on another database of {' and '.join(again)}: faces that validate or test this run may "
            "have trained it"
        )
    elif not all(splits_of(earlier)):
        print("  it does not tell what trained it: if faces did that validate or test this run, their scores flatter")
