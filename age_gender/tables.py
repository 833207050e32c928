"""Predictions as rows of a table, for CSV and JSON."""

from typing import Any

from age_gender.predictor import Face, Result

COLUMNS = (
    *("input", "frame", "face", "status", "x1", "y1", "x2", "y2", "score", "age", "gender", "p_male"),
    *("age_low", "age_high", "unsure"),
    *("age_group", "p_age_group", "p_between_groups"),  # with age groups alone
)


def rows_of(result: Result) -> list[dict[str, Any]]:
    """A row for each face, or one that says why there is none; a value that does not exist is None."""
    base = {**dict.fromkeys(COLUMNS), "input": result.frame.name, "frame": result.frame.number}
    if not result.faces:
        return [{**base, "status": "unreadable" if result.image is None else "no_face"}]
    return [
        {
            **base,
            "face": number,
            "status": "ok",
            **dict(zip(("x1", "y1", "x2", "y2"), (round(value, 1) for value in face.box), strict=True)),
            "score": round(face.score, 4),
            "age": round(face.age, 2),
            "gender": face.gender,
            "p_male": round(face.p_male, 4),
            "unsure": int(face.unsure),
            **dict(zip(("age_low", "age_high"), face.interval or (None, None), strict=True)),
            **_groups_of(face),
        }
        for number, face in enumerate(result.faces)
    ]


def _groups_of(face: Face) -> dict[str, Any]:
    """The columns that only a face with an age group has."""
    if face.group is None or face.p_group is None or face.p_between is None:
        return {}
    return {
        "age_group": face.group,
        "p_age_group": round(face.p_group, 4),
        "p_between_groups": round(face.p_between, 4),
    }
