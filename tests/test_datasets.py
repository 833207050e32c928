"""Every reader on a fake tree after its dataset's real layout, with junk in it, and on genuine label files."""

import csv
import hashlib
import shutil

import cv2
import numpy as np
import pytest
from conftest import noise
from test_readers import write_metadata

import create_db
from age_gender.files import digest
from age_gender.labels import FEMALE, MALE, UNKNOWN
from readers import READERS, Records, clean, read_records
from readers.records import box_over_landmarks
from utils import open_database, read_paths

LANDMARKS = " ".join(f"{10 + 40 * i / 67:.2f} {30 + 30 * i / 67:.2f}" for i in range(68))  # from 10, 30 to 50, 60


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def imdb_wiki(folder):
    write_metadata(folder, "wiki")
    write_metadata(folder, "imdb", celeb_id=np.array([[17.0, np.nan, 17.0, 20284.0]]))
    touch(folder, "Thumbs.db")


def utkface(folder):
    touch(folder, "25_0_2_20170116.jpg.chip.jpg", "sub/26_1_3_20170116.jpg.chip.jpg", "Thumbs.db", "notes.txt")


def utkface_wild(folder):
    touch(folder, "part1/1_0_2_20161219 .jpg", "part2/26_1_3_20170116.jpg", "part2/.DS_Store", "part3/30_1_4_2017.jpg")
    touch(folder, "crops/77_0_0_20170116.jpg")
    write(folder / "landmark_list_part1.txt", f"1_0_2_20161219 .jpg {LANDMARKS} ", "", "cut_off.jpg 1 2 3")
    write(folder / "landmark_list_part2.txt", f"26_1_3_20170116.jpg {LANDMARKS.replace('10.00', 'x')}")


def appa_real(folder):
    header = "file_name,num_ratings,apparent_age_avg,apparent_age_std,real_age"
    train = ("000000.jpg,36,5.03,1.18,4", "000001.jpg,36,20.5,0.0,18", "000003.jpg,3,many,1,x", "000004.jpg,4,30,2,31")
    write(folder / "gt_avg_train.csv", header, *train)
    write(folder / "gt_avg_valid.csv", header, "004113.jpg,38,29.71,4.9,30", "", "004114.jpg")
    write(folder / "gt_avg_test.csv", header, "005613.jpg,38,99.6,4.9,101")
    write(folder / "ignore_list.csv", "img_name", "000004.jpg", "004113.jpg")
    faces = ("000000.jpg,male,asian,notclear,oldphoto,neutral", "000001.jpg,?,martian,,,")
    write(folder / "allcategories_train.csv", "file,gender,race,makeup,time,happiness", *faces)
    touch(folder, "train/000000.jpg", "train/000000.jpg_face.jpg", "train/000000.jpg.mat", "._gt_avg_train.csv")


def adience(folder, tree="aligned"):
    header = "user_id\toriginal_image\tface_id\tage\tgender\tx\ty"
    first = ("7@N0\ta.jpg\t1\t(25, 32)\tf\t0\t0", "7@N0\ta.jpg\t1\t(25, 32)\tf\t0\t0", "7@N0\tb.jpg\t1\t(25, 23)\tm\t0")
    second = (
        "8@N1\tc.jpg\t2\tNone\tu",
        "8@N1\td.jpg\t3\t35\t",
        "8@N1\te.jpg\tx\t35\tm",
        "8@N1\tf.jpg\t4\t(9, 2)\tm",
        "",
    )
    write(folder / "fold_0_data.txt", header, *first)
    write(folder / "fold_1_data.txt", header, *second)
    write(folder / "fold_2_data.txt", header, "9@N1\tg.jpg\t5\told\tm", "9@N1\tg.jpg\t5\t(8, 23)\tx")
    write(folder / "fold_3_data.txt", header, "9@N1\tg.jpg\t6\t(8, 23)\tm")
    write(folder / "fold_4_data.txt", header)
    touch(folder, f"{tree}/7@N0/landmark_aligned_face.1.a.jpg", "fold_frontal_0_data.txt", "LICENSE")


def facescrub(folder):
    sha256 = hashlib.sha256(b"by content").hexdigest()
    write(
        folder / "facescrub_actors.txt",
        "name\timage_id\tface_id\turl\tbbox\tsha256",
        f"Al Bo\t3\t12\thttp://x/a.jpg\t4,5,40,50\t{'0' * 64}",
        f"Al Bo\t4\t13\thttp://x/b.jpg\t4,5,40,50\t{'1' * 64}",
        f"Cy D'Ö\t5\t14\thttp://x/c.jpg\t-4,5,40,50\t{sha256.upper()}",
    )
    write(  # no header, as in some copies; a box that is none, and a last line that is cut off
        folder / "facescrub_actresses.txt",
        f'Ev "E" Fu\t6\t15\thttp://x/d.jpg\t4,5,40,50\t{"2" * 64}',
        f"Ev Gu\t6\t16\thttp://x/d.jpg\t40,5,4,50\t{'2' * 64}",
        "Ev Gu\t7\t17\thttp://",
    )
    touch(folder, "Al Bo/Al Bo_12.jpg", 'Ev_"E"_Fu/Ev_"E"_Fu_15.PNG', "Thumbs.db")
    write(folder / "renamed" / "0001.jpg")
    (folder / "renamed" / "0001.jpg").write_bytes(b"by content")


def all_age_faces(folder):
    names = ("00000A02.jpg", "07380A80.jpg", "07381A05.JPG", "13321A100.jpg", "A02.jpg", "Thumbs.db")
    touch(folder, *(f"aglined faces/{name}" for name in names), "original images/00000A02.jpg")
    write(folder / "image sets" / "train.txt", "00000A02.jpg 0", "", "07381A05.JPG 1")
    write(folder / "image sets" / "val.txt", "07380A80.jpg 0", "99999A01.jpg 1")


def afad(folder):
    touch(folder, "15/111/109008-0.jpg", "15/111/109008-1.jpg", "72/112/5-0.jpg", "15/111/Thumbs.db", "15/113/9-0.jpg")
    touch(folder, "AFAD-Full.txt")


def fgnet(folder):
    touch(
        folder, "images/001A02.JPG", "images/001A43a.JPG", "images/082A18.JPG", "images/Thumbs.db", "Data_files/x.mat"
    )
    numbers = LANDMARKS.split()
    pairs = [f"{x} {y}" for x, y in zip(numbers[::2], numbers[1::2], strict=True)]
    write(folder / "points" / "001a02.pts", "version: 1", "n_points: 68", "{", *pairs, "}")
    write(folder / "points" / "082a18.pts", "version: 1", "n_points: 68", "{", *pairs[:30])


def csv_table(folder):
    write(
        folder / "faces.csv",
        "file;years;gender;who;split;x1;y1;x2;y2",
        "a/1.jpg;31.9;F;anna;train;1;2;30;40",
        './a/2.jpg;;Male;"b;b";test;1;2;30;40',
        "a\\3.jpg;nan;;anna;;;;;",
        "../4.jpg;5;F;;train;;;;",
        "/5.jpg;5;F;;train;;;;",
        ";5;F;;train;;;;",
        "6.jpg;old;F;;train;;;;",
        "7.jpg;5;X;;train;;;;",
        "8.jpg;5;F;;train;1;inf;3;4",
        "9.jpg",
        "9.jpg",
        "10.jpg;1e300",
    )


def class_folders(folder):
    touch(folder, "F/25/1.jpg", "M/20-29/2.png", "60+/3.JPG", "woman/deep/4.webp", "F/notes.txt", "5.jpg", "F/M/6.jpg")


# Name -> what makes the tree, options of the reader, records read, and how many names are skipped for which reason.
TREES = {
    "wiki": (imdb_wiki, {}, 4, {}),
    "imdb": (imdb_wiki, {}, 4, {}),
    "utkface": (utkface, {}, 2, {"malformed name": 2}),
    "utkface_wild": (utkface_wild, {}, 3, {"hidden": 1}),
    "appa_real": (appa_real, {}, 4, {"malformed row": 2, "in ignore_list.csv": 1}),
    "appa_real_apparent": (appa_real, {}, 4, {"malformed row": 2, "in ignore_list.csv": 1}),
    "adience": (
        adience,
        {},
        5,
        {"repeated row": 1, "malformed row": 1, "age not understood": 2, "gender not understood": 1},
    ),
    "facescrub": (facescrub, {}, 3, {"malformed row": 2, "no image": 1}),
    "all_age_faces": (all_age_faces, {}, 4, {"malformed name": 2}),
    "afad": (afad, {}, 3, {"malformed name": 3}),
    "fgnet": (fgnet, {}, 3, {"malformed name": 1}),
    "folders": (
        class_folders,
        {},
        4,
        {"no photo": 1, "in no class's folder": 1, "in folders of several classes": 1},
    ),
    "csv": (
        csv_table,
        {"table": "faces.csv", "columns": [("path", "file"), ("age", "years"), ("subject", "who"), ("part", "split")]},
        4,
        {
            "no path": 1,
            "repeated row": 1,
            "path outside the folder": 2,
            "number not understood": 3,
            "gender not understood": 1,
        },
    ),
}


def read(name, folder, **changes):
    """The records of a fake tree that is made in a folder."""
    make, options, _, _ = TREES[name]
    make(folder)
    options = {**options, **changes}
    return read_records(
        name, folder, {**options, "table": folder / options["table"]} if "table" in options else options
    )


# ------------------------------------------------------------------------------------- what all readers promise


def test_every_reader_has_a_tree():
    assert set(TREES) == set(READERS)


@pytest.mark.parametrize("name", READERS)
def test_a_reader_keeps_its_contract(name, tmp_path):
    records = read(name, tmp_path)
    _, _, count, skipped = TREES[name]
    assert len(records) == count and {reason: len(names) for reason, names in records.skipped.items()} == skipped
    assert all(isinstance(path, str) and path and not path.startswith("/") for path in records.path)
    assert len(set(records.path)) == count and not any("\\" in path for path in records.path)
    for column in ("age", "gender", "label_low", "label_high", "subject", "race", "part"):
        values = getattr(records, column)
        if column in ("age", "gender") or values is not None:
            assert values.shape == (count,) and values.dtype == np.int64, column
    assert set(records.gender.tolist()) <= {FEMALE, MALE, UNKNOWN}
    for values, names in ((records.race, records.race_names), (records.part, records.part_names)):
        assert (values is None) == (not names)
        assert values is None or (values.min() >= UNKNOWN and values.max() < len(names))
    for column, shape in (("age_std", (count,)), ("box", (count, 4)), ("face_score", (count,))):
        values = getattr(records, column)
        assert values is None or (values.shape == shape and values.dtype == np.float64), column
    if records.label_low is not None:
        interval = records.label_low != UNKNOWN
        assert np.all(records.age[interval] == UNKNOWN) and np.all(
            records.label_high[interval] >= records.label_low[interval]
        )
        assert np.all(records.label_high[~interval] == UNKNOWN)
    if records.box is not None:
        known = np.isfinite(records.box).all(axis=1)
        assert known.any() and np.all(records.box[known, :2] < records.box[known, 2:])
        assert np.isnan(records.box[~known]).all()
    again = read(name, tmp_path)
    assert again.path == records.path and np.array_equal(again.age, records.age) and again.skipped == records.skipped


@pytest.mark.usefixtures("matlab5_read_here")
@pytest.mark.parametrize("name", READERS)
def test_what_a_desktop_keeps_in_hidden_folders_is_no_data(name, tmp_path):
    dataset, deleted = tmp_path / "dataset", tmp_path / "deleted"
    for folder in (dataset, deleted):
        folder.mkdir()
        TREES[name][0](folder)
    before = read(name, dataset)
    for folder in [dataset, *(path for path in dataset.iterdir() if path.is_dir())]:
        shutil.copytree(deleted, folder / ".Trash-1000" / "files")
    after = read(name, dataset)
    assert after.path == before.path and after.fingerprint() == before.fingerprint()
    assert {**after.skipped, "hidden": []} == {**before.skipped, "hidden": []}


@pytest.mark.parametrize("name", READERS)
def test_a_folder_that_is_not_there_is_said_with_the_source(name, tmp_path):
    _, options, _, _ = TREES[name]
    options = {**options, "table": tmp_path / "nowhere" / "faces.csv"} if "table" in options else options
    with pytest.raises(FileNotFoundError) as error:
        read_records(name, tmp_path / "nowhere", options)
    assert READERS[name].says in str(error.value) and "nowhere" in str(error.value)


@pytest.mark.parametrize("name", sorted(set(READERS) - {"wiki", "imdb", "csv"}))
def test_a_folder_of_something_else_is_refused(name, tmp_path):
    touch(tmp_path, "holiday.png", "part1/notes.txt", "aglined faces/x.png", "train/1.txt")
    with pytest.raises((ValueError, FileNotFoundError)):
        read_records(name, tmp_path)


@pytest.mark.usefixtures("matlab5_read_here")
@pytest.mark.parametrize("name", READERS)
def test_every_dataset_becomes_a_database(name, tmp_path, monkeypatch):
    """With photos under the paths that the reader names: the whole way through create_db.py."""
    folder = tmp_path / "data"
    records = read(name, folder)
    for path in records.path:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / "x.png"), noise(1, 64, seed=len(path))[0])
        (folder / "x.png").rename(folder / path)
    options = ["--db", name, "--data_dir", str(folder), "--output", str(tmp_path / "faces.mat"), "--img_size", "16"]
    if name == "csv":
        options += ["--table", str(folder / "faces.csv"), "--columns", "path=file", "age=years", "part=split"]
    monkeypatch.setattr("sys.stderr", __import__("io").StringIO())  # the progress bar
    create_db.main(options)
    database = open_database(tmp_path / "faces.mat")
    assert database.db == name and database.margin == READERS[name].margin and 0 < len(database) <= len(records)
    rows = [records.path.index(path) for path in read_paths(tmp_path / "faces.mat")]
    for column in ("age", "gender", "label_low", "label_high", "age_std", "race", "part"):
        expected, found = getattr(records, column), getattr(database, column)
        assert (expected is None) == (found is None), column
        assert expected is None or np.array_equal(expected[rows], found, equal_nan=column == "age_std"), column
    assert database.part_names == tuple(records.part_names)
    known = (database.age != UNKNOWN) & (database.gender != UNKNOWN)
    assert known.all() or not READERS[name].both


HOSTILE = {
    "nothing": b"",
    "zeros": bytes(1000),
    "noise": np.random.default_rng(0).bytes(5000),
    "a long line": b"x" * 300_000,
    "quotes": b'"' * 999 + b"\n" + b'"a\n',
    "half a character": "ä".encode()[:1] * 40,
    "no header": b"1,2,3\n4,5,6\n",
}


# A MATLAB 5 file is no text, and each reading of one starts a process; IMDB's file has the reader of WIKI's.
BINARY = {"wiki": ("nothing", "zeros", "noise"), "imdb": ("noise",)}


@pytest.mark.usefixtures("matlab5_read_here")
@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in READERS for kind in BINARY.get(name, HOSTILE)])
def test_damaged_label_files_are_refused_or_skipped(name, kind, tmp_path):
    """Each label file of the tree is replaced by nonsense: one line for the user, or the rest is read."""
    content = HOSTILE[kind]
    TREES[name][0](tmp_path)
    labels = [
        path for path in tmp_path.rglob("*") if path.suffix in (".csv", ".txt", ".mat", ".pts") and path.is_file()
    ]
    for path in labels:
        if path.name.endswith(".jpg.mat"):
            continue
        whole = path.read_bytes()
        for damaged in (content, whole[: len(whole) // 2] + content, whole + content):
            path.write_bytes(damaged)
            try:
                options = {**TREES[name][1]}
                options = {**options, "table": tmp_path / options["table"]} if "table" in options else options
                assert len(read_records(name, tmp_path, options)) <= TREES[name][2] + 2  # a table may say anything
            except (ValueError, FileNotFoundError) as error:
                assert len(str(error)) < 2000
        path.write_bytes(whole)


def test_label_files_cannot_name_what_is_outside_of_their_folder(tmp_path):
    adience(tmp_path)
    header = "user_id\toriginal_image\tface_id\tage\tgender"
    write(tmp_path / "fold_4_data.txt", header, "../../../../dev\tzero\t5\t35\tm", "9@N\tx/../../y.jpg\t6\t35\tm")
    records = read_records("adience", tmp_path)
    assert len(records) == 5 and len(records.skipped["path outside the folder"]) == 2
    assert records.gender.shape == records.label_low.shape == records.part.shape == (5,)


# ------------------------------------------------------------------------------------------------ one by one


def test_utkface_in_the_wild_has_the_box_of_its_landmarks(tmp_path):
    records = read("utkface_wild", tmp_path)
    assert records.path == ["part1/1_0_2_20161219 .jpg", "part2/26_1_3_20170116.jpg", "part3/30_1_4_2017.jpg"]
    assert records.box[0].tolist() == [10, 20, 50, 60] and np.isnan(records.box[1:]).all()
    assert records.gender.tolist() == [MALE, FEMALE, FEMALE]


def test_landmarks_of_the_aligned_faces_give_the_photos_in_the_wild_no_boxes(tmp_path, capsys):
    names = [f"{age}_1_0_20170116.jpg" for age in range(20, 45)]
    touch(tmp_path, *(f"part1/{name}" for name in names))
    chip = " ".join("-4.00 195.00" for _ in range(68))
    write(tmp_path / "landmark_list_part1.txt", *(f"{name} {chip}" for name in names))
    assert read_records("utkface_wild", tmp_path).box is None
    with pytest.raises(SystemExit):
        create_db.main(["--db", "utkface_wild", "--data_dir", str(tmp_path), "-o", str(tmp_path / "a.mat")])
    assert "without face boxes: find the faces with --detector" in capsys.readouterr().err
    (tmp_path / "landmark_list_part1.txt").unlink()
    assert read_records("utkface_wild", tmp_path).box is None
    photo = " ".join("-4.00 1950.00" for _ in range(68))
    write(tmp_path / "landmark_list_part1.txt", *(f"{name} {photo}" for name in names))
    assert len(read_records("utkface_wild", tmp_path).box) == 25


def test_a_box_over_landmarks_is_a_square_above_the_chin_or_as_high_as_they_are():
    assert box_over_landmarks(np.array([[10, 40], [50, 45], [30, 60]])).tolist() == [10, 20, 50, 60]
    assert box_over_landmarks(np.array([[10, 0], [50, 45], [30, 60]])).tolist() == [10, 0, 50, 60]


def test_appa_real_has_real_and_apparent_ages_and_leaves_out_the_known_bad_ones_of_its_training_part(tmp_path):
    real, apparent = read("appa_real", tmp_path), read("appa_real_apparent", tmp_path)
    paths = ["train/000000", "train/000001", "valid/004113", "test/005613"]
    assert real.path == apparent.path == [f"{path}.jpg_face.jpg" for path in paths]
    assert real.age.tolist() == [4, 18, 30, 101] and real.age_std is None
    assert apparent.age.tolist() == [5, 21, 30, 100]
    assert apparent.age_std.tolist()[:1] == [1.18] and np.isnan(apparent.age_std[1])  # no spread is not known
    assert real.gender.tolist() == [MALE, UNKNOWN, UNKNOWN, UNKNOWN] and real.race.tolist() == [1, -1, -1, -1]
    assert [real.part_names[part] for part in real.part] == ["train", "train", "valid", "test"]


@pytest.mark.parametrize("tree", ["aligned", "faces"])
def test_adiences_ages_are_intervals_years_or_nothing(tree, tmp_path):
    adience(tmp_path, tree)
    records = read_records("adience", tmp_path)
    beginning = {"aligned": "aligned/7@N0/landmark_aligned_face", "faces": "faces/7@N0/coarse_tilt_aligned_face"}[tree]
    assert records.path[:2] == [f"{beginning}.1.a.jpg", f"{beginning}.1.b.jpg"]
    ages = list(zip(records.age.tolist(), records.label_low.tolist(), records.label_high.tolist(), strict=True))
    assert ages == [(-1, 25, 32), (-1, 25, 32), (-1, -1, -1), (35, -1, -1), (-1, 8, 23)]
    assert records.gender.tolist() == [FEMALE, MALE, UNKNOWN, UNKNOWN, MALE]
    assert records.subject.tolist() == [1, 1, 2, 3, 6] and records.part.tolist() == [0, 0, 1, 1, 3]


def test_facescrubs_images_are_found_by_name_and_by_content(tmp_path):
    records = read("facescrub", tmp_path)
    assert records.path == ["Al Bo/Al Bo_12.jpg", "renamed/0001.jpg", 'Ev_"E"_Fu/Ev_"E"_Fu_15.PNG']
    assert records.gender.tolist() == [MALE, MALE, FEMALE] and len(set(records.subject.tolist())) == 3
    assert records.age.tolist() == [UNKNOWN] * 3 and records.box[1].tolist() == [-4, 5, 40, 50]
    assert records.skipped["no image"] == ["Al Bo/Al Bo_13"]
    assert records.skipped["malformed row"] == ["facescrub_actresses.txt, row 2", "facescrub_actresses.txt, row 3"]


def test_facescrubs_images_that_bear_the_images_number_get_their_own_boxes(tmp_path):
    numbers = (1, 1, 1), (3, 2, 2), (2, 5, 3)  # of the image, of the face, and where its box begins
    rows = [f"Al Bo\t{image}\t{face}\thttp://x\t{box},5,40,50\t{'0' * 64}" for image, face, box in numbers]
    write(tmp_path / "facescrub_actors.txt", "\t".join(("name", "image_id", "face_id", "url", "bbox", "sha256")), *rows)
    touch(tmp_path, *(f"Al Bo/Al Bo_{image}.jpg" for image in (1, 2, 3)))
    records = read_records("facescrub", tmp_path)
    assert records.path == [f"Al Bo/Al Bo_{image}.jpg" for image in (1, 3, 2)]
    assert records.box[:, 0].tolist() == [1, 2, 3]


def test_all_age_faces_genders_are_told_by_the_serial_number(tmp_path):
    records = read("all_age_faces", tmp_path)
    assert records.path == [
        f"aglined faces/{n}" for n in ("00000A02.jpg", "07380A80.jpg", "07381A05.JPG", "13321A100.jpg")
    ]
    assert records.age.tolist() == [2, 80, 5, 100] and records.gender.tolist() == [FEMALE, FEMALE, MALE, MALE]
    assert records.part.tolist() == [0, 1, 0, -1] and records.subject.tolist() == [0, 7380, 7381, 13321]


def test_afads_faces_of_one_photo_belong_together(tmp_path):
    records = read("afad", tmp_path)
    assert records.path == ["15/111/109008-0.jpg", "15/111/109008-1.jpg", "72/112/5-0.jpg"]
    assert records.age.tolist() == [15, 15, 72] and records.gender.tolist() == [MALE, MALE, FEMALE]
    assert records.subject.tolist() == [109008, 109008, 5]


def test_fgnets_letters_and_missing_landmarks(tmp_path):
    records = read("fgnet", tmp_path)
    assert records.age.tolist() == [2, 43, 18] and records.subject.tolist() == [1, 1, 82]
    assert records.box[0].tolist() == [10, 20, 50, 60] and np.isnan(records.box[1:]).all()


def test_folders_name_the_classes_of_what_is_in_them(tmp_path):
    records = read("folders", tmp_path)
    assert records.path == ["60+/3.JPG", "F/25/1.jpg", "M/20-29/2.png", "woman/deep/4.webp"]
    assert records.age.tolist() == [UNKNOWN, 25, UNKNOWN, UNKNOWN]
    assert (records.label_low.tolist(), records.label_high.tolist()) == ([60, -1, 20, -1], [100, -1, 29, -1])
    assert records.gender.tolist() == [UNKNOWN, FEMALE, MALE, FEMALE]
    with pytest.raises(ValueError, match="is in a folder named by an age, such as 25 or 20-29, or a gender"):
        touch(tmp_path / "other", "cats/1.jpg")
        read_records("folders", tmp_path / "other")


def test_a_table_is_read_by_the_names_that_are_given(tmp_path):
    records = read("csv", tmp_path)
    assert records.path == ["a/1.jpg", "a/2.jpg", "a/3.jpg", "9.jpg"]
    assert records.age.tolist() == [32, UNKNOWN, UNKNOWN, UNKNOWN]
    assert records.gender.tolist() == [FEMALE, MALE, UNKNOWN, UNKNOWN]
    anna, other, again, nobody = records.subject.tolist()
    assert anna == again != other > 0 and nobody == UNKNOWN
    assert records.part.tolist() == [0, 1, -1, -1]
    assert records.part_names == ("train", "test") and records.box[0].tolist() == [1, 2, 30, 40]


@pytest.mark.parametrize(
    ("header", "changes", "message"),
    [
        ("path,age", {"columns": [("sex", "gender")]}, "--columns: 'sex' is no field; there are path, age"),
        ("path,age", {"columns": [("gender", "sex")]}, "lacks the column sex; it has path, age"),
        ("file,age", {"columns": []}, "lacks the column path; it has file, age"),
        ("path|age", {"columns": []}, r"has one column alone, path\|age: save it as CSV in UTF-8"),
        ("path,name", {"columns": []}, "has neither a column 'age' nor 'gender'; say which"),
        ("path,age,x1,y1", {"columns": []}, "has the box columns x1, y1; all of x1, y1, x2, y2 are needed"),
        ("path,age", {"columns": []}, "no row of .* is understood: it is empty"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(header, changes, message, tmp_path):
    write(tmp_path / "faces.csv", header)
    with pytest.raises(ValueError, match=message):
        read_records("csv", tmp_path, {"table": tmp_path / "faces.csv", **changes})


def test_a_table_says_its_own_words_for_the_genders(tmp_path):
    write(tmp_path / "faces.csv", "path,gender", "a.jpg,0", "b.jpg,1", "c.jpg,", "d.jpg,2")
    records = read_records("csv", tmp_path, {"table": tmp_path / "faces.csv", "columns": [], "genders": ("1", "0")})
    assert records.gender.tolist() == [MALE, FEMALE, UNKNOWN]
    write(tmp_path / "faces.csv", "path,gender", "a.jpg,0", "b.jpg,1", "d.jpg,2")
    with pytest.raises(ValueError, match="no row of .* is understood: 3 gender not understood"):
        read_records("csv", tmp_path, {"table": tmp_path / "faces.csv", "columns": []})


def test_a_person_has_the_same_number_in_every_table(tmp_path):
    write(tmp_path / "a.csv", "path,age,subject", "1.jpg,5,Ann", "2.jpg,5,Bob")
    write(tmp_path / "b.csv", "path,age,subject", "3.jpg,5,Cy", "4.jpg,5,Bob", "5.jpg,6,Ann")
    one, other = (read_records("csv", tmp_path, {"table": tmp_path / name}) for name in ("a.csv", "b.csv"))
    assert one.subject.tolist() == other.subject.tolist()[:0:-1] and other.subject[0] not in one.subject
    write(tmp_path / "a.csv", "path,age,subject", "1.jpg,5,17", "2.jpg,5,100")
    write(tmp_path / "b.csv", "path,age,subject", "3.jpg,5,17.0", "4.jpg,5,100.0", "5.jpg,6,")  # as pandas writes it
    one, other = (read_records("csv", tmp_path, {"table": tmp_path / name}) for name in ("a.csv", "b.csv"))
    assert one.subject.tolist() == other.subject.tolist()[:2]


def test_an_ignore_list_that_names_no_training_image_is_refused(tmp_path):
    appa_real(tmp_path)
    write(tmp_path / "ignore_list.csv", "img_name", "train/000004.jpg")
    with pytest.raises(ValueError, match=r"none of its 1 names, such as train/000004\.jpg, is a training image"):
        read_records("appa_real", tmp_path)


def test_lists_of_parts_that_name_no_face_are_refused(tmp_path):
    all_age_faces(tmp_path)
    for name in ("train", "val"):
        write(tmp_path / "image sets" / f"{name}.txt", "faces/00000A02.jpg 0")
    with pytest.raises(ValueError, match=r"image sets: none of its 1 names, such as faces/00000A02\.jpg, is a file"):
        read_records("all_age_faces", tmp_path)


def test_imdb_cleans_own_columns_are_known(tmp_path):
    write(tmp_path / "imdb.csv", "filename,age,gender,x_min,y_min,x_max,y_max,head_roll", "01/a.jpg,31,M,1,2,30,40,0.5")
    records = read_records("csv", tmp_path, {"table": tmp_path / "imdb.csv"})
    assert (
        records.path == ["01/a.jpg"] and records.box.tolist() == [[1, 2, 30, 40]] and records.gender.tolist() == [MALE]
    )


def test_the_options_of_a_table_are_for_tables_alone(tmp_path, capsys):
    with pytest.raises(SystemExit):
        create_db.main(["--db", "utkface", "--table", "faces.csv"])
    assert "--table is for --db csv; utkface has labels of its own" in capsys.readouterr().err
    write(tmp_path / "faces.csv", "path,gender", "a.jpg,m")
    with pytest.raises(ValueError, match="cannot be read as a table: it is a folder"):
        read_records("csv", tmp_path, {"table": tmp_path})
    with pytest.raises(ValueError, match="--genders: M cannot be both"):
        read_records("csv", tmp_path, {"table": tmp_path / "faces.csv", "genders": ("M", "m")})


def test_label_files_with_a_byte_order_mark_lose_no_line(tmp_path):
    all_age_faces(tmp_path)
    listed = tmp_path / "image sets" / "train.txt"
    listed.write_bytes(b"\xef\xbb\xbf" + listed.read_bytes())
    assert read_records("all_age_faces", tmp_path).part.tolist() == [0, 1, 0, -1]
    listed.write_text(listed.read_text(encoding="utf-8-sig"), encoding="utf-16")  # as Windows' PowerShell writes it
    assert read_records("all_age_faces", tmp_path).part.tolist() == [0, 1, 0, -1]
    wild = tmp_path / "wild"
    utkface_wild(wild)
    listed = wild / "landmark_list_part1.txt"
    listed.write_bytes(b"\xef\xbb\xbf" + listed.read_bytes())
    assert read_records("utkface_wild", wild).box[0].tolist() == [10, 20, 50, 60]


def test_the_same_name_in_two_parts_has_two_boxes(tmp_path):
    utkface_wild(tmp_path)
    touch(tmp_path, "part2/1_0_2_20161219 .jpg")
    write(tmp_path / "landmark_list_part2.txt", f"1_0_2_20161219 .jpg {LANDMARKS.replace('10.00', '2.00')}")
    records = read_records("utkface_wild", tmp_path)
    assert records.box[0].tolist() == [10, 20, 50, 60] and records.box[1].tolist() == [2, 12, 50, 60]


def test_fgnet_without_landmarks_is_refused(tmp_path):
    touch(tmp_path, "images/001A02.JPG")
    with pytest.raises(FileNotFoundError, match="holds no landmarks"):
        read_records("fgnet", tmp_path)


def test_no_table_is_refused(tmp_path):
    with pytest.raises(ValueError, match="--db csv needs --table FILE"):
        read_records("csv", tmp_path, {"columns": []})
    with pytest.raises(ValueError, match="cannot be read as a table"):
        (tmp_path / "faces.csv").write_bytes(b"\xff\xfe\x00path")
        read_records("csv", tmp_path, {"table": tmp_path / "faces.csv", "columns": []})


# ----------------------------------------------------------------------------------------- genuine label files


def test_the_genuine_adience(shared):
    records = read_records("adience", shared / "data" / "adience")
    assert len(records) == 19_370 and {reason: len(rows) for reason, rows in records.skipped.items()} == {
        "repeated row": 117
    }
    assert len(set(records.subject.tolist())) == 2_284
    folds = {}
    for person, fold in zip(records.subject.tolist(), records.part.tolist(), strict=True):
        folds.setdefault(person, set()).add(fold)
    assert all(len(of_person) == 1 for of_person in folds.values())
    # Counted apart from the reader: distinct rows of each age text.
    expected, seen = {}, set()
    for fold in range(5):
        with open(shared / "data" / "adience" / f"fold_{fold}_data.txt", newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                key = (row["user_id"], row["original_image"], row["face_id"])
                if key not in seen:
                    seen.add(key)
                    expected[row["age"]] = expected.get(row["age"], 0) + 1
    expected["(25, 32)"] += expected.pop("(25, 23)")
    found = {}
    for age, low, high in zip(
        records.age.tolist(), records.label_low.tolist(), records.label_high.tolist(), strict=True
    ):
        text = f"({low}, {high})" if low >= 0 else str(age) if age >= 0 else "None"
        found[text] = found.get(text, 0) + 1
    assert found == expected


def test_the_genuine_afad_list(shared, tmp_path):
    from readers.afad import NAME

    names = (shared / "data" / "afad" / "AFAD-Full.txt").read_text(encoding="utf-8").split("\n")
    names = [name.removeprefix("./").strip() for name in names if name.strip()]
    understood = [match for match in map(NAME.fullmatch, names) if match]
    assert len(understood) == 165_501 and sum("Thumbs.db" in name for name in names) == 14
    assert {int(match[1]) for match in understood} <= set(range(15, 73))


def test_the_genuine_facescrub_lists(shared, tmp_path):
    for name in ("facescrub_actors.txt", "facescrub_actresses.txt"):
        (tmp_path / name).write_bytes((shared / "data" / "facescrub" / name).read_bytes())
    with open(tmp_path / "facescrub_actors.txt", encoding="utf-8") as file:
        faces = [line.rstrip("\n").split("\t") for line in file]
    touch(tmp_path, *(f"{face[0].replace(' ', '_')}/{face[0].replace(' ', '_')}_{face[2]}.jpg" for face in faces[:500]))
    records = read_records("facescrub", tmp_path)
    assert len(records) == 500 and np.all(records.gender == MALE)
    assert [box.tolist() for box in records.box.astype(int)] == [
        [int(n) for n in face[4].split(",")] for face in faces[:500]
    ]
    actresses = (tmp_path / "facescrub_actresses.txt").read_text(encoding="utf-8").count("\n") + 1
    assert len(records.skipped["malformed row"]) == 1  # the last line of the actresses is cut off
    assert len(records.skipped["no image"]) == len(faces) - 500 + actresses - 1


def test_the_genuine_appa_real_ages_and_genders(shared, tmp_path):
    """The real ages are published in one file here; the official three are made from it."""
    with open(shared / "data" / "appa_real" / "labels_real_age.csv", newline="", encoding="utf-8") as file:
        ages = [(row["file_name"], row["real_age"]) for row in csv.DictReader(file)]
    header = "file_name,num_ratings,apparent_age_avg,apparent_age_std,real_age"
    parts = {}
    for part in ("train", "valid", "test"):
        name = f"allcategories_{part}.csv"
        (tmp_path / name).write_bytes((shared / "data" / "appa_real" / name).read_bytes())
        with open(tmp_path / name, newline="", encoding="utf-8") as file:
            parts[part] = {row["file"] for row in csv.DictReader(file)}
        rows = (f"{name},38,{age}.25,3.5,{age}" for name, age in ages if name in parts[part])
        write(tmp_path / f"gt_avg_{part}.csv", header, *rows)
    (tmp_path / "ignore_list.csv").write_bytes((shared / "data" / "appa_real" / "ignore_list.csv").read_bytes())
    records = read_records("appa_real", tmp_path)
    assert len(records) == len(ages) - 118 == 4_113 - 118 + 1_500 + 1_978
    assert np.bincount(records.part).tolist() == [4_113 - 118, 1_500, 1_978]
    assert np.all(records.gender != UNKNOWN) and np.all(records.race != UNKNOWN)
    real = dict(ages)
    assert [real[path.split("/")[1].removesuffix("_face.jpg")] for path in records.path] == [
        str(a) for a in records.age
    ]
    assert read_records("appa_real_apparent", tmp_path).age_std.tolist() == [3.5] * len(records)


# ------------------------------------------------------------------------------------- what create_db.py hands on


def test_byte_identical_photos_have_one_digest_in_the_database_and_others_have_others(tmp_path):
    faces = [noise(1, 20, seed)[0] for seed in range(3)]
    for name, face in {"20_0_0_1.jpg": 0, "30_0_0_2.jpg": 1, "40_1_0_3.jpg": 0, "50_1_0_4.jpg": 2}.items():
        (tmp_path / name).write_bytes(cv2.imencode(".png", faces[face])[1].tobytes())
    output = tmp_path / "faces.mat"
    create_db.main(["--db", "utkface", "--data_dir", str(tmp_path), "--output", str(output), "--img_size", "16"])
    database = open_database(output)
    digests = dict(zip(database.age.tolist(), database.digest.tolist(), strict=True))
    assert digests[20] == digests[40] and len(set(digests.values())) == 3
    assert digests[20] == digest((tmp_path / "20_0_0_1.jpg").read_bytes())  # of the photo, not of its name or face


@pytest.mark.parametrize(
    ("score", "kept"), [(1.0, True), (np.nextafter(1, 0), False), (np.nan, False), (-np.inf, False), (np.inf, True)]
)
def test_a_face_score_at_the_limit_is_kept_and_none_is_none(score, kept):
    records = Records(["a.jpg"], np.array([30]), np.array([1]), face_score=np.array([score]))
    rows, dropped = clean(records, 1.0, 0, 100, set(), True, True)
    assert len(rows) == kept and sum(dropped.values()) == 1 - kept


def test_a_record_counts_for_its_first_fault_and_an_interval_by_both_its_ends():
    records = Records(
        [f"{row}.jpg" for row in range(4)],
        np.full(4, -1),
        np.array([-1, 1, 1, 1]),
        np.array([20, 20, 10, 20]),
        np.array([30, 40, 20, 30]),
        face_score=np.array([0.0, 2, 2, 2]),
    )
    rows, dropped = clean(records, 1.0, 15, 35, set(), True, True)
    assert rows.tolist() == [3]
    assert dropped == {"face score below 1": 1, "age outside 15..35": 2, "gender unknown": 0}


def test_a_header_may_hold_quoted_commas(tmp_path):
    write(tmp_path / "faces.csv", '"path","age, in years","gender"', "a.jpg,30,f")
    options = {"table": tmp_path / "faces.csv", "columns": [("age", "age, in years")]}
    records = read_records("csv", tmp_path, options)
    assert records.age.tolist() == [30] and records.gender.tolist() == [FEMALE]
