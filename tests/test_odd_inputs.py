"""Tables, lists and folders as other people have them: read as they are, or refused in one line; nothing uncounted."""

import csv
import errno
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import scipy.io
from conftest import damaged_jpeg, noise, posix

import age_gender.faces
import check_dataset
import create_db
import demo
from age_gender.__main__ import why_unread
from age_gender.faces import decode
from age_gender.files import alone, files_below, guarded, read_cells, read_names, unguarded
from age_gender.labels import FEMALE, MALE, UNKNOWN
from age_gender.machine import native_lines, native_stderr_kept
from age_gender.predictor import Result
from age_gender.results import in_words, write_csv
from age_gender.sources import Frame, find_images
from readers import read_records
from readers.cleaning import clean
from readers.cutting import Cut, decode_block
from readers.damaged import list_damaged, write_list
from utils import open_database, read_paths


def photos(folder, *names):
    """Pictures, no two alike."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), noise(1, 40, number)[0])


def table(folder, *lines, encoding="utf-8"):
    path = folder / "t.csv"
    path.write_bytes("".join(f"{line}\n" for line in lines).encode(encoding))
    return path


def read(folder, *lines, columns=(), encoding="utf-8", genders=None):
    options = {"table": table(folder, *lines, encoding=encoding), "columns": list(columns), "genders": genders}
    return read_records("csv", folder, options)


def build(folder, *options):
    """Runs create_db.py on the table of a folder: paths, ages and genders of the database."""
    output = folder / "out.mat"
    arguments = ["--db", "csv", "--data_dir", folder, "--table", folder / "t.csv", "--output", output, "--img_size", 32]
    create_db.main([str(word) for word in (*arguments, "--overwrite", *options)])
    with h5py.File(output) as file:
        return file["age"][:, 0].tolist(), file["gender"][:, 0].tolist()


def test_columns_of_a_table_that_are_not_read_are_named(tmp_path, capsys):
    photos(tmp_path, "a.png")
    read(tmp_path, "path,age,x,y,w,h", "a.png,30,1,2,3,4")
    assert "t.csv: columns that are not read: x, y, w, h (--columns FIELD=NAME reads one)" in capsys.readouterr().out
    read(tmp_path, "path,age,gender", "a.png,30,f")
    assert not capsys.readouterr().out
    read(tmp_path, "path,age,a,b,c,d,e,f,g", "a.png,30,,,,,,,")
    assert "a, b, c, d, e, f, ... (--columns" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------- damaged photos


def test_photos_that_libjpeg_complains_of_are_named_and_listed(tmp_path, capfd):
    names = [f"{number}.png" for number in range(40)]
    photos(tmp_path, *names)
    for name in ("a.jpg", "b.jpg"):
        damaged_jpeg(tmp_path / name)
    (tmp_path / "c.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:300])
    given = [*names[:20], "b.jpg", "c.jpg", *names[20:], "a.jpg"]
    table(tmp_path, "path,age", *(f"{name},30" for name in given))
    ages, _ = build(tmp_path, "--workers", "4")
    assert len(ages) == 42
    said, warned = capfd.readouterr()
    listing = tmp_path / "out.damaged.csv"
    assert f"2 photos are damaged but were read, such as b.jpg; all are listed in {listing}" in said
    assert "JPEG" not in warned and "43" in warned  # the progress is shown
    listed = list(csv.DictReader(open(listing)))
    assert [row["path"] for row in listed] == ["b.jpg", "a.jpg"]
    assert all(row["reason"].startswith("Corrupt JPEG data") for row in listed)
    before = listing.read_bytes()
    for _ in range(2):  # the list that is given stays, or the second run would find none
        ages, _ = build(tmp_path, "--exclude", str(listing))
        assert len(ages) == 40 and listing.read_bytes() == before
    check_dataset.main([*("--db", "csv", "--data_dir", str(tmp_path), "--table", str(tmp_path / "t.csv")),
                        *("--output", str(tmp_path / "check.csv"))])  # fmt: skip
    said, warned = capfd.readouterr()
    assert "such as b.jpg; all are listed in" in said and "JPEG" not in warned
    assert list(csv.DictReader(open(tmp_path / "check.damaged.csv"))) == listed
    damaged_jpeg(tmp_path / "39.png")
    build(tmp_path, "--exclude", str(listing))
    assert [row["path"] for row in csv.DictReader(open(listing))] == ["b.jpg", "a.jpg", "39.png"]
    build(tmp_path)
    assert len(listing.read_text().splitlines()) == 4


def test_what_else_native_code_says_is_written_at_the_end_once(capfd):
    with native_stderr_kept() as known:
        os.write(2, b"damaged\nlow memory\nlow memory\n")
        print("from Python", file=sys.stderr)
        known.add("damaged")
    assert capfd.readouterr().err == "from Python\nlow memory\n"


def test_several_threads_keep_what_native_code_says_and_the_last_has_all_of_it(capfd):
    with ThreadPoolExecutor(4) as pool:
        first_in, others_in = threading.Event(), threading.Barrier(4)

        def keep(number):
            if number:
                first_in.wait()
            with native_lines() as lines:
                first_in.set()
                others_in.wait()
                os.write(2, b"%d\n" % number)
            return lines

        found = list(pool.map(keep, range(4)))
    assert sorted(map(len, found)) == [0, 0, 0, 4] and {*map(tuple, map(sorted, found))} == {(), tuple("0123")}
    os.write(2, b"again\n")
    assert capfd.readouterr().err == "again\n"


def test_pythons_own_words_are_not_kept_back():
    program = (
        "import os, sys\nfrom age_gender.machine import native_lines, native_stderr_kept\n"
        "with native_stderr_kept():\n os.write(2, b'native\\n')\n print('own', file=sys.stderr)\n"
        " raise SystemExit('the end')"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root)
    assert done.stderr.splitlines() == ["own", "native", "the end"]


# ------------------------------------------------------------------------------------------------- tables


def test_the_folder_of_a_table_is_looked_at_once_and_not_for_each_row(tmp_path, monkeypatch):
    looked, resolve = [], Path.resolve
    monkeypatch.setattr(Path, "resolve", lambda path, *more: looked.append(path) or resolve(path, *more))
    lines = [f"{folder}{number}.jpg,{number}" for number in range(90) for folder in ("", f"{tmp_path}/sub/../")]
    records = read(tmp_path, "path,age", *lines)
    assert len(looked) <= 3
    assert records.path == [f"{number}.jpg" for number in range(90)] and len(records.skipped["repeated row"]) == 90


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        (("path,name,age", 'a.jpg,"O Neil,25', "b.jpg,x,30", 'c.jpg,"y,40'), 2),
        (("path,name,age", "a.jpg,x,25", 'b.jpg,"y,30'), 3),
        (("path,name,age", 'a.jpg,"x\ny",25'), 2),
        (('path,"name,age', "a.jpg,x,25"), 1),
    ],
)
def test_a_quote_that_spans_lines_is_refused_with_its_line(lines, line, tmp_path):
    with pytest.raises(ValueError, match=rf"t\.csv, line {line}: a quote"):
        read(tmp_path, *lines)


def test_quotes_that_end_on_their_line_are_read(tmp_path):
    records = read(tmp_path, "path,name,age", 'a.jpg,"O, Neil",25', 'b.jpg,5" tall,30', '"c "" d.jpg",,31')
    assert records.path == ["a.jpg", "b.jpg", 'c " d.jpg'] and records.age.tolist() == [25, 30, 31]


def test_two_columns_of_one_name_are_refused_where_they_are_read(tmp_path):
    with pytest.raises(ValueError, match="has 2 columns named 'age'; rename all but one"):
        read(tmp_path, "path,age,age,note,note", "a.jpg,25,60,x,y")
    assert len(read(tmp_path, "path,age,note,note", "a.jpg,25,x,y")) == 1
    with pytest.raises(ValueError, match="--columns names a field twice"):
        read(tmp_path, "path,a,b", "a.jpg,1,2", columns=[("age", "a"), ("age", "b")])
    with pytest.raises(ValueError, match="its column 'age' would be read as age and age_std"):
        read(tmp_path, "path,age", "a.jpg,1", columns=[("age_std", "age")])
    assert len(read(tmp_path, "path,age", "a.jpg,1", columns=[("subject", "path")])) == 1


@pytest.mark.parametrize("second", ["a.jpg,20,F", "a.jpg,,F"])
def test_a_photo_listed_twice_is_kept_by_the_row_that_is_usable(second, tmp_path):
    records = read(tmp_path, "path,age,gender", "a.jpg,15-25,", second)
    kept, dropped = clean(records, 0.0, 18, 100, set(), both=False)
    assert kept.tolist() == [1] and "photo listed twice" not in dropped


def test_words_for_nothing_are_no_person_no_part_and_no_label(tmp_path):
    words = ("NA", "nan", "None", "N/A", "null", "<NA>", "")
    lines = [f"{number}.jpg,{word},F,{word},{word}" for number, word in enumerate(words)]
    records = read(tmp_path, "path,age,gender,subject,part", *lines, "x.jpg,30,NA,Ann,train")
    assert len(records) == 8 and not records.skipped
    assert (records.subject[:7] == UNKNOWN).all() and (records.part[:7] == UNKNOWN).all()
    assert records.part_names == ("train",) and records.gender[7] == UNKNOWN and records.age[:7].max() == UNKNOWN


def test_genders_that_pandas_made_numbers_of_are_those_that_were_named(tmp_path):
    lines = "path,age,gender", "a.jpg,30,1.0", "b.jpg,40,0.0", "c.jpg,50,"
    records = read(tmp_path, *lines, genders=("0", "1"))
    assert records.gender.tolist() == [MALE, FEMALE, UNKNOWN] and not records.skipped
    with pytest.raises(ValueError, match="--genders: 1 cannot be both"):
        read(tmp_path, *lines, genders=("1", "1.0"))


@pytest.mark.parametrize(
    ("text", "ends"), [("(24, 32]", (25, 32)), ("[25, 32)", (25, 31)), ("(25, 32)", (25, 32)), ("[8,12]", (8, 12))]
)
def test_half_open_groups_are_read_as_pandas_writes_them(text, ends, tmp_path):
    records = read(tmp_path, "path,age", f'a.jpg,"{text}"')
    assert (records.label_low[0], records.label_high[0]) == ends


def test_lists_that_are_given_one_by_one_all_count():
    parser = create_db.build_parser()
    assert parser.parse_args(["--exclude", "a.csv", "--exclude", "b.csv", "c.csv"]).exclude == [
        *map(Path, ("a.csv", "b.csv", "c.csv"))
    ]
    assert parser.parse_args([]).exclude == []


def test_a_photo_that_is_used_by_another_row_is_not_listed_as_unused(tmp_path, capsys):
    photos(tmp_path, "a.png", "b.png")
    table(tmp_path, "path,age,gender", "a.png,25,F", "a.png,25,F", "gone.png,30,M", "b.png,30,M")
    assert build(tmp_path)[0] == [25, 30]
    listed = read_names(next(tmp_path.glob("*.failed.csv")))
    assert listed == {"gone.png"} and "photos that could not be used: 1; all are listed in" in capsys.readouterr().out


def test_a_list_that_is_left_out_keeps_each_line_once(tmp_path):
    listing = tmp_path / "a.failed.csv"
    for excluded in ([], [listing], [listing]):
        write_list(listing, [("a.jpg", "no picture"), ("b.jpg", "file missing")], excluded)
    assert [cells[0] for _, cells in read_cells(listing)] == ["path", "a.jpg", "b.jpg"]


@posix
def test_names_that_no_list_can_hold_are_counted_and_told_on_one_line(tmp_path, capsys):
    folder, output = tmp_path / "faces", tmp_path / "o.mat"
    photos(folder, "20_0_0_2.jpg")
    for name in ("a\nb/21_0_0_2.jpg", " c/22_0_0_2.jpg", "d\\e/23_0_0_2.jpg", "f/24_0_0_2.jpg"):
        (folder / name).parent.mkdir()
        (folder / name).touch()
    words = ["--db", "utkface", "--data_dir", str(folder), "--overwrite", "--output", str(output)]
    create_db.main(words)
    said, listing = capsys.readouterr().out, output.with_suffix(".failed.csv")
    how = f"1 is listed in {listing}, which create_db.py --exclude takes; no list can hold the names of 3"
    assert f"photos that could not be used: 4; {how}:\n" in said and "\n  a\\nb/21_0_0_2.jpg: " in said
    assert read_names(listing) == {"f/24_0_0_2.jpg"}
    (folder / "f" / "24_0_0_2.jpg").unlink()
    create_db.main(words)
    assert "could not be used: 3; no list can hold their names:" in capsys.readouterr().out and not listing.exists()
    list_damaged(output, {"a\nb.jpg": ["x"], "c.jpg": ["y"], "d.jpg": ["z"]}, [])
    said = capsys.readouterr().out
    assert "3 photos are damaged but were read, such as a\\nb.jpg; 2 are listed in" in said and "names of 1\n" in said


def test_of_a_dataset_of_which_nothing_is_left_all_records_are_counted(tmp_path):
    photos(tmp_path, "a.png")
    table(tmp_path, "path,age", "a.png,x", "a.png,y", "a.png,130")
    with pytest.raises(ValueError, match=r"nothing is left of 3 records .*: 2 number not understood, 1 age outside"):
        build(tmp_path)


def test_a_row_with_more_cells_than_the_header_is_counted(tmp_path):
    records = read(tmp_path, "path,age,gender", "a.jpg,25,5,F", "b.jpg,30,M,,", "c.jpg,31", "", "d.jpg,32,F")
    assert records.path == ["b.jpg", "c.jpg", "d.jpg"]
    assert records.skipped == {"more cells than the header": ["t.csv, line 2"]}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-8"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_tables_are_read_as_spreadsheets_write_them(encoding, delimiter, tmp_path):
    lines = [line.replace(",", delimiter) for line in ("path,age,gender", "ä.jpg,25,F", '"b.jpg",30,M')]
    records = read(tmp_path, f"sep={delimiter}", *lines, encoding=encoding)
    assert records.path == ["ä.jpg", "b.jpg"] and records.age.tolist() == [25, 30]


def test_paths_of_another_encoding_are_told(tmp_path, capsys):
    read(tmp_path, "path,age", "José.jpg,25", "b.jpg,30", encoding="latin-1")
    assert "t.csv: 1 of its paths are no UTF-8, such as 'Jos\\udce9.jpg'; if these photos" in capsys.readouterr().out
    read(tmp_path, "path,age", "José.jpg,25", "b.jpg,30")
    assert not capsys.readouterr().out


def test_what_is_no_text_is_refused(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"path,age\n\x00\x01\x02,5\n")
    with pytest.raises(ValueError, match="line 2: this is no text"):
        list(read_cells(tmp_path / "t.csv"))
    (tmp_path / "t.csv").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n")
    with pytest.raises(ValueError, match=r"t\.csv is a Git LFS pointer of 63 bytes, not the file: git lfs pull"):
        list(read_cells(tmp_path / "t.csv"))


def test_a_cell_that_is_too_long_is_no_open_quote(tmp_path):
    for cell, said in (("x" * 140_000, "a cell is too long"), ('"' + "x\n" * 70_000, "a quote .* is not closed")):
        (tmp_path / "t.csv").write_text(f"path\n{cell}\n")
        with pytest.raises(ValueError, match=f"line 2: {said}"):
            list(read_cells(tmp_path / "t.csv"))


@pytest.mark.parametrize(
    ("text", "age", "low", "high"),
    [
        ("25", 25, -1, -1), ("25.4", 25, -1, -1), ("25.5", 26, -1, -1), ("", -1, -1, -1),
        ("50-59", -1, 50, 59), ("(25, 32)", -1, 25, 32), ("[8,12]", -1, 8, 12), ("3 to 9", -1, 3, 9),
        ("more than 70", -1, 70, 100), ("70+", -1, 70, 100), ("70 and over", -1, 70, 100), (">= 60", -1, 60, 100),
        ("under 18", -1, 0, 17), ("<3", -1, 0, 2), ("66-120", -1, 66, 100), ("4_6", -1, 4, 6), ("8_12", -1, 8, 12),
    ],
)  # fmt: skip
def test_ages_are_rounded_years_or_groups(text, age, low, high, tmp_path):
    records = read(tmp_path, "path,age,gender", f'a.jpg,"{text}",F', "b.jpg,1-2,M")
    assert records.age.tolist() == [age, -1]
    assert (records.label_low.tolist(), records.label_high.tolist()) == ([low, 1], [high, 2])


@pytest.mark.parametrize("text", ["old", '"25,5"', '"25,32"', "59-50", "120-130", "1-2-3", "-5-9"])
def test_an_age_that_is_none_is_counted(text, tmp_path):
    records = read(tmp_path, "path,age", f"a.jpg,{text}", "b.jpg,20")
    assert records.path == ["b.jpg"] and records.skipped == {"number not understood": ["a.jpg"]}


def test_a_column_is_left_out_on_request(tmp_path):
    records = read(tmp_path, "path,age,gender", "a.jpg,many,F", columns=[("age", "")])
    assert records.age.tolist() == [UNKNOWN] and records.gender.tolist() == [FEMALE]


def test_paths_of_a_table_may_be_absolute_or_beside_it(tmp_path, capsys):
    photos(tmp_path, "a.png", "sub/b.png")
    table(tmp_path, "path,age,gender", f"{tmp_path}/a.png,25,F", "sub/b.png,30,M")
    output = tmp_path / "o.mat"
    create_db.main(["--db", "csv", "--table", str(tmp_path / "t.csv"), "--output", str(output), "--img_size", "32"])
    assert read_paths(output) == ["a.png", "sub/b.png"]


def test_a_photo_listed_twice_is_counted_and_in_conflict_left_out(tmp_path, capsys):
    photos(tmp_path, "a.png", "b.png", "c.png", "d.png")
    table(tmp_path, "path,age,gender", "a.png,25,F", "a.png,60,M", "b.png,30,M", "b.png,30,M", "./c.png,20,F",
          "c.png,,F", "d.png,40,M")  # fmt: skip
    assert build(tmp_path) == ([30, 20, 40], [MALE, FEMALE, MALE])
    said = " ".join(capsys.readouterr().out.split())
    assert "records 7 " in said and "- repeated row 1 " in said and "kept 3 " in said
    assert "- photo listed twice, labels conflict 2 " in said and "- photo listed twice 1 " in said
    check_dataset.main([*("--db", "csv", "--data_dir", str(tmp_path), "--table", str(tmp_path / "t.csv")),
                        *("--output", str(tmp_path / "c.csv"))])  # fmt: skip
    listed = list(csv.DictReader(open(tmp_path / "c.csv")))
    assert [(row["path"], row["reason"]) for row in listed] == [("a.png", "byte-identical, ages conflict")]


def test_two_faces_of_one_photo_are_no_repetition(tmp_path):
    photos(tmp_path, "a.png")
    table(tmp_path, "path,age,gender,x1,y1,x2,y2", "a.png,25,F,0,0,20,20", "a.png,60,M,20,20,40,40")
    assert build(tmp_path)[0] == [25, 60]


def test_a_table_of_which_no_path_is_in_the_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"all 2 paths lead out of .*, such as \.\./a\.jpg"):
        read(tmp_path, "path,age", "../a.jpg,25", "/b.jpg,30")


def test_boxes_as_shares_of_the_photo_are_no_boxes(tmp_path):
    photos(tmp_path, "a.png")
    table(tmp_path, "path,age,gender,x1,y1,x2,y2", "a.png,25,F,0.2,0.15,0.8,0.9")
    with pytest.raises(ValueError, match="nothing is left of 1 records .* 1 face box of less than 2 pixels"):
        build(tmp_path)


def test_labels_of_a_struct_may_be_characters(tmp_path):
    photos(tmp_path, "00/a.jpg", "00/bbb.jpg")
    born = np.array([723181, 723394], np.int32)
    wiki = {"dob": born, "photo_taken": np.array(["2010", "2010"]), "full_path": np.array(["00/a.jpg", "00/bbb.jpg"])}
    wiki |= {"gender": np.array(["female", "m"], object), "face_score": np.array([2.0, 3.0])}
    scipy.io.savemat(tmp_path / "wiki.mat", {"wiki": wiki | {"second_face_score": np.full(2, np.nan)}}, oned_as="row")
    records = read_records("wiki", tmp_path)
    assert records.path == ["00/a.jpg", "00/bbb.jpg"] and records.gender.tolist() == [FEMALE, MALE]
    assert records.age.tolist() == [30, 29]
    scipy.io.savemat(tmp_path / "wiki.mat", {"wiki": wiki | {"second_face_score": np.array(["x", "y"])}})
    with pytest.raises(ValueError, match=r"the field 'second_face_score' of .*wiki\.mat does not hold numbers"):
        read_records("wiki", tmp_path)


# ------------------------------------------------------------------------------------------------- lists

LISTED = ["20_0_0_2.jpg", "sub/21_0_0_2.jpg"]


@pytest.mark.parametrize(
    "content",
    [
        "path,reason,same_as\r\n{0},dup,\r\n{1},dup,\r\n".encode,
        "path;reason;same_as\n{0};dup;\n{1};dup;\n".encode,
        lambda: "path\treason\n{0}\tdup\n{1}\tdup\n".encode("utf-16"),
        "reason,path\nx,{0}\nx,{1}\n".encode,
        "{folder}/{0}\n{folder}/{1}\n".encode,
        ".\\{0}\nsub\\\\21_0_0_2.jpg\n".encode,
        '"{0}"\n"{1}"\n'.encode,
        "{0}\n21_0_0_2.jpg\nno_such.jpg\n".encode,
        "{0},identical,22_1_0_2.jpg\n{1},identical,22_1_0_2.jpg\n".encode,  # of check_dataset.py, cut out
        "path,same_as\n{0},22_1_0_2.jpg\n{1},22_1_0_2.jpg\n".encode,
    ],
)
def test_lists_leave_out_what_they_name(content, tmp_path, capsys):
    faces = tmp_path / "faces"
    photos(faces, *LISTED, "22_1_0_2.jpg")
    written = content()
    encoding = "utf-16" if written[:2] == b"\xff\xfe" else "utf-8"
    text = written.decode(encoding).replace("{folder}", str(faces)).replace("{0}", LISTED[0]).replace("{1}", LISTED[1])
    (tmp_path / "list.csv").write_bytes(text.encode(encoding))
    output = tmp_path / "out.mat"
    create_db.main([*("--db", "utkface", "--data_dir", str(faces), "--output", str(output), "--img_size", "32"),
                    *("--exclude", str(tmp_path / "list.csv"))])  # fmt: skip
    with h5py.File(output) as file:
        assert file["age"][()].tolist() == [[22]]
    assert ("1 of its 3 names are no photo here, such as no_such.jpg" in capsys.readouterr().out) == ("no_such" in text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no_such.jpg\n", "none of its 1 names, such as no_such.jpg, is a photo"),
        ('"a.jpg\nb.jpg\n', "line 1: a quote"),
        ("path,path\n20_0_0_2.jpg,21_0_0_2.jpg\n", "list.txt has 2 columns named 'path'; rename all but one"),
        ("20_0_0_2.jpg,21_0_0_2.jpg\n", "line 1: 21_0_0_2.jpg is a photo too; write one name a line, or"),
        ("name;reason\n20_0_0_2.jpg; ;./21_0_0_2.jpg\n", "line 2: ./21_0_0_2.jpg is a photo too"),
    ],
)
def test_a_list_that_names_nothing_or_two_on_a_line_is_refused(text, message, tmp_path):
    photos(tmp_path, "20_0_0_2.jpg", "21_0_0_2.jpg")
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(ValueError, match=f"--exclude .*{message}"):
        create_db.main([*("--db", "utkface", "--data_dir", str(tmp_path), "--output", str(tmp_path / "o.mat")),
                        *("--exclude", str(tmp_path / "list.txt"))])  # fmt: skip


@pytest.mark.parametrize(("text", "said"), [("", True), ("\ufeff\n\n", True), ("path,reason,same_as\n", False)])
def test_a_list_without_a_line_is_said_to_name_no_photo(text, said, tmp_path, capsys):
    photos(tmp_path, "20_0_0_2.jpg")
    (tmp_path / "list.txt").write_text(text, encoding="utf-8")
    create_db.main([*("--db", "utkface", "--data_dir", str(tmp_path), "--output", str(tmp_path / "o.mat")),
                    *("--exclude", str(tmp_path / "list.txt"))])  # fmt: skip
    assert ("list.txt is empty: it names no photo" in capsys.readouterr().out) == said


@posix
def test_a_list_that_is_a_pipe_is_not_waited_for(tmp_path):
    photos(tmp_path, "20_0_0_2.jpg")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="--exclude .*pipe cannot be read as a table: it is no regular file"):
        create_db.main([*("--db", "utkface", "--data_dir", str(tmp_path), "--output", str(tmp_path / "o.mat")),
                        *("--exclude", str(tmp_path / "pipe"))])  # fmt: skip
    with pytest.raises(ValueError, match=r"pipe cannot be .* is no regular file; write it to a regular file"):
        read_records("csv", tmp_path, {"table": tmp_path / "pipe"})


def test_what_is_there_and_is_something_else_is_not_said_to_be_missing(tmp_path):
    (tmp_path / "faces.tar.gz").write_bytes(b"x")
    for name in ("utkface", "afad", "folders"):
        with pytest.raises(FileNotFoundError, match=r"faces\.tar\.gz is a file: --data_dir must name"):
            read_records(name, tmp_path / "faces.tar.gz")
    (tmp_path / "wiki.mat").mkdir()
    with pytest.raises(FileNotFoundError, match=r"wiki\.mat is a folder: --data_dir must name"):
        read_records("wiki", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"wiki\.mat is a folder; name the databases in it"):
        open_database(tmp_path / "wiki.mat")
    with pytest.raises(ValueError, match=r"wiki\.mat cannot be read as a table: it is a folder"):
        read_records("csv", tmp_path, {"table": tmp_path / "wiki.mat"})


def test_a_machine_that_opens_no_more_files_does_not_cost_photos(tmp_path, monkeypatch):
    photos(tmp_path, "20_0_0_2.jpg", "21_0_0_2.jpg")
    real = os.open

    def full(path, *more):
        if str(path).endswith("21_0_0_2.jpg"):
            raise OSError(errno.EMFILE, "Too many open files", str(path))
        return real(path, *more)

    monkeypatch.setattr(os, "open", full)
    output = tmp_path / "o.mat"
    with pytest.raises(OSError, match="Too many open files"):
        create_db.main(["--db", "utkface", "--data_dir", str(tmp_path), "--output", str(output)])
    assert not output.exists()


@pytest.mark.parametrize(
    "name", ["=1+1.jpg", "+a.jpg", "-a.jpg", "@a.jpg", "'=a.jpg", "''a", "'a.jpg", "a=b.jpg", "=="]
)
def test_a_name_is_no_formula_and_comes_back(name, tmp_path):
    cell = guarded(name)
    assert cell[0] not in "=+-@" and unguarded(cell) == name
    (tmp_path / "l.csv").write_text(f"path\n{cell}\n")
    assert read_names(tmp_path / "l.csv") == {name}


# ------------------------------------------------------------------------------------------------ folders


@posix
def test_linked_folders_are_followed_and_none_is_entered_twice(tmp_path):
    photos(tmp_path, "a/1.jpg", "other/2.jpg", "b.jpg")
    folder = tmp_path / "a"
    (folder / "to_other").symlink_to("../other")
    (folder / "again").symlink_to("../other")
    (folder / "loop").symlink_to(".")
    (tmp_path / "other" / "back").symlink_to("../a")
    (folder / "file.jpg").symlink_to("../b.jpg")
    (folder / "dead.jpg").symlink_to("nowhere.jpg")
    assert files_below(folder) == ["1.jpg", "again/2.jpg", "dead.jpg", "file.jpg"]
    found = find_images(folder)
    assert [path.name for path in found.images] == ["1.jpg", "2.jpg", "file.jpg"]
    assert found.passed_over == {"no files": ["dead.jpg"]}


def test_a_folder_that_cannot_be_read_is_named_and_counted(tmp_path, secret_folders):
    photos(tmp_path, "20_0_0_2.jpg", "secret/21_0_0_2.jpg")
    assert str(find_images(tmp_path)) == "1 folder that cannot be read (such as secret/)"
    records = read_records("utkface", tmp_path)
    assert records.path == ["20_0_0_2.jpg"] and records.skipped == {"malformed name": ["secret/"]}
    with pytest.raises(PermissionError, match="Permission denied: '.*secret'"):  # none of its names is wrong
        read_records("utkface", tmp_path / "secret")


def test_what_a_killed_run_left_in_a_folder_is_no_data(tmp_path):
    photos(tmp_path, "25/a.jpg", "25/.new-host-1-ab.jpg", ".new-host-1-ab/UTKFace/30/b.jpg")
    assert read_records("folders", tmp_path).path == files_below(tmp_path) == ["25/a.jpg"]


@posix
def test_a_link_that_leads_to_itself_is_no_folder_and_no_place_for_results(tmp_path):
    photos(tmp_path, "in/a.jpg")
    loop = tmp_path / "in" / "loop.jpg"
    loop.symlink_to("loop.jpg")
    assert find_images(tmp_path / "in", leave_out=tmp_path / "in" / "out").passed_over == {"no files": ["loop.jpg"]}
    for words in (["--image_dir", loop], ["--image_dir", tmp_path / "in", "--output_dir", loop]):
        with pytest.raises(OSError, match=r"loop\.jpg"):
            demo.main([*map(str, words), "--no_display", "--detector", "none"])


def test_what_a_folder_holds_beside_images_is_named(tmp_path):
    photos(tmp_path, "a.jpg", "first/a.jpg", "deep/er/b.jpg")
    for name in ("film.mp4", "clip.MP4", "README", ".hidden.jpg", "first/predictions.csv", "deep/er/predictions.csv"):
        (tmp_path / name).write_bytes(b"id,label")  # another program's
    with open(tmp_path / "first" / "predictions.csv", "w", newline="") as file:
        write_csv(file, [])
    found = find_images(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in found.images] == ["a.jpg", "deep/er/b.jpg"]
    assert str(found) == (
        "1 hidden (such as .hidden.jpg), 1 without a suffix (such as README), 2 .mp4 (such as clip.MP4), "
        "1 .csv (such as deep/er/predictions.csv), 2 results of an earlier run (such as first/a.jpg)"
    )


def test_heic_is_read_and_turned_where_its_package_is(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    from PIL import Image

    picture = np.repeat(np.repeat(noise(1, 4, 3)[0], 16, axis=0), 24, axis=1)  # 64 x 96, of large squares
    exif = Image.Exif()
    exif[0x0112] = 6
    heif.register_heif_opener()
    Image.fromarray(picture[:, :, ::-1]).save(tmp_path / "a.heic", quality=95, exif=exif.tobytes())
    image = decode((tmp_path / "a.heic").read_bytes())
    assert image.shape == (96, 64, 3)
    assert np.abs(image.astype(int) - np.rot90(picture, -1)).mean() < 6


def test_heic_without_its_package_is_said_to_need_it(tmp_path, monkeypatch):
    monkeypatch.setattr(age_gender.faces, "_register_heic", lambda: False)
    (tmp_path / "a.HEIC").write_bytes(b"....ftypheic")
    said = "HEIC needs pip install pillow-heif"
    assert in_words(Result(Frame("a.HEIC", 0, None), None, [])) == f"unreadable: {said}"
    assert why_unread(str(tmp_path / "a.HEIC")).endswith(f"or it is damaged: {said}")
    block = decode_block(
        read(tmp_path, "path,age", "a.HEIC,25"), np.arange(1), tmp_path, Cut(64, 0.0, True, None, False)
    )
    assert block.failures == [(f"unreadable image: {said}", "a.HEIC")]


@pytest.mark.parametrize("which", ["create", "check"])
def test_photos_that_go_away_while_they_are_read_leave_what_was_there(which, tmp_path, monkeypatch):
    faces = tmp_path / "faces"
    photos(faces, *(f"{20 + number}_0_0_2.jpg" for number in range(40)))
    output = tmp_path / ("o.mat" if which == "create" else "o.csv")
    output.write_bytes(b"old")
    seen = []

    def read_until_unplugged(path, real=age_gender.faces.read_bytes):
        seen.append(path)
        if len(seen) == 15:
            os.rename(faces, tmp_path / "gone")
        return real(path)

    monkeypatch.setattr(age_gender.faces, "read_bytes", read_until_unplugged)
    main = create_db.main if which == "create" else check_dataset.main
    with pytest.raises(ValueError, match=r"photos went away while they were read, such as .*Is the disk still there"):
        main([*("--db", "utkface", "--data_dir", str(faces), "--output", str(output), "--overwrite", "--workers", "1")])
    assert output.read_bytes() == b"old"


def test_a_disk_that_fails_in_the_middle_leaves_the_old_database(tmp_path, monkeypatch):
    photos(tmp_path / "faces", *(f"{20 + number}_0_0_2.jpg" for number in range(9)))
    output, reads = tmp_path / "o.mat", []
    output.write_bytes(b"old")

    def failing(path, real=age_gender.faces.read_bytes):
        reads.append(path)
        return real(path) if len(reads) < 5 else None  # as it answers where the system says EIO

    monkeypatch.setattr(age_gender.faces, "read_bytes", failing)
    words = ["--db", "utkface", "--data_dir", str(tmp_path / "faces"), "--output", str(output), "--overwrite"]
    with pytest.raises(
        ValueError, match=r"5 of 9 photos could not be used, such as .*: unreadable file; nothing was w"
    ):
        create_db.main([*words, "--workers", "1"])
    assert output.read_bytes() == b"old"


def with_boxes(folder, box):
    """Arguments of create_db.py for five photos of 200 x 200 pixels with one box each."""
    rows = []
    for number in range(5):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((200, 200, 3), 90 + number, np.uint8))
        rows.append(f"{number}.png,30,{box}")
    (folder / "t.csv").write_text("\n".join(["path,age,x1,y1,x2,y2", *rows]))
    return ["--db", "csv", "--table", str(folder / "t.csv"), "--output", str(folder / "o.mat")]


def test_boxes_of_width_and_height_are_told_that_corners_are_wanted(tmp_path):
    with pytest.raises(
        ValueError, match="5 of 5 photos could not be used.*not fit the photo; .* its corners in pixels"
    ):
        create_db.main(with_boxes(tmp_path, "60,60,40,40"))


@pytest.mark.parametrize(("box", "warned"), [("30,30,50,50", True), ("60,60,100,90", False)])
def test_boxes_in_percent_of_their_photos_are_warned_of(box, warned, tmp_path, capsys):
    create_db.main(with_boxes(tmp_path, box))
    assert ("warning: each of the 5 face boxes ends within the upper left" in capsys.readouterr().out) == warned


def test_results_in_the_folder_of_the_photos_are_no_photos_next_time(tmp_path, tiny_checkpoint_file, capsys):
    photos(tmp_path / "in", "a.png", "b.png")
    words = ["--image_dir", str(tmp_path / "in"), "--no_display", "--detector", "none"]
    words += ["--weight_file", str(tiny_checkpoint_file)]
    for name in ("first", "second"):
        demo.main([*words, "--output_dir", str(tmp_path / "in" / name)])
    rows = list(csv.DictReader(open(tmp_path / "in" / "second" / "predictions.csv")))
    assert [row["input"] for row in rows] == ["a.png", "b.png"]
    assert "results of an earlier run (such as first/" in capsys.readouterr().out


@pytest.mark.parametrize(("wide", "warned"), [(2, True), (1, False)])
def test_whole_photos_that_become_squares_are_warned_of(wide, warned, tmp_path, capsys):
    for number in range(3):
        picture = np.full((40, 56 if number < wide else 50, 3), 90, np.uint8)
        cv2.imwrite(str(tmp_path / f"2{number}_0_0_2.jpg"), picture)
    words = ["--db", "utkface", "--data_dir", str(tmp_path), "--output", str(tmp_path / "o.mat")]
    create_db.main(words)
    assert ("warning: 2 of the 3 photos were squeezed into squares; " in capsys.readouterr().out) == warned


def test_two_runs_do_not_write_results_to_one_place_at_once(tmp_path):
    photos(tmp_path / "faces", "20_0_0_2.jpg")
    words = ["--detector", "none", "--no_display", "--output_dir", str(tmp_path / "out")]
    with alone(tmp_path / "out" / "demo"), pytest.raises(ValueError, match="another run is at work on .*out; wait for"):
        demo.main([str(tmp_path / "faces"), *words])
    assert not list((tmp_path / "out").glob("pred*"))
    assert demo.main([str(tmp_path / "faces"), *words]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "20_0_0_2.jpg",
        "predictions.csv",
        "predictions.json",
    ]


@posix
def test_two_databases_are_not_written_to_one_place_at_once(tmp_path):
    photos(tmp_path / "faces", "20_0_0_2.jpg")
    output = tmp_path / "o.mat"
    with alone(output), pytest.raises(ValueError, match=r"another run is at work on .*o\.mat; wait for it, or end it"):
        create_db.main(["--db", "utkface", "--data_dir", str(tmp_path / "faces"), "--output", str(output)])
    (tmp_path / "link.mat").symlink_to(output)
    with alone(output), pytest.raises(ValueError, match=r"another run is at work on .*link\.mat; wait for it"):
        create_db.main(["--db", "utkface", "--data_dir", str(tmp_path / "faces"), "-o", str(tmp_path / "link.mat")])
    assert not output.exists()
