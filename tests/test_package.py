"""What another program installs: the package alone, and the command age-gender."""

import csv
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from age_gender.__main__ import main

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder that holds what the wheel holds, and nothing else of the suite."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # what setuptools leaves there it would take for data the next time
    shutil.copytree(ROOT / "age_gender", source / "age_gender", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(source)]
    subprocess.run(build, check=True, capture_output=True, timeout=280)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


# Whoever imports these fails: the package must do without.
WITHOUT = """
import sys
for name in ("keras", "tensorflow", "jax", "scipy", "pandas", "h5py", "matplotlib", "utils", "networks", "readers"):
    sys.modules[name] = None
"""


def elsewhere(installed: Path, folder: Path, code: str) -> str:
    """What a program prints that runs in another folder, with the package installed."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT + code], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert not done.returncode, done.stderr
    return done.stdout


def test_the_wheel_has_the_package_alone(installed):
    assert {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")} == {"age_gender"}
    for name in ("age_gender.onnx", "py.typed", "detectors/yunet.py"):
        assert (installed / "age_gender" / name).is_file()


def test_it_reads_faces_in_another_folder_without_keras(installed, drawn, tmp_path):
    said = elsewhere(
        installed,
        tmp_path,
        f"""
import age_gender
predict = age_gender.Predictor()
faces = predict({str(drawn / "photos" / "family.jpg")!r})
print(age_gender.__file__, len(faces), *(face.gender for face in faces))
""",
    )
    file, count, *genders = said.split()
    assert Path(file).is_relative_to(installed) and count == "3" and set(genders) <= {"F", "M"}


# --------------------------------------------------------------------------------------------- age-gender PATH...


def rows(text: str) -> list[dict]:
    return list(csv.DictReader(text.splitlines()))


def test_a_line_of_csv_a_face(drawn, capsys):
    photos = drawn / "photos"
    assert main([str(photos / "family.jpg"), str(photos / "landscape.jpg")]) == 0
    said = rows(capsys.readouterr().out)
    assert [Path(row["input"]).name for row in said] == ["family.jpg"] * 3 + ["landscape.jpg"]
    assert [row["status"] for row in said] == ["ok"] * 3 + ["no_face"]
    for row in said[:3]:
        assert 0 <= float(row["age_low"]) <= float(row["age"]) <= float(row["age_high"]) <= 100
        assert row["gender"] == ("M" if float(row["p_male"]) >= 0.5 else "F")


def test_a_line_of_json_a_face_of_a_folder(drawn, capsys):
    assert main([str(drawn / "photos"), "--json"]) == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    family = [row for row in said if row["input"].endswith("family.jpg")]
    assert len(family) == 3 and all(isinstance(row["age"], float) for row in family)
    names = [row["input"] for row in said]
    assert names == sorted(names)


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(drawn, tmp_path, capsys):
    (tmp_path / "text.jpg").write_text("no photo")
    assert main([str(tmp_path / "text.jpg"), str(drawn / "photos" / "girl.jpg"), "gone.jpg"]) == 1
    said = capsys.readouterr()
    assert [row["status"] for row in rows(said.out)] == ["unreadable", "ok", "unreadable"]
    assert "text.jpg is no photo that can be read" in said.err and "gone.jpg is not there" in said.err
    (tmp_path / "film.MP4").write_bytes(b"frames")
    assert main(["gone.jpg", str(tmp_path / "film.MP4")]) == 2
    assert "film.MP4 is a video; the suite's demo.py" in capsys.readouterr().err


def test_a_folder_without_images_stops_nobody(drawn, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    photo = str(drawn / "photos" / "girl.jpg")
    assert main([photo, str(tmp_path / "empty"), photo]) == 1
    said = capsys.readouterr()
    assert "empty holds no image" in said.err and said.out.count(photo) >= 2
    assert main([str(tmp_path / "empty")]) == 2


def test_a_folder_that_may_not_be_read_stops_nobody(drawn, tmp_path, capsys, secret_folders):
    (tmp_path / "secret").mkdir()
    (tmp_path / "file").touch()
    photo = str(drawn / "photos" / "girl.jpg")
    assert main([str(tmp_path / "secret"), str(tmp_path / "file" / "a.jpg"), photo]) == 1
    said = capsys.readouterr()
    assert [row["status"] for row in rows(said.out)] == ["unreadable", "ok"]
    assert "Permission denied: '" in said.err and "a.jpg cannot be read: Not a directory" in said.err


def test_it_runs_as_a_module(drawn, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "age_gender", str(tmp_path / "nowhere"), "--weight_file", "gone.onnx"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )
    assert done.returncode == 2 and "gone.onnx is not there; export.py makes it" in done.stderr
    assert "Traceback" not in done.stderr and not done.stdout
    assert done.stderr.splitlines()[-1].startswith("age-gender: error: ")
    done = subprocess.run([sys.executable, "-m", "age_gender"], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("age-gender: error: ")
