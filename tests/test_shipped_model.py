"""The model in the box: golden predictions, and that it is what README and model card say; and the genuine UTKFace that
it is scored on. Run as a script, it writes the golden predictions anew."""

import csv
import json
import re
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = Path(__file__).resolve().parent / "golden.json"
CARD = ROOT / "docs" / "MODEL_CARD.md"
COUNT, SIZE = 12, 128


def golden_images() -> np.ndarray:
    """(12, 128, 128, 3) uint8: heads with eyes and a mouth, of NumPy alone, so that no library's change shows."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:SIZE, 0:SIZE] / (SIZE - 1) * 2 - 1
    images = np.empty((COUNT, SIZE, SIZE, 3))
    for image in images:
        image[...] = rng.uniform(0, 255, 3) + 60 * (x * rng.uniform(-1, 1) + y * rng.uniform(-1, 1))[..., None]
        parts = [(0, 0.05, rng.uniform(0.6, 0.8), rng.uniform(0.8, 0.95))]  # x, y, half width, half height
        parts += [(side * 0.28, -0.15, rng.uniform(0.08, 0.14), rng.uniform(0.04, 0.09)) for side in (-1, 1)]
        parts += [(0, rng.uniform(0.4, 0.5), rng.uniform(0.15, 0.3), rng.uniform(0.04, 0.1))]
        colours = [rng.uniform((40, 60, 90), (180, 200, 240)), *[rng.uniform(0, 90, 3)] * 2, rng.uniform(30, 150, 3)]
        for (left, top, width, height), colour in zip(parts, colours, strict=True):
            inside = ((x - left) / width) ** 2 + ((y - top) / height) ** 2 < 1
            image[inside] = colour + 30 * y[inside, None]
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def predictor():
    from age_gender.predictor import Predictor

    return Predictor()


def test_it_is_small_and_says_what_it_is():
    from networks.checkpoints import SHIPPED, inspect

    assert SHIPPED.stat().st_size <= 25_000_000
    checkpoint = inspect(SHIPPED)
    assert (checkpoint.network, checkpoint.image_size, checkpoint.margin, checkpoint.mirror) == (
        *("dlib_resnet", SIZE, 0.1, True),
    )
    assert checkpoint.training["arguments"]["input"] == ["data/people_db.mat"]


def test_it_knows_how_sure_it_is(predictor):
    from networks.checkpoints import SHIPPED, inspect

    calibration = inspect(SHIPPED).calibration
    assert (calibration.ages, calibration.genders) == (769, 1553) and len(calibration.bands) > 3


def test_golden_predictions(predictor):
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    ages, p_male = predictor.predict(golden_images())
    np.testing.assert_allclose(ages, golden["expected_age"], atol=0.02)
    np.testing.assert_allclose(p_male, golden["p_male"], atol=0.001)
    assert np.ptp(golden["expected_age"]) > 5 and np.ptp(golden["p_male"]) > 0.2  # they can tell a network apart


def test_a_face_has_no_handedness(predictor):
    images = golden_images()
    for one, other in zip(predictor.predict(images), predictor.predict(images[:, :, ::-1]), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def absolute(arguments: dict) -> dict:
    """Arguments as they are kept today, with absolute paths."""
    paths = {name: [str(ROOT / path) for path in arguments[name]] for name in ("input", "teacher") if name in arguments}
    weights = {"weights": str(ROOT / arguments["weights"])} if "weights" in arguments else {}
    return arguments | paths | weights


def test_its_recipe_is_the_arguments_that_made_it(monkeypatch):
    from networks.checkpoints import SHIPPED, inspect
    from train import build_parser
    from training.options import Options

    monkeypatch.chdir(ROOT)
    said = inspect(SHIPPED).training
    assert "start" not in said and "teachers" not in said  # one training from a published file
    args = vars(build_parser().parse_args(["@recipes/model.args"]))
    assert Options.of(args).plain() == absolute(said["arguments"])


def run(command: str, folder: Path) -> str:
    """What a command prints that the docs show."""
    script, *arguments = shlex.split(command)
    done = subprocess.run(
        [sys.executable, ROOT / script, *arguments], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert not done.returncode, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def genuine(shared, tmp_path_factory) -> tuple[Path, str]:
    """A folder with the genuine UTKFace as data/UTKFace, checked as the docs say, and what check_dataset.py printed."""
    folder = tmp_path_factory.mktemp("genuine")
    with tarfile.open(shared / "data" / "UTKFace.tar.gz") as archive:
        archive.extractall(folder / "data", filter="data")
    return folder, run(commands()[0], folder)


def commands() -> list[str]:
    """The two command lines of the docs that check UTKFace and make a database of it."""
    text = (ROOT / "docs" / "reproduce_model.md").read_text(encoding="utf-8")
    found = re.findall(r"^python ((?:check_dataset|create_db)\.py --db utkface .*_check\.csv)$", text, re.MULTILINE)
    assert len(found) == 2
    return found


def test_the_model_card_has_the_figures_that_its_commands_give(genuine):
    folder, _ = genuine
    weights = ROOT / "checkpoints" / "age_gender.hdf5"
    evaluation = f"evaluate.py --weight_file '{weights}' --input data/utkface_128_db.mat --part test"
    for command in (*commands()[1:], evaluation):
        run(command, folder)
    said = (folder / "evaluation_output" / "table.txt").read_text(encoding="utf-8")
    measured = re.search(r"^faces .*", said, re.DOTALL | re.MULTILINE).group()
    card = re.search(r"```text\n(faces.*?)\n```", CARD.read_text(encoding="utf-8"), re.DOTALL).group(1)
    overall, expected = ([float(f) for f in re.findall(r"[\d.]+", rows.splitlines()[2])] for rows in (measured, card))
    np.testing.assert_allclose(overall, expected, atol=0.15)  # a face or two at a limit may fall to the other side
    counts, expected = (re.findall(r"^(\w+ \S+) +(\d+)", rows, re.MULTILINE) for rows in (measured, card))
    assert counts == expected


def test_the_genuine_utkface_has_253_groups_of_identical_files(genuine):
    from test_check_dataset import printed

    folder, said = genuine
    with open(folder / "data" / "utkface_check.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    found = printed(said)
    assert found["byte-identical"][0] == 253
    assert found["- ages conflict"][0] == 143
    assert found["- genders conflict"][0] == 24
    assert found["age outside 0..100"] == [17] and found["gender unknown"] == [3]
    assert len(rows) == len({path for path, _, _ in rows}) == found["in all"][0]
    faces = folder / "data" / "UTKFace"
    for path, _, first in rows:  # byte for byte, not by fingerprint
        assert (faces / path).read_bytes() == (faces / first).read_bytes()


def test_the_genuine_utkface_names_are_all_understood(genuine):
    from age_gender.labels import MALE, UNKNOWN
    from readers.utkface import read_utkface

    folder = genuine[0] / "data" / "UTKFace"
    names = [path.name for path in folder.rglob("*") if path.is_file()]
    records = read_utkface(folder)
    assert records.path == sorted(names) and len(records) == 18_909 and records.skipped == {}
    assert np.sum(records.gender == UNKNOWN) == np.sum(records.race == UNKNOWN) == 3
    for name, age, gender in zip(records.path, records.age, records.gender, strict=True):
        parts = name.split("_")
        assert int(parts[0]) == age
        if gender != UNKNOWN:
            assert parts[1] == ("0" if gender == MALE else "1")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    from age_gender.predictor import Predictor

    ages, p_male = Predictor().predict(golden_images())
    rounded = {"expected_age": [round(float(a), 4) for a in ages], "p_male": [round(float(p), 5) for p in p_male]}
    GOLDEN.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")
