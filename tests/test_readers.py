"""Readers on fake dataset trees with junk in them, and on the genuine WIKI metadata and UTKFace names."""

import numpy as np
import pytest
import scipy.io

from age_gender.labels import FEMALE, MALE, UNKNOWN
from readers import READERS, clean
from readers.imdb_wiki import read_imdb, read_wiki
from readers.utkface import read_utkface


def write_metadata(folder, name, **changes):
    """Four records of which the third has no gender, the fourth an odd one; returns the folder."""
    paths = np.empty((1, 4), object)
    paths[0] = ["01/a.jpg", "02/é.jpg", "03/c.jpg", "04/d.jpg"]
    columns = {
        "dob": np.int32([[716000, 716000, 366, 716000]]),  # 716000: 2 May 1960
        "photo_taken": np.uint16([[1990, 1950, 2000, 2000]]),
        "full_path": paths,
        "gender": np.array([[0.0, 1.0, np.nan, 2.0]]),
        "face_score": np.array([[1.5, -np.inf, 3.0, 4.0]]),
        "second_face_score": np.array([[np.nan, np.nan, 2.0, np.nan]]),
    }
    folder.mkdir(exist_ok=True)
    merged = {field: column for field, column in {**columns, **changes}.items() if column is not None}
    scipy.io.savemat(folder / f"{name}.mat", {name: merged})
    return folder


def test_wiki_records_are_translated_and_not_cleaned(tmp_path):
    records = read_wiki(write_metadata(tmp_path, "wiki"))
    assert records.path == ["01/a.jpg", "02/é.jpg", "03/c.jpg", "04/d.jpg"]
    assert records.age.tolist() == [30, -10, 1999, 40]
    assert records.gender.tolist() == [FEMALE, MALE, UNKNOWN, UNKNOWN]
    assert records.gender.dtype == records.age.dtype == np.int64
    assert records.face_score.tolist() == [1.5, -np.inf, 3.0, 4.0]
    assert np.isnan(records.second_face_score).tolist() == [True, True, False, True]
    assert records.subject is None and records.race is None and records.skipped == {} and len(records) == 4


def test_imdbs_celebrity_is_the_subject_and_nan_is_unknown(tmp_path):
    records = read_imdb(write_metadata(tmp_path, "imdb", celeb_id=np.array([[17.0, np.nan, 17.0, 20284.0]])))
    assert records.subject.tolist() == [17, UNKNOWN, 17, 20284] and records.subject.dtype == np.int64


def test_a_struct_for_each_record_is_read_as_one_of_columns_is(tmp_path):
    columns = read_wiki(write_metadata(tmp_path, "wiki"))
    wiki = scipy.io.loadmat(tmp_path / "wiki.mat")["wiki"][0, 0]
    each = np.empty((1, len(columns)), [(name, object) for name in wiki.dtype.names])
    for name in wiki.dtype.names:
        each[name][0] = wiki[name].reshape(-1).tolist()
    scipy.io.savemat(tmp_path / "wiki.mat", {"wiki": each})
    records = read_wiki(tmp_path)
    assert records.path == columns.path and records.fingerprint() == columns.fingerprint()


def test_a_struct_without_a_field_is_refused(tmp_path):
    write_metadata(tmp_path, "wiki", gender=None)
    with pytest.raises(ValueError, match=r"the struct 'wiki' in .*wiki\.mat lacks gender"):
        read_wiki(tmp_path)


def test_another_datasets_metadata_is_refused(tmp_path):
    write_metadata(tmp_path, "wiki").joinpath("wiki.mat").rename(tmp_path / "imdb.mat")
    with pytest.raises(ValueError, match="holds no struct named 'imdb'; is it another dataset's file"):
        read_imdb(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wiki", r"wiki\.mat is not there: --data_dir must name the folder that wiki_crop\.tar unpacks to"),
        ("imdb", r"imdb\.mat is not there: --data_dir must name the folder that imdb_crop\.tar unpacks to"),
        ("utkface", r"is not there: --data_dir must name the folder that UTKFace\.tar\.gz unpacks to"),
    ],
)
def test_every_reader_says_which_folder_is_wanted(tmp_path, name, message):
    with pytest.raises(FileNotFoundError, match=message):
        READERS[name].read(tmp_path / "nowhere")


def test_the_genuine_wiki_is_cleaned_as_it_always_was(shared):
    records = read_wiki(shared / "data")
    kept, dropped = clean(records, min_score=1.0, min_age=0, max_age=100, excluded=set())
    assert len(records) == 62_328
    assert list(dropped.items()) == [
        ("face score below 1", 19_335),
        ("second face", 4_070),
        ("age outside 0..100", 49),
        ("gender unknown", 736),
    ]
    assert len(kept) == 38_138
    assert np.bincount(records.gender[kept]).tolist() == [9_537, 28_601]
    assert records.path[0] == "17/10000217_1981-05-05_2009.jpg" and records.age[0] == 28


def test_utkfaces_genders_are_turned_round(tmp_path):
    for name in ("25_0_2_20170116174525125.jpg.chip.jpg", "26_1_3_20170116174525125.jpg.chip.jpg"):
        (tmp_path / name).touch()
    records = read_utkface(tmp_path)
    assert records.age.tolist() == [25, 26]
    assert records.gender.tolist() == [MALE, FEMALE]
    assert records.race.tolist() == [2, 3]
    assert [records.race_names[race] for race in records.race] == ["Asian", "Indian"]
    assert records.subject is None and records.face_score is None and records.skipped == {}


def test_damaged_names_keep_the_labels_that_can_be_told(tmp_path):
    labels_by_name = {
        "1_0_0_20161219140623097.jpg.chip.jpg": (1, MALE, 0),
        "116_1_4_20170120134921760.jpg.chip.jpg": (116, FEMALE, 4),
        "24_0_1_20170116220224657 .jpg.chip.jpg": (24, MALE, 1),  # a blank in the date
        "55_0_0_20170116232725357jpg.chip.jpg": (55, MALE, 0),  # a dot is missing
        "7_1_0_2017.JPEG": (7, FEMALE, 0),
        "61_1_20170109150557335.jpg.chip.jpg": (61, UNKNOWN, UNKNOWN),  # gender or race
        "62_3_20170109150557335.jpg.chip.jpg": (62, UNKNOWN, UNKNOWN),
        "53__0_20170116184028385.jpg": None,
        "39_2_0_20170116174525125.jpg.chip.jpg": None,  # no such gender
        "39_1_5_20170116174525125.jpg.chip.jpg": None,  # no such race
        "1234_1_0_20170116174525125.jpg": None,
        "._25_0_2_20170116174525125.jpg.chip.jpg": None,
        "25_0_2_20170116174525125.jpg.chip.txt": None,
        "Thumbs.db": None,
        "README": None,
    }
    for name in labels_by_name:
        (tmp_path / name).touch()
    records = read_utkface(tmp_path)
    rows = zip(records.path, records.age.tolist(), records.gender.tolist(), records.race.tolist(), strict=True)
    found = {name: tuple(labels) for name, *labels in rows}
    assert found == {name: labels for name, labels in labels_by_name.items() if labels}
    hidden, *malformed = sorted(name for name, labels in labels_by_name.items() if not labels)
    assert records.skipped == {"malformed name": malformed, "hidden": [hidden]}


def test_utkfaces_subfolders_are_read_in_the_order_of_their_names(tmp_path):
    names = ["part2/9_0_0_20170109.jpg", "part1/deep/30_1_1_20170109.jpg", "80_0_0_20170109.jpg", "part1/4_0_0_2.jpg"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    records = read_utkface(tmp_path)
    assert records.path == sorted(names)
    assert records.age.tolist() == [80, 4, 30, 9]


def test_a_folder_without_utkface_names_is_refused(tmp_path):
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(ValueError, match="no file under .* is named like UTKFace's, age_gender_race_date.jpg"):
        read_utkface(tmp_path)
