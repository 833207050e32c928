"""Scores a model on sets of faces: what it says of each, what that comes to, by groups, beside the trivial answers."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from age_gender.cli import counted
from age_gender.description import Description
from age_gender.intervals import LEVEL, Calibration, age_interval, tempered
from age_gender.labels import DECADES, GENDERS, MALE, UNKNOWN, YEARS, AgeScale, decade_of, expected_age, fold_ages
from evaluation import metrics
from evaluation.calibration import fit
from evaluation.fairness import Gap, gaps
from evaluation.metrics import Outcomes, Reliability, Scores
from evaluation.protocols import FaceSet
from networks import open_model, predict_rows
from utils import Database, ImageStack, labels_of, paths_of

Axes = list[tuple[str, list[tuple[str, np.ndarray]]]]


@dataclass(frozen=True)
class Evaluation:
    """One model on one set of faces."""

    weight_file: str
    epoch: int | None  # that the model was saved after, None unknown
    input: list[str]  # the databases
    set: FaceSet  # which faces
    notes: list[str]  # more to know
    faces: pd.DataFrame  # a row a face: db, path, labels and predictions
    p_age: np.ndarray  # (n, k) predicted distributions
    identity: np.ndarray  # (n,) strings, the same for the same faces
    images: ImageStack  # all images of the databases, takes arrays of rows, as `set` has them
    level: float  # the share of ages that their intervals are to hold
    scale: AgeScale  # of the ages that are scored
    unsure_below: float  # probability of the likelier gender under which a face counts as unsure
    trivial: dict[str, object]  # the answers that use no picture
    outcomes: Outcomes  # of the predictions, face by face
    overall: Scores  # of all faces
    groups: list[tuple[str, str, Scores]]  # axis, name and scores of groups of them
    gaps: list[Gap]  # between groups of people at equal ages; [] where ages are in groups


@dataclass(frozen=True)
class Scoring:
    """One model on some databases, and how its answers are judged."""

    weight_file: Path
    description: Description  # what the model says of itself
    databases: list[Database]  # whose faces are scored
    images: ImageStack  # of these, of the model's size
    scale: AgeScale  # of the ages that are scored; the model's own folds onto it
    unsure_below: float  # probability of the likelier gender under which a face counts as unsure
    seed: int  # of the bootstrap and of the halves, see `calibrated`
    trust: bool = False  # whether a SavedModel may run

    def evaluations(self, sets: list[FaceSet]) -> list[Evaluation]:
        """Asks the model about each face once, and scores each set.

        Raises:
            ValueError: if the model cannot be opened.
        """
        rows = np.unique(np.concatenate([each.rows for each in sets]))
        faces, p_age = self.predicted(rows)
        places = [np.searchsorted(rows, each.rows) for each in sets]
        return [
            self.evaluation(each, faces.iloc[place].reset_index(drop=True), p_age[place])
            for each, place in zip(sets, places, strict=True)
        ]

    def predicted(self, rows: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
        """A table with a row for each face, its labels and the network's own predictions; the distributions, (n, k)."""
        model = open_model(self.weight_file, self.trust)
        print(f"{self.weight_file}: {counted(len(rows))}, computing on {model.device}", flush=True)
        p_gender, p_age = predict_rows(model, self.images, rows)
        if not len(rows) == len(p_age) == len(p_gender):
            raise RuntimeError(f"{len(p_age)} of {len(rows)} faces were predicted")
        age, gender = labels_of(self.databases, rows)
        races = [
            np.full(len(each), None) if each.race is None else named(each.race, each.race_names, None)
            for each in self.databases
        ]
        faces = pd.DataFrame(
            {
                "db": np.concatenate([[each.db] * len(each) for each in self.databases])[rows],
                "path": np.array(paths_of(self.databases), object)[rows],
                "age": age,
                "gender": gender,
                "race": np.concatenate(races)[rows],
                "expected_age": expected_age(p_age, self.description.age_scale.centres),
                "p_male": p_gender[:, MALE].astype(float),
            }
        )
        if any(each.label_low is not None for each in self.databases):
            for name in ("label_low", "label_high"):
                faces[name] = np.concatenate([each.column(name, UNKNOWN) for each in self.databases])[rows]
        return faces, p_age

    def evaluation(self, chosen: FaceSet, faces: pd.DataFrame, p_age: np.ndarray) -> Evaluation:
        """The scores of one set of faces, of the network's own predictions, with all that a report shows."""
        description, scale = self.description, self.scale
        years = scale == YEARS
        faces, notes = calibrated(faces, p_age, description.calibration, chosen.chose, self.seed, intervals=years)
        if years:
            notes += unscored(faces.age, "age in years", "age", faces.get("label_low"))
        else:
            groups = [scale.group_of(each.age, each.label_low, each.label_high) for each in self.databases]
            true = np.concatenate(groups)[chosen.rows]
            faces, more = grouped(faces, p_age, description.age_scale, scale, true)
            notes += more
        notes += unscored(faces.gender, "gender", "gender")
        if not description.split:
            notes.append(f"the training of {self.weight_file} is not known: faces that trained it cannot be told")
        trivial, whence = trivial_of(description, faces, scale)
        answer = f"{scale.names[trivial['age']]}, {GENDERS[trivial['gender']]}"
        outcomes = outcomes_of(faces, scale, self.unsure_below)
        answers = trivial_outcomes(faces, scale, trivial)
        axes = axes_of(faces, scale)
        people = [(axis, members) for axis, members in axes if axis in ("gender", "race")]
        return Evaluation(
            weight_file=str(self.weight_file),
            epoch=description.training.get("epoch"),
            input=[str(database.source) for database in self.databases],
            set=chosen,
            notes=[*notes, f"trivial answer: {answer} for every face ({whence})"],
            faces=faces,
            p_age=p_age,
            identity=identities(self.databases, chosen.rows),
            images=self.images,
            level=description.calibration.level if description.calibration else LEVEL,
            scale=scale,
            unsure_below=self.unsure_below,
            trivial={**trivial, "from": whence},
            outcomes=outcomes,
            overall=metrics.score(outcomes, answers, self.seed),
            groups=[
                (axis, name, metrics.score(outcomes.of(mask), answers.of(mask), self.seed))
                for axis, members in axes
                for name, mask in members
                if mask.any()
            ],
            gaps=gaps(outcomes, faces.age.to_numpy(), people, self.seed) if years else [],
        )


def named(indices: np.ndarray, names: tuple[str, ...], unknown: str | None) -> np.ndarray:
    """(n,) objects: the name of each index, `unknown` where it is UNKNOWN."""
    known = indices != UNKNOWN
    found = np.full(len(indices), unknown, object)
    found[known] = np.array(names, object)[indices[known]]
    return found


def reliabilities(evaluation: Evaluation) -> dict[str, Reliability]:
    """How reliable the probabilities of gender are: as the network gives them, and calibrated."""
    gender = evaluation.faces.gender.to_numpy()
    if not (gender != UNKNOWN).any():
        return {}
    columns = {"calibrated": "p_male", "the network's own": "p_male_network"}
    if "p_male_network" not in evaluation.faces:
        columns = {"the network's own": "p_male"}
    return {name: metrics.reliability(gender, evaluation.faces[column].to_numpy()) for name, column in columns.items()}


def identities(databases: list[Database], rows: np.ndarray) -> np.ndarray:
    """(n,) strings: the same for the same face of the same database, whatever stands before it."""
    starts = np.cumsum([0, *map(len, databases)])
    prints = [database.fingerprint() for database in databases]
    owners = np.searchsorted(starts, rows, side="right") - 1
    return np.array([f"{prints[owner]} {row - starts[owner]}" for owner, row in zip(owners, rows, strict=True)])


def calibrated(
    faces: pd.DataFrame,
    p_age: np.ndarray,
    calibration: Calibration | None,
    own: np.ndarray,
    seed: int,
    intervals: bool = True,
) -> tuple[pd.DataFrame, list[str]]:
    """The table with calibrated genders (the network's own beside them) and age intervals, and how it came to them.

    Of the faces that the model was calibrated on, each half gets the calibration of the other half: on its own it
    would look better than it is.

    Args:
        faces: the table.
        p_age: (n, k) distributions.
        calibration: of the model.
        own: (n,) bool, the faces that it was fitted on.
        seed: of the halves.
        intervals: whether there are to be age intervals, which are of years.
    """
    if calibration is None:
        return faces, ["no age intervals: the model has no calibration, see --calibrate"]
    age, gender, p_male = (faces[name].to_numpy() for name in ("age", "gender", "p_male"))
    if not intervals:
        age = np.full_like(age, UNKNOWN)  # then none is fitted either
    parts, notes = [(np.flatnonzero(~own), calibration)], []
    if own.any():
        halves = np.array_split(np.random.default_rng(seed).permutation(np.flatnonzero(own)), 2)
        pairs = halves, halves[::-1]
        parts += [(half, fit(p_age[other], p_male[other], age[other], gender[other])) for half, other in pairs]
        which = "these faces" if own.all() else f"the {counted(own.sum())} that calibrated the checkpoint"
        notes = [f"each half of {which} is judged by the calibration of the other half"]
    parts = [(rows, found) for rows, found in parts if len(rows)]
    columns = {"p_male": p_male.copy(), "p_male_network": p_male}
    for rows, found in parts:
        columns["p_male"][rows] = tempered(p_male[rows], found.temperature)
    ends = [age_interval(p_age[rows], found) for rows, found in parts] if intervals else []
    if any(each is None for each in ends):
        notes.append("no age intervals: too few faces with an age calibrated the checkpoint")
    elif intervals:
        columns |= {name: np.zeros(len(faces), np.int64) for name in ("age_low", "age_high")}
        for (rows, _), (first, last) in zip(parts, ends, strict=True):
            columns["age_low"][rows], columns["age_high"][rows] = first, last
    return faces.assign(**columns), notes


def unscored(known: pd.Series, label: str, score: str, interval: pd.Series | None = None) -> list[str]:
    """A note where faces lack a label, -1 in its column, and how many of these have an interval, which is not -1."""
    lacking = known == UNKNOWN
    if not lacking.any():
        return []
    count = int(lacking.sum())
    have = "has" if count == 1 else "have"
    note = f"{count:,} of {counted(len(known))} {have} no {label}: not scored by {score}"
    held = 0 if interval is None else int((lacking & (interval != UNKNOWN)).sum())
    if held:
        note += f"; --age_scale scores the intervals of {held:,}, where one of its groups holds them"
    return [note]


def grouped(
    faces: pd.DataFrame, p_age: np.ndarray, own: AgeScale, scale: AgeScale, true: np.ndarray
) -> tuple[pd.DataFrame, list[str]]:
    """The table with the true and the predicted age group of each face, their indices, and the probability between the
    groups; and what is in no group.

    Args:
        faces: the table.
        p_age: (n, k) distributions over `own`.
        own, scale: the model's age scale, and the one that is scored.
        true: (n,) index, -1 in none.
    """
    folded, between = fold_ages(p_age, own, scale)
    notes = []
    if outside := int((true == UNKNOWN).sum()):
        notes.append(
            f"{outside:,} of {len(faces):,} faces have no age, or one in no group of {scale.name}: not scored by age"
        )
    if between.max() > 1e-6:  # rounding apart
        notes.append(f"ages folded onto {scale.name}; {between.mean():.1%} of the probability fell between its groups")
    columns = {"group": true, "said": folded.argmax(axis=1), "p_said": folded.max(axis=1), "p_between": between}
    return faces.assign(**columns), notes


def trivial_of(description: Description, faces: pd.DataFrame, scale: AgeScale) -> tuple[dict[str, int], str]:
    """The training faces' median age, or commonest group, and commoner gender; of the faces scored, where the model
    does not know."""
    age = "median age" if scale == YEARS else "commonest group"
    if description.trivial and description.age_scale == scale:
        return dict(description.trivial), f"{age} and commoner gender of the training faces"
    trivial = metrics.trivial_answers(_true_ages(faces, scale), faces.gender.to_numpy(), scale)
    known = "knows those of another age scale" if description.trivial else "does not know its own"
    return trivial, f"{age} and commoner gender of these very faces: the model {known}"


def _true_ages(faces: pd.DataFrame, scale: AgeScale) -> np.ndarray:
    return faces["age" if scale == YEARS else "group"].to_numpy()


def outcomes_of(faces: pd.DataFrame, scale: AgeScale, unsure_below: float) -> Outcomes:
    """What the predictions came to, face by face."""
    gender, p_male, true = faces.gender.to_numpy(), faces.p_male.to_numpy(), _true_ages(faces, scale)
    if scale == YEARS:
        sums = metrics.age_sums(true, faces.expected_age.to_numpy())
    else:
        sums = metrics.group_sums(true, faces.said.to_numpy())
    if "age_low" in faces:
        sums |= metrics.interval_sums(true, faces.age_low.to_numpy(), faces.age_high.to_numpy())
    return Outcomes({**sums, **metrics.gender_sums(gender, p_male, unsure_below)}, gender, p_male)


def trivial_outcomes(faces: pd.DataFrame, scale: AgeScale, trivial: dict[str, int]) -> Outcomes:
    """What one answer for every face comes to."""
    gender, p_male = faces.gender.to_numpy(), np.full(len(faces), float(trivial["gender"]))
    sums_of = metrics.age_sums if scale == YEARS else metrics.group_sums
    sums = sums_of(_true_ages(faces, scale), np.full(len(faces), trivial["age"]))
    return Outcomes({**sums, **metrics.gender_sums(gender, p_male)}, gender, p_male)


def axes_of(faces: pd.DataFrame, scale: AgeScale) -> Axes:
    """Groups of the faces, (name, mask) each, by age, gender, race and all of these, and by database if several; no
    face is in two groups of one axis."""
    true = _true_ages(faces, scale)
    if scale == YEARS:
        bands = np.where(true == UNKNOWN, UNKNOWN, decade_of(true))
        names = [f"{low}-{high}" for low, high in DECADES]
    else:
        bands, names = true, scale.names
    ages = [(name, bands == index) for index, name in enumerate(names)]
    genders = [(name, (faces.gender == index).to_numpy()) for index, name in enumerate(GENDERS)]
    races = [(name, (faces.race == name).to_numpy()) for name in sorted(faces.race.dropna().unique())]
    both = [(f"{age} {gender}", mask & other) for age, mask in ages for gender, other in genders]
    crossed = [(f"{name} {race}", mask & other) for name, mask in both for race, other in races]
    datasets = [(name, (faces.db == name).to_numpy()) for name in sorted(faces.db.unique())]
    return [
        *([("database", datasets)] if len(datasets) > 1 else []),
        ("age", ages),
        ("gender", genders),
        ("race", races),
        ("age, gender and race", crossed) if races else ("age and gender", both),
    ]
