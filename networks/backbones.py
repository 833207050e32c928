"""Networks by name: what builds each, and where its stages begin."""

from collections.abc import Callable
from functools import partial

from age_gender.description import Description
from networks import dlib_resnet
from networks.applications import NETWORKS, application


def _wide_resnet(image_size: int, **arguments):
    from wide_resnet import wide_resnet

    return wide_resnet(image_size, **arguments)


# Name -> function of the image size and the network's own arguments that returns a model with the two heads.
BACKBONES: dict[str, Callable] = {
    "wide_resnet": _wide_resnet,
    "dlib_resnet": dlib_resnet.dlib_resnet,
    **{name: partial(application, name) for name in NETWORKS},
}

# Name -> how the names of the layers begin at which its second and later stages begin.
STAGES: dict[str, tuple[str, ...]] = {
    "wide_resnet": ("group2_", "group3_", "group4_"),
    "dlib_resnet": dlib_resnet.STAGES,
    **{name: network.stages for name, network in NETWORKS.items()},
}


def build(checkpoint: Description, **extra):
    """The network that a checkpoint describes, with fresh weights; `extra` are arguments for training alone.

    Raises:
        ValueError: for a network that is not known, or arguments it does not take.
    """
    if checkpoint.network not in BACKBONES:
        raise ValueError(f"'{checkpoint.network}' is no network; there are {', '.join(BACKBONES)}")
    num_ages = len(checkpoint.age_scale.groups)
    try:
        return BACKBONES[checkpoint.network](checkpoint.image_size, num_ages=num_ages, **checkpoint.arguments, **extra)
    except TypeError as error:  # of a checkpoint that a later version wrote
        raise ValueError(f"{checkpoint.network} takes other arguments than {checkpoint.arguments}: {error}") from None
