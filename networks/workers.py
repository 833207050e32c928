"""Reads faces in many pictures on the workers of a Dask scheduler, each of which opens the model once."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from age_gender import cluster
from age_gender.labels import AgeScale
from age_gender.predictor import Predictor, Result
from age_gender.sources import Frame
from networks import open_model

LEFT_THERE = np.empty((0, 0, 3), np.uint8)  # in place of a picture that was read: it stays where it was


class Reading(NamedTuple):
    """How faces are read, in words that another process understands; see `Predictor` for all but the model."""

    weight_file: Path  # the model, an absolute path, as networks.open_model takes it
    trust: bool  # whether a SavedModel may run
    detector: str | None
    margin: float | None
    age_scale: AgeScale | None
    unsure_below: float

    def predictor(self) -> Predictor:
        """Opens the model; raises FileNotFoundError or ValueError if it or the detector cannot be used."""
        model = open_model(self.weight_file, self.trust)
        return Predictor(model, self.detector, self.margin, self.age_scale, self.unsure_below)


def results_of_workers(client, reading: Reading, frames: Iterable[Frame], folder: Path) -> Iterator[Result]:
    """What `Predictor.stream` gives of image files below an absolute path, by a client of `cluster.connected`, but for
    the pictures, which are LEFT_THERE; one that ends its worker has none."""
    frames = list(frames)
    blocks = (frames[start : start + cluster.SEARCHED] for start in range(0, len(frames), cluster.SEARCHED))
    for results in cluster.in_order(
        client,
        results_taken,
        blocks,
        given=lambda block: (reading, block),
        deadly=lambda frame: [Result(frame, None, [])],
        folder=folder,
    ):
        yield from results


def results_taken(reading: Reading, frames: list[Frame]) -> list[Result]:
    """The results of some frames, on a worker."""
    predictor = cluster.once(Reading.predictor, reading)
    results = predictor.stream(frames, ahead=1)
    return [each if each.image is None else each._replace(image=LEFT_THERE) for each in results]
