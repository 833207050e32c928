"""The learning rate as a function of the step."""

import math

import keras
from keras import ops


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


class WarmCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Half a cosine from the full rate down to nothing (SGDR without restarts: Loshchilov and Hutter,
    arXiv:1608.03983, section 3), after a linear warm-up."""

    def __init__(self, rate: float, steps: int, warmup_steps: int):
        self.rate, self.steps, self.warmup_steps = rate, steps, warmup_steps

    def __call__(self, step):
        step = ops.cast(step, "float32")
        warm = ops.minimum(1.0, (step + 1) / max(self.warmup_steps, 1))
        done = ops.clip((step - self.warmup_steps) / max(self.steps - self.warmup_steps, 1), 0.0, 1.0)
        return self.rate * warm * 0.5 * (1.0 + ops.cos(math.pi * done))
