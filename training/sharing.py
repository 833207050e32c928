"""A step's batch, shared out to several devices and processes."""

import keras
import numpy as np

from mixup_generator import MixupGenerator
from networks.backend import Team

GROUP = 32  # faces that are mixed with each other and go to one device together


class Share(keras.utils.PyDataset):
    """This process's share of each step's batch.

    A step's batch is `groups` batches of `batches`, one after the other, each a pure function of (seed, epoch, index).
    So it is the same for any number of devices and processes. What does not fill a step is left out, since a step's
    size must not change; with `pad`, it is filled up with faces of weight 0 instead, and every face counts once.

    Args:
        batches: of one group each.
        groups: in a step.
        process, processes: whose share it is: groups / processes each.
        pad: whether the last step is filled up.

    Raises:
        ValueError: if the groups cannot be shared out evenly, or the faces do not fill one step.
    """

    def __init__(self, batches: MixupGenerator, groups: int, process: int = 0, processes: int = 1, pad: bool = False):
        super().__init__(workers=1, use_multiprocessing=False)
        if groups % processes:
            raise ValueError(f"{groups} groups cannot be shared out to {processes} processes")
        self.batches, self.groups, self.pad = batches, groups, pad
        own = groups // processes
        self.own = range(process * own, (process + 1) * own)
        self.set_epoch = batches.set_epoch
        if not len(self):
            raise ValueError(f"{len(batches.rows)} training faces do not fill one --batch_size {self.size}")

    @property
    def size(self) -> int:
        """Faces in a step, of all processes."""
        return self.groups * self.batches.batch_size

    @property
    def padding(self) -> float:
        """How many faces there are, those of weight 0 among them, for each that counts."""
        return len(self) * self.size / len(self.batches.rows) if self.pad else 1.0

    def __len__(self) -> int:
        whole, rest = divmod(len(self.batches.rows), self.size)
        return whole + bool(rest and self.pad)

    def __getitem__(self, step: int):
        parts = [self._group(step * self.groups + group) for group in self.own]
        images, labels, weights = zip(*parts, strict=True)
        return (
            np.concatenate(images),
            tuple(map(np.concatenate, zip(*labels, strict=True))),
            tuple(map(np.concatenate, zip(*weights, strict=True))),
        )

    def _group(self, index: int):
        full = self.batches.batch_size
        there = index < len(self.batches)
        images, labels, weights = self.batches[index if there else 0]
        real = len(images) if there else 0
        if real == full:
            return images, labels, weights
        chosen, counts = np.arange(full) % len(images), np.arange(full) < real
        return images[chosen], tuple(each[chosen] for each in labels), tuple(each[chosen] * counts for each in weights)


def shared_out(batches: tuple[MixupGenerator, MixupGenerator], team: Team) -> tuple[Share, Share]:
    """The training and validation batches as one process of a team makes them; raises ValueError if --batch_size cannot
    be shared out."""
    training, validation = batches
    batch_size, least = training.batch_size, GROUP * team.devices
    if batch_size % least:
        raise ValueError(
            f"--batch_size {batch_size} cannot be shared out to {team.devices} devices by groups of {GROUP} faces: "
            f"take a multiple of {least}, or other --devices"
        )
    training.batch_size = validation.batch_size = GROUP
    share = batch_size // GROUP, team.process, team.processes
    return Share(training, *share), Share(validation, *share, pad=True)
