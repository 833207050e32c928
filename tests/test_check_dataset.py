"""check_dataset.py on small trees whose findings are counted by hand, and on the genuine UTKFace."""

import csv
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io
from conftest import noise

import check_dataset
import create_db
from utils import read_paths

ROOT = Path(check_dataset.__file__).parent
HEAVY = {"keras", "tensorflow", "cv2", "scipy", "h5py", "pandas", "matplotlib", "tqdm", "tabulate"}

# In the order in which the reader finds them. UTKFace's 0 is male, 1 female.
TREE = {
    "116_0_0_20170101.jpg": b"old",  # impossible age
    "20_0_0_20170101.jpg": b"A",
    "20_0_0_20170102.jpg": b"A",
    "21_0_0_20170101.jpg": b"B",  # conflicts with the next in age
    "22_0_0_20170101.jpg": b"B",
    "30_0_0_20170101.jpg": b"C",  # conflicts with 30_1 in gender, 30_2 does not say
    "30_1_0_20170101.jpg": b"C",
    "30_20170101.jpg": b"C",
    "31_0_0_20170101.jpg": b"D",  # conflicts with the next in both
    "32_1_0_20170101.jpg": b"D",
    "40_1_0_20170101.jpg": b"alone",
    "41_0_0_20170101.jpg": b"",
    "42_0_0_20170101.jpg": b"",  # empty files are no group
    "50_1_20170101.jpg": b"E",  # no gender: the next one, of the same bytes, is the one to keep
    "50_1_4_20170101.jpg": b"E",
    "notes.txt": b"A",
    "part/20_0_0_20170103.jpg": b"A",
    "part/21_0_0_20170109.jpg": b"B and more",
}
EXPECTED = [
    ["path", "reason", "same_as"],
    ["41_0_0_20170101.jpg", "empty file", ""],
    ["42_0_0_20170101.jpg", "empty file", ""],
    ["21_0_0_20170101.jpg", "byte-identical, ages conflict", "21_0_0_20170101.jpg"],
    ["22_0_0_20170101.jpg", "byte-identical, ages conflict", "21_0_0_20170101.jpg"],
    ["31_0_0_20170101.jpg", "byte-identical, ages conflict", "31_0_0_20170101.jpg"],
    ["32_1_0_20170101.jpg", "byte-identical, ages conflict", "31_0_0_20170101.jpg"],
    ["30_0_0_20170101.jpg", "byte-identical, genders conflict", "30_0_0_20170101.jpg"],
    ["30_1_0_20170101.jpg", "byte-identical, genders conflict", "30_0_0_20170101.jpg"],
    ["30_20170101.jpg", "byte-identical, genders conflict", "30_0_0_20170101.jpg"],
    ["20_0_0_20170102.jpg", "byte-identical, labels agree", "20_0_0_20170101.jpg"],
    ["part/20_0_0_20170103.jpg", "byte-identical, labels agree", "20_0_0_20170101.jpg"],
    ["50_1_20170101.jpg", "byte-identical, labels agree", "50_1_4_20170101.jpg"],
]


def plant(folder: Path, tree: dict[str, bytes]) -> Path:
    """Writes files of the given names and contents. Returns the folder."""
    for name, content in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def check(folder: Path, output: Path, *more: str) -> list[list[str]]:
    """The rows of the list that the script writes about a tree of UTKFace."""
    check_dataset.main(["--db", "utkface", "--data_dir", str(folder), "--output", str(output), *more])
    with open(output, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def printed(text: str) -> dict[str, list[int]]:
    """The numbers of each line of the printed table."""
    lines = text.split("------\n")[1].split("\n\n")[0].splitlines()
    cells = (line.split("  ") for line in lines)
    return {name: [int(cell.replace(",", "")) for cell in rest if cell.strip()] for name, *rest in cells}


def test_what_is_wrong_is_listed_once_with_its_reason(tmp_path, capsys):
    assert check(plant(tmp_path / "faces", TREE), tmp_path / "bad.csv") == EXPECTED
    said = capsys.readouterr().out
    assert said.startswith("17 files as labelled, before any cleaning: ages 20 to 116, median 30; 4 F, 11 M, 2 of unkn")
    assert printed(said) == {
        "malformed name": [1],
        "file missing": [0, 0],
        "empty file": [2, 2],
        "unreadable file": [0, 0],
        "byte-identical": [5, 12],
        "- ages conflict": [2, 4, 4],
        "- genders conflict": [2, 5, 3],  # two of the five are listed for their ages already
        "- labels agree": [2, 5, 3],
        "age outside 0..100": [1],
        "gender unknown": [2],
        "in all": [12],
    }
    assert "bear the name" not in said


def test_nothing_is_listed_where_nothing_is_wrong(tmp_path, capsys):
    folder = plant(tmp_path / "faces", {"20_0_0_20170101.jpg": b"A", "21_0_0_20170101.jpg": b"B"})
    assert check(folder, tmp_path / "bad.csv") == EXPECTED[:1]
    assert "0 files are listed in" in capsys.readouterr().out


def test_the_list_is_the_same_with_any_number_of_workers_and_blocks(tmp_path, monkeypatch):
    folder = plant(tmp_path / "faces", TREE)
    assert check(folder, tmp_path / "one.csv", "--workers", "1") == EXPECTED
    monkeypatch.setattr(check_dataset, "BLOCK", 3)
    assert check(folder, tmp_path / "seven.csv", "--workers", "7") == EXPECTED


def test_files_that_differ_in_their_last_byte_are_not_identical(tmp_path):
    long = bytes(3_000_000)  # more than is read at a time
    folder = plant(tmp_path / "faces", {"20_0_0_20170101.jpg": long + b"A", "21_0_0_20170101.jpg": long + b"B"})
    assert check(folder, tmp_path / "bad.csv") == EXPECTED[:1]
    (folder / "21_0_0_20170101.jpg").write_bytes(long + b"A")
    assert len(check(folder, tmp_path / "bad.csv", "--overwrite")) == 3


def test_missing_and_unreadable_files_of_wiki_are_listed(tmp_path, capsys):
    folder = tmp_path / "wiki_crop"
    plant(folder, {"00/a.jpg": b"A", "00/empty.jpg": b"", "00/folder.jpg/x": b""})
    paths = np.empty((1, 5), object)
    paths[0] = ["00/a.jpg", "00/gone.jpg", "00/empty.jpg", "00/folder.jpg", "99/gone.jpg"]
    columns = {
        "dob": np.full((1, 5), 716000, np.int32),  # 2 May 1960
        "photo_taken": np.full((1, 5), 1990, np.uint16),
        "full_path": paths,
        "gender": np.ones((1, 5)),
        "face_score": np.ones((1, 5)),
        "second_face_score": np.full((1, 5), np.nan),
    }
    scipy.io.savemat(folder / "wiki.mat", {"wiki": columns})
    output = tmp_path / "bad.csv"
    check_dataset.main(["--data_dir", str(folder), "-o", str(output)])
    assert output.read_text(encoding="utf-8").splitlines() == [
        "path,reason,same_as",
        "00/gone.jpg,file missing,",
        "99/gone.jpg,file missing,",
        "00/empty.jpg,empty file,",
        "00/folder.jpg,unreadable file,",
    ]
    found = printed(capsys.readouterr().out)
    assert found["file missing"] == [2, 2] and found["empty file"] == found["unreadable file"] == [1, 1]
    assert found["in all"] == [4]


def test_a_path_that_is_recorded_twice_does_not_lose_its_only_file():
    from readers import Records

    records = Records(["a.jpg", "a.jpg", "b.jpg"], np.array([30, 30, 30]), np.array([1, 1, 1]))
    _, listed = check_dataset.find(records, [b"same"] * 3, {})
    assert listed == {"b.jpg": ("byte-identical, labels agree", "a.jpg")}


def test_unknown_ages_and_genders_conflict_with_none():
    assert not check_dataset.conflict(np.array([-1, 30, 30, -1])) and not check_dataset.conflict(np.array([-1, -1]))
    assert check_dataset.conflict(np.array([-1, 0, 1])) and check_dataset.conflict(np.array([-10, 30]))


def test_create_db_leaves_out_what_is_listed(tmp_path):
    faces = noise(5, 40)
    jpeg = [cv2.imencode(".jpg", face)[1].tobytes() for face in faces]
    folder = plant(
        tmp_path / "faces",
        {
            "0/20_0_0_20170101.jpg": jpeg[0],  # a copy of the file of its name without a folder
            "20_0_0_20170101.jpg": jpeg[0],
            "25_0_0_20170101.jpg": jpeg[1],
            "part/é/26_0_0_20170101.jpg": jpeg[1],
            "part/30_1_0_20170101.jpg": jpeg[2],
            "part/30_1_0_20170102, a copy.jpg": jpeg[2],
            "part/40_1_0_20170101.jpg": b"",
            "part/50_1_0_20170101.jpg": jpeg[3],
            "part/60_1_0_20170101.jpg": b"damaged, which is not looked at",
        },
    )
    bad, database = tmp_path / "bad.csv", tmp_path / "faces.mat"
    assert [row[0] for row in check(folder, bad)[1:]] == [
        "part/40_1_0_20170101.jpg",
        "25_0_0_20170101.jpg",
        "part/é/26_0_0_20170101.jpg",
        "0/20_0_0_20170101.jpg",
        "part/30_1_0_20170102, a copy.jpg",
    ]
    create_db.main(["--db", "utkface", "--data_dir", str(folder), "-o", str(database), "--exclude", str(bad)])
    assert read_paths(database) == ["20_0_0_20170101.jpg", "part/30_1_0_20170101.jpg", "part/50_1_0_20170101.jpg"]


def test_it_is_said_when_a_listed_name_takes_others_with_it(tmp_path, capsys):
    tree = {"20_0_0_20170101.jpg": b"A", "21_0_0_20170101.jpg": b"A", "part/21_0_0_20170101.jpg": b"B"}
    assert len(check(plant(tmp_path / "faces", tree), tmp_path / "bad.csv")) == 3
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == "and with them 1 more that bear the name of a listed one, such as part/21_0_0_20170101.jpg"


def test_a_list_that_is_there_is_only_replaced_when_told_to(tmp_path, capsys):
    folder, output = plant(tmp_path / "faces", TREE), tmp_path / "bad.csv"
    output.write_text("mine")
    with pytest.raises(SystemExit) as caught:
        check(folder, output)
    assert caught.value.code == 2 and output.read_text() == "mine"
    assert "bad.csv is there already; --overwrite replaces it" in capsys.readouterr().err.splitlines()[-1]
    assert check(folder, output, "--overwrite") == EXPECTED
    with pytest.raises(SystemExit):
        check(folder, tmp_path / "faces.mat")
    assert "must end in .csv" in capsys.readouterr().err


def test_files_that_are_all_missing_are_a_wrong_folder(tmp_path):
    folder = plant(tmp_path / "faces", {"20_0_0_20170101.jpg": b"", "21_0_0_20170101.jpg": b""})
    with pytest.raises(ValueError, match="none of the 2 files could be read, such as .*20_0_0_20170101.jpg; does --d"):
        check(folder, tmp_path / "bad.csv")
    assert not (tmp_path / "bad.csv").exists()


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """The script in a process of its own."""
    return subprocess.run(
        [sys.executable, str(ROOT / "check_dataset.py"), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )


def test_defaults_and_one_line_for_a_folder_that_is_not_there(tmp_path):
    missing = run(tmp_path, "--db", "utkface")
    assert missing.returncode == 2 and missing.stdout == "" and missing.stderr.count("\n") == 1
    assert missing.stderr.startswith("check_dataset.py: error: ") and "UTKFace is not there" in missing.stderr
    assert "utkface is UTKFace, aligned and cropped" in missing.stderr and not list(tmp_path.iterdir())
    plant(tmp_path / "data" / "UTKFace", TREE)
    found = run(tmp_path, "--db", "utkface")
    assert found.returncode == 0 and found.stderr == ""  # no bar where stderr is no terminal
    with open(tmp_path / "data" / "utkface_check.csv", newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == EXPECTED


def test_help_says_what_is_not_checked_and_loads_nothing_heavy(tmp_path):
    probe = (
        "import runpy, sys; sys.argv = ['check_dataset.py', '--help']\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        f"try: runpy.run_path({str(ROOT / 'check_dataset.py')!r}, run_name='__main__')\n"
        f"finally: print('LOADED', sorted({HEAVY!r} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, cwd=tmp_path)
    assert answer.returncode == 0 and "LOADED []" in answer.stdout
    assert "Not checked yet: no image is decoded" in answer.stdout and "--exclude bad.csv" in answer.stdout


def test_the_genuine_utkface_has_253_groups_of_identical_files(shared, tmp_path, capsys):
    with tarfile.open(shared / "data" / "UTKFace.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    rows = check(tmp_path / "UTKFace", tmp_path / "bad.csv")[1:]
    found = printed(capsys.readouterr().out)
    assert found["byte-identical"][0] == 253
    assert found["- ages conflict"][0] == 143
    assert found["- genders conflict"][0] == 24
    assert found["age outside 0..100"] == [17] and found["gender unknown"] == [3]
    assert len(rows) == len({path for path, _, _ in rows}) == found["in all"][0]
    for path, _, first in rows:  # byte for byte, not by fingerprint
        assert (tmp_path / "UTKFace" / path).read_bytes() == (tmp_path / "UTKFace" / first).read_bytes()
