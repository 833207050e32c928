"""What is trained when, and the learning rate as a function of the step."""

import math
from typing import NamedTuple

import keras
from keras import ops

from training.options import Options

WARMUP_STEPS = 500  # at most, and at most a tenth of the run


class StepDecay(keras.optimizers.schedules.LearningRateSchedule):
    """The rate divided by 5 at a quarter, half and three quarters of the epochs, after a linear warm-up.

    The division by 5 is that of arXiv:1605.07146, section 3. The warm-up (Goyal et al., arXiv:1706.02677, section
    2.2) spares a fresh network the full rate, at which the original suite often collapsed.
    """

    def __init__(self, rate: float, epochs: int, steps_per_epoch: int, warmup_steps: int):
        self.rate, self.warmup_steps = rate, warmup_steps
        self.boundaries = [math.ceil(epochs * part) * steps_per_epoch for part in (0.25, 0.5, 0.75)]

    def __call__(self, step):
        step = ops.cast(step, "float32")
        passed = sum(ops.cast(step >= boundary, "float32") for boundary in self.boundaries)
        warm = ops.minimum(1.0, (step + 1) / max(self.warmup_steps, 1))
        return self.rate * warm * 0.2**passed


class Phase(NamedTuple):
    """Epochs of a run with one choice of what is trained."""

    name: str  # in words, for the log
    first: int  # its epochs are first + 1 to last, counted from 1
    last: int
    stages: int | None  # how many of the network's last stages are trained beside the heads; None means all
    lr: float  # highest learning rate


def phases(options: Options) -> list[Phase]:
    """What is trained when: the heads on a frozen network first, if so asked, then the network or its last stages."""
    stages, frozen, last = options.unfreeze_stages, options.freeze_epochs, options.nb_epochs
    rest = "the whole network" if stages is None else f"the last {stages} stages and the heads"
    if not frozen:
        return [Phase(rest, 0, last, stages, options.lr)]
    found = [Phase("the heads on a frozen network", 0, frozen, 0, options.lr)]
    if frozen < last:
        found.append(Phase(rest, frozen, last, stages, options.fine_tune_lr))
    return found


def learning_rate(name: str, phase: Phase, steps_per_epoch: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """The rate of a phase as a function of its step, by its name in `train.py --schedule`.

    steps: see StepDecay.
    cosine: half a cosine down to nothing (SGDR without restarts: Loshchilov and Hutter, arXiv:1608.03983, section 3),
        after the same warm-up.
    """
    epochs = phase.last - phase.first
    steps = steps_per_epoch * epochs
    warmup = min(WARMUP_STEPS, steps // 10)
    if name == "steps":
        return StepDecay(phase.lr, epochs, steps_per_epoch, warmup)
    cosine = keras.optimizers.schedules.CosineDecay
    if not warmup:
        return cosine(phase.lr, steps)
    return cosine(0.0, steps - warmup, warmup_target=phase.lr, warmup_steps=warmup)
