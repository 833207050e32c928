"""What a run starts from: the weights that `--weight_file` names, and whether they may have seen this run's faces."""

from pathlib import Path

import numpy as np

from age_gender.description import Description
from networks.split import past_of
from training.data import Data
from training.options import Options


def weights_file(weights: str | None) -> Path | None:
    """The file that `--weight_file` means; None where it means imagenet or none.

    Raises:
        FileNotFoundError: if it is not there; of a published VGGFace file, with its address.
    """
    from networks.checkpoints import choose
    from networks.published import VGGFACE_URL

    if weights in (None, "none", "imagenet"):
        return None
    path = Path(weights)
    if path.name.startswith("rcmalli_vggface") and not path.exists():
        raise FileNotFoundError(f"{path} is not there: fetch {VGGFACE_URL}{path.name} and name its path")
    return choose(path)


def start_of(options: Options) -> Path | None:
    """The checkpoint that a run goes on from; None of random weights and of published ones."""
    from networks.published import published_network

    path = weights_file(options.weights)
    return path if path and not published_network(path) else None


def history_of(earlier: Description) -> dict[str, object]:
    """How a model came about, for those that start or learn from it."""
    return {**earlier.training, "split": earlier.split}


def start_from(model, options: Options, data: Data) -> None:
    """Takes the weights that --weight_file names, says what of them, and whether they may have seen this run's faces.

    Raises:
        ValueError: if they cannot be fetched, or are another network's.
    """
    from networks.checkpoints import inspect
    from networks.published import load_imagenet, load_published, published_network, shortened
    from networks.starting import copy_weights

    if options.weights == "imagenet":
        print(load_imagenet(model, options.model), flush=True)
        return
    path = weights_file(options.weights)
    if not path:
        if options.weights == "none":
            print("--weight_file none: every weight is random")
        return
    if published_network(path):
        print(f"{path}: {load_published(model, options.model, path)}", flush=True)
        return
    earlier = inspect(path)
    fresh = copy_weights(path, model, ["pred_age"] if earlier.age_scale != options.age_scale else [])
    if (options.freeze_epochs or options.unfreeze_stages) and (random := set(fresh) - set(model.output_names)):
        raise ValueError(
            f"{path} is another network: of this one {len(random)} layers beside the heads would be new, such as "
            f"{min(random)}, and frozen layers must not be; train without --freeze_epochs and --unfreeze_stages"
        )
    weighty = sum(bool(layer.weights) for layer in model.layers)
    print(f"{path}: the weights of {weighty - len(fresh)} of {weighty} layers; new: {shortened(fresh)}")
    say_if_it_saw(earlier, data)


def say_if_it_saw(earlier: Description, data: Data) -> None:
    """Says so where a model that a run starts or learns from has trained on faces that the run holds out."""
    past = past_of(data.databases, earlier)
    held_out = np.concatenate([data.validation, data.test])
    if seen := int(past.trained[held_out].sum()):
        print(f"  {seen:,} of the faces that validate or test this run have trained it")
    elif past.untold:
        print("  it comes from another split: faces that validate or test this run may have trained it")
