"""check_dataset.py on small trees whose findings are counted by hand."""

import base64
import csv
import errno
import os
import subprocess
import sys
import zlib
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import scipy.io
from conftest import noise, posix, write_database

import check_dataset
import create_db
from age_gender.files import alone
from readers import duplicates
from utils import open_database, read_paths

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
    """Writes files of the given names and contents, short ones as pictures of their own. Returns the folder."""
    for name, content in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(content) if 0 < len(content) < 20 else content)
    return folder


def picture(seed: bytes) -> bytes:
    """A PNG of noise, another one for each seed."""
    return cv2.imencode(".png", noise(1, 40, zlib.crc32(seed))[0])[1].tobytes()


def check(folder: Path, output: Path, *more: str) -> list[list[str]]:
    """The rows of the list that the script writes about a tree of UTKFace."""
    check_dataset.main(["--db", "utkface", "--data_dir", str(folder), "--output", str(output), *more])
    with open(output, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def printed(text: str) -> dict[str, list[int]]:
    """The numbers of each line of the printed table."""
    lines = text.split("------\n")[1].split("\n\n")[0].splitlines()
    cells = (line.split("  ") for line in lines)
    found = {}
    for name, *rest in cells:
        name = f"near {name}" if name in found else name  # the kinds of byte-identical files come first
        found[name] = [int(cell.replace(",", "")) for cell in rest if cell.strip()]
    return found


def test_what_is_wrong_is_listed_once_with_its_reason(tmp_path, capsys):
    assert check(plant(tmp_path / "faces", TREE), tmp_path / "bad.csv") == EXPECTED
    said = capsys.readouterr().out
    assert said.startswith("17 files as labelled, before any cleaning: ages 20 to 116, median 30; 4 F, 11 M, 2 of unkn")
    assert printed(said) == {
        "malformed name": [1],
        "file missing": [0, 0],
        "empty file": [2, 2],
        "unreadable file": [0, 0],
        "no image": [0, 0],
        "damaged, but read": [0, 0],
        "byte-identical": [5, 12],
        "- ages conflict": [2, 4, 4],
        "- genders conflict": [2, 5, 3],  # two of the five are listed for their ages already
        "- labels agree": [2, 5, 3],
        "near-identical": [0, 0],
        **{f"near - {kind}": [0, 0] for kind in ("ages conflict", "genders conflict", "labels agree")},
        "age outside 0..100": [1],
        "gender unknown": [2],
        "in all": [12],
    }
    assert "bear the name" not in said


def test_nothing_is_listed_where_nothing_is_wrong(tmp_path, capsys):
    folder = plant(tmp_path / "faces", {"20_0_0_20170101.jpg": b"A", "21_0_0_20170101.jpg": b"B"})
    assert check(folder, tmp_path / "bad.csv") == EXPECTED[:1]
    assert f"no file has to be left out: the list {tmp_path / 'bad.csv'} is empty" in capsys.readouterr().out


def test_the_list_is_the_same_with_any_number_of_workers_and_blocks(tmp_path, monkeypatch):
    folder = plant(tmp_path / "faces", TREE)
    assert check(folder, tmp_path / "one.csv", "--workers", "1") == EXPECTED
    monkeypatch.setattr(duplicates, "FILES", 3)
    assert check(folder, tmp_path / "seven.csv", "--workers", "7") == EXPECTED


def test_files_that_differ_in_their_last_byte_are_not_identical(tmp_path):
    long = picture(b"A") + bytes(3_000_000)  # decoders do not mind what follows
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
    photo = duplicates.Photo(b"same", "", duplicates.NOTHING, 7)
    _, listed, _ = duplicates.find(records, [photo] * 3)
    assert listed == {"b.jpg": ("byte-identical, labels agree", "a.jpg")}
    # Before the one outside of subfolders, the one whose labels create_db.py takes is kept.
    records = Records(["a.jpg", "in/b.jpg", "c.jpg"], np.array([-1, 30, 30]), np.array([1, 1, 1]))
    _, listed, _ = duplicates.find(records, [photo] * 3)
    assert listed == {name: ("byte-identical, labels agree", "c.jpg") for name in ("a.jpg", "in/b.jpg")}
    _, listed, _ = duplicates.find(records.take(np.array([0, 1])), [photo] * 2)
    assert listed == {"a.jpg": ("byte-identical, labels agree", "in/b.jpg")}


@pytest.mark.parametrize(
    ("low", "high", "conflict"),
    [
        ([-1, 30, 30, -1], None, False),
        ([-1, -1], None, False),
        ([-1, 0, 1], None, True),
        ([-10, 30], None, True),
        ([25, 30], [32, 30], False),  # 25 to 32, and 30
        ([25, 48], [32, 53], True),
        ([25, 32, -1], [32, 40, -1], False),
    ],
)
def test_labels_conflict_where_they_exclude_each_other_and_unknown_ones_with_none(low, high, conflict):
    assert duplicates.conflict(np.array(low), np.array(high or low)) is conflict


def test_intervals_and_missing_ages_of_adience_are_no_wrong_ones(tmp_path, capsys):
    header = "user_id\toriginal_image\tface_id\tage\tgender"
    rows = ("u\ta.jpg\t1\t(25, 32)\tf", "u\tb.jpg\t2\t(48, 53)\tf", "u\tc.jpg\t3\tNone\tm", "u\td.jpg\t4\tNone\tu")
    for fold in range(5):
        lines = [header, *(rows if fold == 0 else ())]
        plant(tmp_path, {f"fold_{fold}_data.txt": ("\n".join(lines) + "\n" + " " * 20).encode()})
    names = {"a": b"same", "b": b"same", "c": b"other", "d": b"third"}
    faces = {f"aligned/u/landmark_aligned_face.{n}.{x}.jpg": names[x] for n, x in enumerate("abcd", start=1)}
    plant(tmp_path, faces)
    check_dataset.main(["--db", "adience", "--data_dir", str(tmp_path), "-o", str(tmp_path / "bad.csv")])
    said = capsys.readouterr().out
    found = printed(said)
    assert found["age outside 0..100"] == [0] and found["neither age nor gender"] == [1]
    assert found["- ages conflict"] == [1, 2, 2] and "create_db.py would keep 1 " in said


def test_ages_that_are_intervals_are_ages(tmp_path, capsys):
    plant(
        tmp_path, {f"{number}.png": cv2.imencode(".png", noise(1, 40, number)[0])[1].tobytes() for number in range(2)}
    )
    (tmp_path / "t.csv").write_text("path,age,gender\n0.png,20-29,F\n1.png,40,F\n")
    options = ["--db", "csv", "--data_dir", str(tmp_path), "--table", str(tmp_path / "t.csv")]
    check_dataset.main([*options, "-o", str(tmp_path / "bad.csv")])
    assert "ages 20 to 40, median 32" in capsys.readouterr().out
    create_db.main([*options, "-o", str(tmp_path / "a.mat")])
    assert "F 2 2 24 " in " ".join(capsys.readouterr().out.split())


def test_the_page_shows_intervals_by_their_middle_and_nothing_where_there_is_nothing(tmp_path, monkeypatch):
    from evaluation import pages, plots

    labels, shown = {"0": "60-69", "1": "40", "2": "20-29", "3": ""}, {}
    plant(tmp_path, {f"{name}.png": picture(name.encode()) for name in labels})
    draw, write = plots.draw_ages, pages.write_page
    monkeypatch.setattr(plots, "draw_ages", lambda age, *more: shown.update(age=age.tolist()) or draw(age, *more))
    monkeypatch.setattr(
        pages, "write_page", lambda *where, **content: (shown.update(content), write(*where, **content))
    )

    def page(chosen) -> str:
        rows = "".join(f"{name}.png,{labels[name]},F\n" for name in chosen)
        plant(tmp_path, {"t.csv": b"path,age,gender\n" + rows.encode()})
        options = ["--db", "csv", "--data_dir", str(tmp_path), "--table", str(tmp_path / "t.csv"), "--overwrite"]
        check_dataset.main([*options, "-o", str(tmp_path / "bad.csv")])
        return (tmp_path / "bad.html").read_text(encoding="utf-8")

    drawn = page("0123")
    assert "ages before and after; intervals by their middle" in drawn and "Some of the faces that are kept" in drawn
    assert shown["age"] == [64.5, 40, 24.5, -1]
    assert [text for _, text in shown["sample"]] == ["?, F", "20-29, F", "40, F", "60-69, F"]
    assert "intervals by their middle" not in page("1")
    assert "ages before and after" not in page("3")  # no age is known
    (tmp_path / "1.png").write_bytes(b"no picture, but longer than that")
    assert "Some of the faces that are kept" not in page("1")


def test_two_faces_on_one_photo_are_two_and_are_shown_apart(tmp_path, capsys):
    photo = np.concatenate([smooth(1), smooth(2)], axis=1)
    plant(tmp_path, {"two.jpg": encoded(photo)})
    table = "path,age,gender,x1,y1,x2,y2\ntwo.jpg,20,F,0,0,120,120\ntwo.jpg,60,M,120,0,240,120\ntwo.jpg,9,M,0,0,9e5,9\n"
    plant(tmp_path, {"faces.csv": table.encode()})
    options = ["--db", "csv", "--data_dir", str(tmp_path), "--table", str(tmp_path / "faces.csv")]
    check_dataset.main([*options, "-o", str(tmp_path / "bad.csv")])
    found = printed(capsys.readouterr().out)
    assert found["byte-identical"] == found["near-identical"] == [0, 0] and found["face box does not fit"] == [1]
    assert "two.jpg" not in (tmp_path / "bad.csv").read_text()  # two of its three faces are good
    database = tmp_path / "faces.mat"
    create_db.main([*options, "-o", str(database), "--margin", "0", "--img_size", "120"])
    images = open_database(database).image
    assert len(images) == 2 and all(
        np.abs(image.astype(int) - smooth(seed)).mean() < 8 for seed, image in enumerate(images, start=1)
    )
    assert "- face box does not fit the photo 1 " in " ".join(capsys.readouterr().out.split())
    assert not database.with_suffix(".failed.csv").exists()  # a list that --exclude takes would take the good ones


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
            "part/60_1_0_20170101.jpg": b"a text, and no picture at all",
        },
    )
    bad, database = tmp_path / "bad.csv", tmp_path / "faces.mat"
    assert [row[0] for row in check(folder, bad)[1:]] == [
        "part/40_1_0_20170101.jpg",
        "part/60_1_0_20170101.jpg",
        "25_0_0_20170101.jpg",
        "part/é/26_0_0_20170101.jpg",
        "0/20_0_0_20170101.jpg",
        "part/30_1_0_20170102, a copy.jpg",
    ]
    create_db.main(["--db", "utkface", "--data_dir", str(folder), "-o", str(database), "--exclude", str(bad)])
    assert read_paths(database) == ["20_0_0_20170101.jpg", "part/30_1_0_20170101.jpg", "part/50_1_0_20170101.jpg"]


def test_a_listed_photo_takes_no_other_of_its_name_with_it(tmp_path):
    tree = {"20_0_0_20170101.jpg": b"A", "21_0_0_20170101.jpg": b"A"}
    folder = plant(tmp_path / "faces", tree | {"part/21_0_0_20170101.jpg": encoded(noise(1, 40)[0])})
    check(folder, tmp_path / "bad.csv")
    create_db.main(["--db", "utkface", "--data_dir", str(folder), "-o", str(tmp_path / "a.mat"), "--exclude",
                    str(tmp_path / "bad.csv")])  # fmt: skip
    assert read_paths(tmp_path / "a.mat") == ["part/21_0_0_20170101.jpg"]


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


def test_two_lists_are_not_written_to_one_place_at_once(tmp_path, monkeypatch):
    folder, output = plant(tmp_path / "faces", TREE), tmp_path / "bad.csv"
    with (
        alone(output),
        pytest.raises(ValueError, match=r"another run is at work on .*bad\.csv; wait for it, or end it"),
    ):
        check(folder, output)
    assert not output.exists()

    @contextmanager
    def after_another(path, what=None):
        output.write_text("another run's")
        yield

    monkeypatch.setattr(check_dataset, "alone", after_another)
    with pytest.raises(ValueError, match="is there by now: another run made it; --overwrite replaces it"):
        check(folder, output)
    assert output.read_text() == "another run's"


def test_list_and_page_are_there_both_or_neither(tmp_path, monkeypatch):
    folder, output = plant(tmp_path / "faces", TREE), tmp_path / "bad.csv"

    def full(path, *given, **more):
        path.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("evaluation.pages.write_page", full)
    with pytest.raises(OSError, match="No space left"):
        check(folder, output)
    assert [path.name for path in tmp_path.iterdir()] == ["faces"]
    output.write_text("the one before")
    with pytest.raises(OSError, match="No space left"):
        check(folder, output, "--overwrite")
    assert output.read_text() == "the one before" and len(list(tmp_path.iterdir())) == 2


@posix
def test_names_that_no_list_can_hold_are_counted_and_spoil_no_list(tmp_path, capsys):
    tree = {
        "a\nb/20_0_0_0.jpg": b"A",
        "c/20_0_0_1.jpg": b"A",
        "21_0_0_2.jpg": b"B",
        " d/22_0_0_3.jpg": b"",
        "d/22_0_0_3.jpg": b"C",
    }
    folder = plant(tmp_path / "faces", tree)
    rows = check(folder, tmp_path / "bad.csv")
    said = printed(capsys.readouterr().out)
    assert rows == [
        ["path", "reason", "same_as"],
        ["c/20_0_0_1.jpg", "byte-identical, labels agree", "a\\nb/20_0_0_0.jpg"],
    ]
    assert said["with a name that no list can hold"] == [1, 0] and said["in all"] == [1]
    create_db.main(["--db", "utkface", "--data_dir", str(folder), "-o", str(tmp_path / "a.mat"), "--exclude",
                    str(tmp_path / "bad.csv")])  # fmt: skip
    assert read_paths(tmp_path / "a.mat") == ["21_0_0_2.jpg", "a\nb/20_0_0_0.jpg", "d/22_0_0_3.jpg"]


def test_files_that_are_all_missing_are_a_wrong_folder(tmp_path):
    folder = plant(tmp_path / "faces", {"20_0_0_20170101.jpg": b"", "21_0_0_20170101.jpg": b""})
    with pytest.raises(ValueError, match="none of the 2 files could be read, such as .*20_0_0_20170101.jpg; does --d"):
        check(folder, tmp_path / "bad.csv")
    assert not (tmp_path / "bad.csv").exists()


# ------------------------------------------------------------------------------------------- near-identical images


def smooth(seed: int, size: int = 120) -> np.ndarray:
    """A picture of large patches, (size, size, 3) uint8, as unlike another seed's as two photos are."""
    return cv2.resize(noise(1, 6, seed)[0], (size, size), interpolation=cv2.INTER_CUBIC)


def encoded(image: np.ndarray, quality: int = 95) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def test_images_that_were_saved_anew_resized_or_made_brighter_are_near_identical(tmp_path, capsys):
    one, two = smooth(1), smooth(2)
    tree = {
        "20_0_0_20170101.jpg": encoded(one),
        "20_0_0_20170102.jpg": encoded(one, 60),
        "21_0_0_20170103.jpg": encoded(cv2.resize(one, (70, 70), interpolation=cv2.INTER_AREA)),
        "30_0_0_20170101.jpg": encoded(two),
        "30_0_0_20170102.jpg": encoded(cv2.convertScaleAbs(two, alpha=0.9, beta=12)),
        "40_0_0_20170101.jpg": encoded(smooth(3)),
        "40_0_0_20170102.jpg": encoded(smooth(3)),  # byte-identical, and nothing but that
        "50_0_0_20170101.jpg": encoded(one[:, ::-1]),
        "60_0_0_20170101.jpg": encoded(smooth(4)),
    }
    folder = plant(tmp_path / "faces", tree)
    same = ["40_0_0_20170102.jpg", "byte-identical, labels agree", "40_0_0_20170101.jpg"]
    assert check(folder, tmp_path / "bad.csv")[1:] == [same]
    found = printed(capsys.readouterr().out)
    assert found["byte-identical"] == [1, 2] and found["near-identical"] == [2, 5]
    assert found["near - ages conflict"] == [1, 3] and found["near - labels agree"] == [1, 2]
    near = [
        *(["near-identical, ages conflict", name] for name in sorted(tree)[:3]),
        ["near-identical, labels agree", "30_0_0_20170102.jpg"],
    ]
    listed = check(folder, tmp_path / "near.csv", "--list_near")[1:]
    assert listed[0] == same and [[reason, name] for name, reason, _ in listed[1:]] == near


def test_near_identical_pairs_are_those_of_all_pairs_compared():
    """Against every pair of hashes, among many that are close to each other; thumbnails decide where hashes agree."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, 40, np.uint64)
    rows = np.r_[np.arange(40), rng.integers(0, 40, 260)]
    flips = [sum(1 << int(bit) for bit in rng.choice(64, count, replace=False)) for count in rng.integers(0, 5, 300)]
    noisy = hashes[rows] ^ np.array(flips, np.uint64)
    thumbnails = rng.integers(0, 256, (40, 16, 16), np.uint8)[rows]
    odd = rng.random(300) < 0.1
    thumbnails[odd] = rng.integers(0, 256, (odd.sum(), 16, 16), np.uint8)
    photos = [
        duplicates.Photo(bytes([n % 256, n // 256]), "", thumbnail, int(value))
        for n, (thumbnail, value) in enumerate(zip(thumbnails, noisy, strict=True))
    ]
    groups = duplicates.near_identical(photos)
    of = {row: number for number, group in enumerate(groups) for row in group}
    for one in range(300):
        for other in range(one):
            alike = np.array_equal(thumbnails[one], thumbnails[other])
            if alike and int(noisy[one] ^ noisy[other]).bit_count() <= 3:
                assert of[one] == of[other]
    for group in groups:
        assert len({thumbnails[row].tobytes() for row in group}) == 1
    assert not any(odd[row] for row in of)


def test_thumbnails_are_compared_apart_from_the_brightness_of_each_pair():
    dark = np.random.default_rng(0).integers(0, 150, (2, 256), np.uint8)
    thumbnails, pairs = np.concatenate([dark, dark + np.uint8([[60], [0]])]), np.array([[0, 3, 0], [2, 1, 1]])
    assert duplicates.look_alike(thumbnails, pairs).tolist() == [True, True, False]


def test_the_difference_hash_says_where_it_becomes_brighter_to_the_right():
    rising = np.tile(np.arange(0, 180, 20, np.uint8), (8, 1))
    assert duplicates.difference_hash(rising) == 2**64 - 1
    assert duplicates.difference_hash(rising[:, ::-1]) == 0
    step = np.full((8, 9), 50, np.uint8)
    step[0, 1] = 200  # brighter than its left neighbour; its right one is darker
    assert duplicates.difference_hash(step) == 2**63


def test_blank_pictures_are_one_group_however_many_they_are():
    blank = [duplicates.Photo(b"%d" % n, "", duplicates.NOTHING, 5) for n in range(2_000)]
    assert duplicates.near_identical(blank[:1] * 98_000) == []  # one file
    assert duplicates.near_identical(blank[:2]) == [[0, 1]]
    assert duplicates.near_identical(blank[:1] * 98_000 + blank) == [list(range(100_000))]


# ------------------------------------------------------------------------------------------------ parts and the page


def test_people_and_pictures_in_several_parts_are_counted(tmp_path, capsys):
    folder = tmp_path / "All-Age-Faces Dataset"
    faces = {
        "00000A02.jpg": encoded(smooth(1)),
        "00001A03.jpg": encoded(smooth(1)),
        "00002A04.jpg": encoded(smooth(2)),
        "00003A04.jpg": encoded(smooth(2), 60),
        "00004A05.jpg": encoded(smooth(3)),
    }
    plant(folder / "aglined faces", faces)
    plant(folder / "image sets", {"train.txt": b"00000A02.jpg 0\n00002A04.jpg 0\n00004A05.jpg 0\n" + b" " * 20})
    plant(folder / "image sets", {"val.txt": b"00001A03.jpg 0\n00003A04.jpg 0\n" + b" " * 20})
    check_dataset.main(["--db", "all_age_faces", "--data_dir", str(folder), "-o", str(tmp_path / "bad.csv")])
    found = printed(capsys.readouterr().out)
    assert found["people in several parts"] == [0, 0]
    assert found["byte-identical files in several parts"] == [1, 2]
    assert found["near-identical images in several parts"] == [1, 2]


def test_the_page_holds_everything_and_fetches_nothing(tmp_path):
    tree = {**TREE, "21_1_0_20170101 <b>&.jpg": b"B", "26_0_0_20170101.jpg": b"not a picture, but longer than that"}
    check(plant(tmp_path / "faces", tree), tmp_path / "bad.csv")
    page = (tmp_path / "bad.html").read_text(encoding="utf-8")
    parsed = HTMLParser()
    tags, opened = [], []
    parsed.handle_starttag = lambda tag, attributes: (tags.append((tag, dict(attributes))), opened.append(tag))
    parsed.handle_endtag = lambda tag: opened.remove(tag)
    parsed.feed(page)
    assert set(opened) <= {"meta", "img"}  # everything else is closed
    pictures = [attributes["src"] for tag, attributes in tags if tag == "img"]
    assert pictures and all(source.startswith("data:image/") for source in pictures)
    assert not {"script", "link", "iframe"} & {tag for tag, _ in tags} and "http" not in page
    assert "20170101 &lt;b&gt;&amp;.jpg" in page and "<b>" not in page
    for heading in (
        "What cleaning removes",
        "What was found",
        "Byte-identical, ages conflict",
        "could not be understood",
    ):
        assert heading in page
    for source in pictures:
        kind, content = source.removeprefix("data:image/").split(";base64,")
        image = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)
        assert image is not None and (image.shape[:2] == (88, 88) or kind == "png")
    again = tmp_path / "again.csv"
    check(tmp_path / "faces", again)
    assert again.with_suffix(".html").read_text(encoding="utf-8") == page


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
    assert "Not checked: whether a label suits its face" in answer.stdout and "--exclude bad.csv" in answer.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--input", "a.mat", "--output", "b.csv", "--db", "csv"], "--db --output is not for a check of databases by"),
        (["--weight_file", "a.hdf5", "--list_near"], "--list_near is not for a check of labels by --weight_file"),
        (["--doubt_below", "0.1"], "--doubt_below is not for a check of photos: leave it out"),
    ],
)
def test_an_option_that_a_check_has_no_use_for_is_refused(words, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        check_dataset.main(words)
    assert message in capsys.readouterr().err


def test_a_database_is_checked_against_its_digests(tmp_path, capsys):
    path = write_database(tmp_path / "a.mat", noise(300))
    assert check_dataset.main(["--input", str(path)]) == 0
    assert "a.mat: 300 faces, all as they were written" in capsys.readouterr().out
    content = bytearray(path.read_bytes())
    content[open_database(path).image.offset + 299 * 192] ^= 255
    path.write_bytes(content)
    assert check_dataset.main(["--input", str(path)]) == 1
    assert "a.mat: damaged: among the faces 256 to 299" in capsys.readouterr().out
    with h5py.File(path, "r+") as file:
        del file["block_crc32"]
    assert check_dataset.main(["--input", str(path)]) == 0
    assert "of a version that kept no digests" in capsys.readouterr().out
