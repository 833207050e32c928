"""Who is who over the frames of a video, and one answer for each person from all frames so far.

Faces are tracked by ByteTrack (arXiv:2110.06864) as the package `trackers` has it, by where they are and how they move
alone: no face is recognised, and who comes back after a while has a new number.
"""

from collections import Counter, defaultdict
from typing import Any, NamedTuple

import numpy as np

from age_gender.labels import GENDERS, likelier_gender
from age_gender.predictor import Face

PATIENCE = 2.0  # seconds that a person may be out of sight and keep the number
LEAST_OVERLAP = 0.1  # of two boxes of one person, their intersection over their union
CLOSE = 0.1  # seconds between frames in which boxes of one person overlap, however the person moves
SPEED, FARTHEST = 2.0, 1.0  # face widths that boxes are grown by, for each second more, and at most
COLUMNS = (
    *("track", "first_second", "last_second", "seconds_in_view", "frames"),
    *("age", "age_low", "age_high", "gender", "gender_share", "p_male", "unsure", "age_group"),
)


class Tracked(NamedTuple):
    """A person's number, from 1, and the face with the answer of all its frames so far."""

    number: int
    face: Face


class _Person:
    """Sums over the frames in which a person was seen: of a size that does not grow with them."""

    def __init__(self, number: int, seconds: float):
        self.number = number
        self.first = self.last = seconds
        self.in_view = self.age = self.p_male = 0.0
        self.interval = np.zeros(2)
        self.frames = 0
        self.genders: Counter[str] = Counter()
        self.groups: Counter[str] = Counter()
        self.p_groups: dict[str, float] = defaultdict(float)

    def add(self, face: Face, seconds: float, step: float) -> None:
        self.last = seconds
        self.in_view += step
        self.frames += 1
        self.age += face.age
        self.p_male += face.p_male
        self.interval += face.interval or (np.nan, np.nan)
        self.genders[face.gender] += 1
        if face.group is not None:
            self.groups[face.group] += 1
            self.p_groups[face.group] += face.p_group or 0.0

    def smoothed(self, face: Face, unsure_below: float) -> Face:
        """A face with the means over all frames so far."""
        p_male = self.p_male / self.frames
        interval = np.round(self.interval / self.frames)
        group = max(self.groups, key=self.groups.__getitem__, default=None)
        return face._replace(
            age=self.age / self.frames,
            gender=GENDERS[int(likelier_gender(np.array(p_male)))],
            p_male=p_male,
            unsure=max(p_male, 1 - p_male) < unsure_below,
            interval=None if np.isnan(interval).any() else (int(interval[0]), int(interval[1])),
            group=group,
            p_group=None if group is None else self.p_groups[group] / self.groups[group],
        )


class Tracker:
    """Numbers the faces of a video's frames, which come in their order.

    The answer of a person is the mean over the frames so far: of the expected age, which is that of the mean of the age
    probabilities; of the probability of male; and of the interval's ends. Of age groups it is the commonest.

    Args:
        frames_per_second: of the frames that come.
        unsure_below: as Predictor takes it.

    Raises:
        ValueError: if the package is not installed, with what to do.
    """

    def __init__(self, frames_per_second: float, unsure_below: float):
        try:
            import supervision
            from trackers import ByteTrackTracker
        except ImportError as error:
            raise ValueError(f"--track needs the package trackers: pip install '.[video]' ({error})") from None
        self._detections = supervision.Detections
        self._tracker = ByteTrackTracker(
            lost_track_buffer=round(30 * PATIENCE),  # in frames of 30 a second, whatever the rate
            frame_rate=frames_per_second,
            minimum_iou_threshold=LEAST_OVERLAP,
        )
        self._step = 1 / frames_per_second
        self._reach = min(SPEED * max(self._step - CLOSE, 0.0), FARTHEST)
        self._unsure_below = unsure_below
        self._seconds: float | None = None
        self._people: dict[int, _Person] = {}  # by the tracker's own numbers, which have gaps

    def add(self, faces: list[Face], seconds: float) -> list[Tracked | None]:
        """The people of the frame at these seconds, one for each face; None where a face was not seen twice in a row
        yet."""
        step = self._step
        if self._seconds is not None:
            seconds = max(seconds, self._seconds + 1e-6)  # else the tracker leaves the frame out
            step = seconds - self._seconds
        self._seconds = seconds
        boxes = np.array([face.box for face in faces], np.float32).reshape(-1, 4)
        # Where frames are far apart a face's boxes need not overlap, so they are grown by what it may have moved.
        reach = self._reach * np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        boxes += reach * np.array([-1, -1, 1, 1], np.float32)
        # Without scores, which mean another thing for each detector; the class carries a face's place in the list.
        found = self._tracker.update(self._detections(xyxy=boxes, class_id=np.arange(len(faces))), timestamp=seconds)
        tracked: list[Tracked | None] = [None] * len(faces)
        if found.class_id is None or found.tracker_id is None:
            return tracked
        for place, theirs in zip(found.class_id.tolist(), found.tracker_id.tolist(), strict=True):
            if theirs < 0:
                continue
            person = self._people.setdefault(theirs, _Person(len(self._people) + 1, seconds))
            person.add(faces[place], seconds, step)
            tracked[place] = Tracked(person.number, person.smoothed(faces[place], self._unsure_below))
        return tracked

    def summary(self) -> list[dict[str, Any]]:
        """A row for each person, by number, with the columns of COLUMNS."""
        rows = []
        for person in self._people.values():
            face = person.smoothed(Face((0, 0, 0, 0), 0, 0, "", 0), self._unsure_below)
            low, high = face.interval or (None, None)
            said = (
                *(person.number, round(person.first, 3), round(person.last, 3), round(person.in_view, 3)),
                *(person.frames, round(face.age, 2), low, high, face.gender),
                *(round(person.genders[face.gender] / person.frames, 4), round(face.p_male, 4)),
                *(int(face.unsure), face.group),
            )
            rows.append(dict(zip(COLUMNS, said, strict=True)))
        return rows
