"""The .mat module: databases out and in, what others make of them, and what is refused."""

import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from conftest import make_database, noise, write_database
from hypothesis import given
from hypothesis import strategies as st

import utils
from age_gender import files
from age_gender.files import replacing
from utils import ImageStack, open_database, read_paths, read_struct, writing_database


@pytest.fixture
def rich(tmp_path):
    """A database with every optional column, and what was written into it."""
    images = noise(5, 16, seed=3)
    columns = {
        "age": np.array([0, 100, 33, -1, 7]),
        "gender": np.array([0, 1, -1, 1, 0]),
        "subject": np.array([4, 4, -1, 9, 10]),
        "digest": np.array([-(2**63), 2**63 - 1, 0, -1, 5]),
        "race": np.array([0, 1, -1, 1, 0]),
        "path": ["01/a.jpg", "été/b c.jpg", "", "𝄞.jpg", "x" * 40],
    }
    texts = {"db": "imdb", "detector": "dlib", "race_names": ("White", "Other one")}
    path = write_database(tmp_path / "rich.mat", images, texts=texts, scalars={"margin": 0.25}, **columns)
    return path, images, columns


def test_what_is_written_is_read_again(rich):
    path, images, columns = rich
    database = open_database(path)
    assert np.array_equal(database.image, images)
    for name in ("age", "gender", "subject", "digest", "race"):
        values = getattr(database, name)
        assert values.dtype == np.int64 and values.tolist() == columns[name].tolist(), name
    assert (database.db, database.detector, database.margin) == ("imdb", "dlib", 0.25)
    assert database.race_names == ("White", "Other one")
    assert database.source == path and len(database) == 5 and database.image_size == 16
    assert read_paths(path) == columns["path"]


def test_optional_columns_that_are_not_there_are_none(tmp_path):
    path = write_database(tmp_path / "faces.mat", noise(3))
    database = open_database(path)
    assert database.subject is None and database.digest is None and database.race is None
    assert database.race_names == () and database.margin == 0.4
    assert read_paths(path) == []


def test_the_photos_of_several_databases_come_one_after_the_other(rich, tmp_path):
    said, silent = open_database(rich[0]), open_database(write_database(tmp_path / "faces.mat", noise(3)))
    assert utils.paths_of([silent, said]) == ["", "", "", *rich[2]["path"]]
    with pytest.raises(ValueError, match=r"faces.mat does not say which photos its faces come from: a list needs that"):
        utils.paths_of([said, silent], "a list")


def test_the_photos_of_a_database_that_is_replaced_meanwhile_are_those_of_its_faces(rich, tmp_path):
    path, _, columns = rich
    database = open_database(path)
    write_database(path, noise(5), path=[f"other/{number}.jpg" for number in range(5)])
    assert utils.paths_of([database]) == columns["path"] != read_paths(path)
    assert np.array_equal(database.faces(np.arange(5)), rich[1])


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1, max_size=4))
def test_every_text_comes_back(texts):
    with tempfile.TemporaryDirectory() as folder:
        path = write_database(Path(folder) / "texts.mat", noise(len(texts), 4), path=texts)
        assert read_paths(path) == texts


def test_images_are_one_contiguous_mapped_block_that_nobody_can_write_to(rich):
    path, images, _ = rich
    database = open_database(path)
    assert isinstance(database.image, np.memmap)
    with h5py.File(path) as file:
        assert file["image"].chunks is None and file["image"].compression is None
    with pytest.raises(ValueError, match="read-only"):
        database.image[0, 0, 0, 0] = 1


def test_the_file_starts_with_matlabs_header_in_a_block_of_512_bytes(rich):
    content = rich[0].read_bytes()
    assert content[:116].startswith(b"MATLAB 7.3 MAT-file") and content[:116].isascii()
    assert content[116:124] == bytes(8)
    assert content[124:128] == b"\x00\x02IM"  # version 0x0200 and the mark of a little-endian machine
    assert content[512:520] == b"\x89HDF\r\n\x1a\n"
    with h5py.File(rich[0]) as file:
        assert file.userblock_size == 512


def test_every_dataset_says_its_matlab_class(rich):
    with h5py.File(rich[0]) as file:
        classes = {name: dataset.attrs["MATLAB_class"] for name, dataset in file.items()}
        assert file["path"].dtype == np.uint16 and file["path"].attrs["MATLAB_int_decode"] == 2
        assert file["age"].shape == (5, 1) and file["margin"].shape == (1, 1)
    assert classes == {
        "image": b"uint8",
        **dict.fromkeys(("age", "gender", "subject", "digest", "race", "block_crc32", "label_digest"), b"int64"),
        **dict.fromkeys(("path", "db", "detector", "race_names"), b"char"),
        "margin": b"double",
    }


def test_mat73_reads_the_file_with_matlabs_reversed_axes(rich):
    import mat73

    path, images, columns = rich
    content = mat73.loadmat(str(path))
    assert np.array_equal(content["image"], images.T)
    for name in ("age", "gender", "subject", "digest", "race"):
        assert np.ravel(content[name]).tolist() == columns[name].tolist(), name
    assert content["db"] == "imdb" and content["detector"] == "dlib"
    assert float(content["margin"]) == 0.25


def test_fewer_images_than_announced_give_a_file_of_the_exact_size(tmp_path, monkeypatch):
    monkeypatch.setattr(utils, "BLOCK", 3)  # so that the copy takes several steps
    images = noise(7, 32)
    short = write_database(tmp_path / "short.mat", images, rows=500)
    exact = write_database(tmp_path / "exact.mat", images)
    assert np.array_equal(open_database(short).image, images)
    assert isinstance(open_database(short).image, np.memmap)
    assert abs(short.stat().st_size - exact.stat().st_size) < 4096
    assert short.read_bytes()[:128] == exact.read_bytes()[:128]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["exact.mat", "short.mat"]


def test_blocks_are_appended_one_after_the_other(tmp_path):
    images, path = noise(10), tmp_path / "blocks.mat"
    with writing_database(path, 10, 8) as writer:
        for start, end in ((0, 4), (4, 4), (4, 9), (9, 10)):
            writer.append(images[start:end])
        writer.finish({"age": np.arange(10), "gender": np.zeros(10, int)}, {}, {"db": "wiki"})
    assert np.array_equal(open_database(path).image, images)


def test_images_beyond_4_gib_are_written_and_mapped(tmp_path, monkeypatch):
    rows, last = 1_500, noise(1, 1024)  # 4.7 GB, of which the file system stores what is written
    monkeypatch.setattr(utils, "BLOCK", rows)  # one block, since most of its faces are never written
    if shutil.disk_usage(tmp_path).free < 6e9:
        pytest.skip("less than 6 GB free")
    path = tmp_path / "large.mat"
    with writing_database(path, rows, 1024) as writer:
        writer.written, writer._digests = rows - 1, [0]
        writer.append(last)
        writer.finish({"age": np.full(rows, 5), "gender": np.zeros(rows, int)}, {}, {"db": "wiki"})
    assert path.stat().st_size > 2**32
    database = open_database(path)
    assert len(database) == rows and np.array_equal(database.image[-1:], last)
    path.unlink()


@pytest.mark.parametrize("earlier", [False, True])
def test_every_block_of_faces_has_a_digest_however_it_came(earlier, tmp_path):
    images, path = noise(600), tmp_path / "blocks.mat"
    with writing_database(path, 700, 8) as writer:
        for start, end in ((0, 1), (1, 257), (257, 511), (511, 512), (512, 600)):
            writer.append(images[start:end])
        writer.finish({"age": np.full(600, 5), "gender": np.zeros(600, int)}, {}, {"db": "wiki"})
    with h5py.File(path, "r+") as file:
        assert file["block_crc32"][:, 0].tolist() == [zlib.crc32(images[at : at + 256]) for at in (0, 256, 512)]
        if earlier:  # as versions 0.7 to 0.9 wrote it
            del file["block_crc32"]
            found = [hashlib.sha256(images[at : at + 256]).digest()[:8] for at in (0, 256, 512)]
            file["block_digest"] = np.frombuffer(b"".join(found), "<i8")[:, None]
    database = open_database(path)
    assert len(database.block_digest) == 3 and utils.damaged_faces(database) == []
    offset = database.image.offset
    for face, block in ((0, range(256)), (255, range(256)), (256, range(256, 512)), (599, range(512, 600))):
        content = bytearray(path.read_bytes())
        content[offset + face * 192 + 7] ^= 1
        (tmp_path / "hit.mat").write_bytes(content)
        hit = open_database(tmp_path / "hit.mat")
        assert utils.damaged_faces(hit) == [block]
        with pytest.raises(ValueError, match=f"hit.mat is damaged: faces {block.start} to {block.stop - 1} are not"):
            utils.check_faces([database, hit])


def test_paths_that_are_not_as_many_as_the_images_are_refused(tmp_path):
    path = write_database(tmp_path / "a.mat", noise(5), path=[f"{number}.jpg" for number in range(5)])
    assert len(read_paths(path)) == 5
    with h5py.File(path, "r+") as file:
        kept = file["path"][:4]
        del file["path"]
        file["path"] = kept
    with pytest.raises(ValueError, match="a.mat has 4 paths for 5 images"):
        read_paths(path)


@pytest.mark.parametrize("name", ["age", "gender", "subject", "age_std", "part"])
def test_labels_that_are_not_what_was_written_are_refused(name, tmp_path):
    columns = {"subject": np.arange(5), "age_std": np.full(5, 2.5), "part": np.zeros(5, int)}
    path = write_database(tmp_path / "a.mat", noise(5), texts={"db": "wiki", "part_names": ("a", "b")}, **columns)
    assert open_database(path).label_low is None
    with h5py.File(path, "r+") as file:
        file[name][2, 0] = 0 if name == "gender" else 1
    with pytest.raises(ValueError, match=r"a\.mat: its labels are not those that were written; make it again, or"):
        open_database(path)
    with h5py.File(path, "r+") as file:
        del file["label_digest"]
    assert len(open_database(path)) == 5


def test_a_block_that_fails_keeps_the_file_that_was_there(rich):
    path = rich[0]
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        with writing_database(path, 4, 8) as writer:
            writer.append(noise(2))
            raise KeyboardInterrupt
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_a_column_of_another_length_than_the_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match="column 'age' has 3 rows, the images 4"):
        write_database(tmp_path / "new.mat", noise(4), age=np.zeros(3, int))
    assert list(tmp_path.iterdir()) == []


def test_replacing_moves_a_file_into_place_with_the_users_permissions(tmp_path):
    path = tmp_path / "deep" / "weights.02-5.15.hdf5"
    with replacing(path) as temporary:
        assert temporary.parent == path.parent and temporary.name.endswith(".02-5.15.hdf5")
        temporary.write_text("new")
        assert not path.exists()
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    assert path.read_text() == "new" and path.stat().st_mode == ordinary.stat().st_mode
    assert list(path.parent.iterdir()) == [path]


# ------------------------------------------------------------------------------- files that others have written


def save_like_the_original_suite(path: Path, images: np.ndarray, age, gender) -> Path:
    """MATLAB 5 by scipy; labels become rows, (1, n), as with the original suite."""
    content = {"image": images, "age": age, "gender": gender, "db": "imdb", "img_size": images.shape[1]}
    scipy.io.savemat(path, {**content, "min_score": 1.0})
    return path


def test_a_matlab_5_database_is_read(tmp_path):
    images, age, gender = noise(6, 16), np.array([1, 2, 3, 100, 0, 50]), np.array([0, 1, 1, 0, 1, 0])
    path = save_like_the_original_suite(tmp_path / "old.mat", images, age, gender)
    assert scipy.io.loadmat(path)["gender"].shape == (1, 6)
    database = open_database(path)
    assert np.array_equal(database.image, images)
    assert database.age.tolist() == age.tolist() and database.gender.tolist() == gender.tolist()
    assert database.age.dtype == np.int64 and database.age.shape == (6,)
    assert (database.db, database.margin, database.detector) == ("imdb", 0.4, "none")
    assert read_paths(path) == []


@pytest.mark.usefixtures("matlab5_read_here")
@pytest.mark.parametrize("name, turned", [("utk", True), ("wiki", False)])
def test_the_original_suites_utkface_genders_are_turned_round(tmp_path, name, turned):
    content = {
        "image": noise(3, 16),
        "age": [[1, 2, 3]],
        "gender": [[0, 1, 0]],
        "db": name,
        "img_size": 16,
        "min_score": -1,
    }
    scipy.io.savemat(tmp_path / "old.mat", content)
    assert open_database(tmp_path / "old.mat").gender.tolist() == ([1, 0, 1] if turned else [0, 1, 0])


@pytest.mark.usefixtures("matlab5_read_here")
@pytest.mark.parametrize("odd", [2, 3, np.nan])
def test_an_odd_gender_of_the_original_suites_utkface_is_not_taken_for_a_womans(odd, tmp_path):
    path = tmp_path / "old.mat"
    scipy.io.savemat(path, {"image": noise(3, 16), "age": [1, 2, 3], "gender": [0, odd, 1], "db": "utk"})
    with pytest.raises(ValueError, match="1 of 3 values of 'gender'"):
        open_database(path)


def test_texts_that_h5py_wrote_are_texts(tmp_path):
    path = tmp_path / "own.mat"
    with h5py.File(path, "w") as file:
        file["image"], file["age"], file["gender"] = noise(4), np.full((4, 1), 30), np.ones((4, 1), int)
        file["db"], file["detector"], file["part"] = "mine", np.bytes_(b"yunet"), np.ones((4, 1), int)
        file["part_names"] = ["train", "test"]
    database = open_database(path)
    assert (database.db, database.detector, database.part_names) == ("mine", "yunet", ("train", "test"))


def test_the_original_suites_own_database_is_read(shared):
    path = shared / "legacy" / "wiki_db_matlab5_32px.mat"
    database, content = open_database(path), scipy.io.loadmat(path)
    assert database.image.shape == (509, 32, 32, 3) and database.image.dtype == np.uint8
    assert np.array_equal(database.image, content["image"])
    assert database.age.tolist() == content["age"].ravel().tolist()
    assert database.gender.tolist() == content["gender"].ravel().tolist()
    assert (database.db, database.margin, database.image_size) == ("wiki", 0.4, 32)


def test_compressed_hdf5_as_matlab_saves_it_is_read(tmp_path):
    images, path = noise(9, 16), tmp_path / "matlab.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("image", data=images, chunks=(2, 16, 16, 3), compression="gzip")
        file.create_dataset("age", data=np.full((9, 1), 21.0), chunks=(4, 1), compression="gzip")
        file.create_dataset("gender", data=np.zeros((9, 1)), chunks=(4, 1), compression="gzip")
        file["db"] = np.frombuffer("wiki".encode("utf-16-le"), np.uint16)[None]
        file["db"].attrs["MATLAB_class"] = np.bytes_("char")
        file.create_group("#refs#")
    database = open_database(path)
    assert np.array_equal(database.image, images)
    assert database.age.tolist() == [21] * 9 and database.gender.tolist() == [0] * 9 and database.db == "wiki"


def test_bytes_after_the_end_do_no_harm(rich):
    path, images, _ = rich
    with open(path, "ab") as file:
        file.write(bytes(5000))
    assert np.array_equal(open_database(path).image, images)


# ------------------------------------------------------------------------------------------ what is refused


def test_a_missing_file_is_refused_with_what_makes_one(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.mat is not there; create_db\.py makes databases"):
        open_database(tmp_path / "nowhere.mat")
    with pytest.raises(FileNotFoundError, match="is a folder; name the databases in it"):
        open_database(tmp_path)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.999])
def test_a_file_that_is_cut_off_is_refused(tmp_path, share):
    path = write_database(tmp_path / "cut.mat", noise(20, 32))
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(ValueError, match=r"cut\.mat cannot be read .*cut off or damaged, make it again"):
        open_database(path)


@pytest.mark.usefixtures("matlab5_read_here")
@pytest.mark.parametrize("kept", [0, 1, 127, 128, 400])
def test_a_file_cut_off_in_its_header_is_refused(tmp_path, kept):
    path = write_database(tmp_path / "cut.mat", noise(2))
    os.truncate(path, kept)
    with pytest.raises(ValueError, match=r"cut\.mat is no face database"):
        open_database(path)


@pytest.mark.usefixtures("matlab5_read_here")
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_matlab_5_file_that_is_cut_off_is_refused(tmp_path, share):
    path = save_like_the_original_suite(tmp_path / "cut.mat", noise(6, 16), np.full(6, 9), np.zeros(6, int))
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(ValueError, match=r"cut\.mat is no face database"):
        open_database(path)


def test_a_text_file_is_refused(tmp_path):
    path = tmp_path / "notes.mat"
    path.write_text("age, gender\n" * 100)
    with pytest.raises(ValueError, match=r"notes\.mat is no face database, which create_db\.py makes: "):
        open_database(path)


@pytest.mark.usefixtures("matlab5_read_here")
def test_a_mat_file_of_something_else_is_refused_with_what_it_holds(tmp_path):
    path = tmp_path / "other.mat"
    scipy.io.savemat(path, {"wiki": np.zeros(3), "age": np.zeros(3)})
    with pytest.raises(ValueError, match=r"is no face database: it lacks image, gender and holds age, wiki"):
        open_database(path)
    with h5py.File(path, "w"):
        pass
    with pytest.raises(ValueError, match="it lacks image, age, gender and holds nothing"):
        open_database(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": noise(4).astype(np.float32)}, r"'image' must be \(n, size, size, 3\) uint8; .* float32"),
        ({"image": noise(4)[..., :2]}, r"'image' must be .*; received \(4, 8, 8, 2\) uint8"),
        ({"image": noise(4)[:, :5]}, r"'image' must be .*; received \(4, 5, 8, 3\) uint8"),
        ({"image": noise(4)[0]}, r"'image' must be .*; received \(8, 8, 3\) uint8"),
        ({"image": noise(3)}, r"'age' has 4 entries for 3 images"),
        ({"gender": np.zeros((5, 1))}, r"'gender' has 5 entries for 4 images"),
        ({"subject": np.zeros((5, 1))}, r"'subject' has 5 entries for 4 images"),
        ({"age": np.array([[5], [101], [0], [-2]])}, r"2 of 4 values of 'age' are outside -1\.\.100"),
        ({"age": np.array([[5], [np.nan], [0], [1]])}, r"1 of 4 values of 'age' are outside -1\.\.100"),
        ({"gender": np.array([[0], [1], [2], [1]])}, r"1 of 4 values of 'gender' are outside -1\.\.1"),
        ({"age": np.array([[5], [25.7], [0], [1]])}, r"1 of 4 values of 'age' are .*, or not whole"),
        ({"gender": np.full((4, 1), 0.5)}, r"4 of 4 values of 'gender' are .*, or not whole"),
        ({"subject": np.array([[1], [np.nan], [2], [np.nan]])}, r"2 of 4 values of 'subject' are no whole numbers"),
        ({"age_std": np.array([[1], [np.nan], [-2], [np.inf]])}, r"2 of 4 values of 'age_std' are outside 0\.\.999"),
        ({"age_low": np.full((4, 1), 20), "age_high": np.full((4, 1), 500)}, r"'age_high' are outside -1\.\.100"),
        ({"age_low": np.full((4, 1), 60), "age_high": np.full((4, 1), 50)}, "are not the ends of intervals"),
        ({"age_low": np.full((4, 1), 60)}, "are not the ends of intervals"),
        ({"margin": np.nan}, r"'margin' is nan, not a share from 0 to 3"),
        ({"margin": -1.0}, r"'margin' is -1, not a share"),
        ({"age": np.full((4, 1), 2**64 - 1, np.uint64)}, r"4 of 4 values of 'age' are outside"),
        ({"age": np.full((4, 1), 30 + 1j)}, r"'age' holds no numbers"),
        ({"gender": np.array([b"f", b"m", b"f", b"m"])}, r"'gender' holds no numbers"),
        ({"align": np.bytes_(b"no")}, r"'align' holds no numbers"),
        ({"align": np.nan}, r"'align' is nan, neither 0 nor 1"),
        ({"margin": np.empty((0, 0))}, r"'margin' holds 0 numbers, not one"),
        ({"age": h5py.Empty("i8")}, r"'age' holds nothing"),
        ({"db": np.arange(4)}, r"'db' holds no text"),
        (
            {"image": noise(0), "age": np.zeros((0, 1)), "gender": np.zeros((0, 1))},
            "bad.mat holds no faces",
        ),
    ],
)
def test_content_that_is_no_face_database_is_refused(tmp_path, change, message):
    path = tmp_path / "bad.mat"
    good = {"image": noise(4), "age": np.full((4, 1), 30), "gender": np.ones((4, 1), int)}
    with h5py.File(path, "w") as file:
        for name, values in {**good, **change}.items():
            file[name] = values
    with pytest.raises(ValueError, match=message):
        open_database(path)


def test_values_at_their_bounds_are_taken(tmp_path):
    """An interval of one year, and none; the first and the last age; a spread of nothing and of the most."""
    columns = {"age": [-1, 0, 100], "gender": [-1, 0, 1], "age_low": [7, -1, -1], "age_high": [7, -1, -1]}
    columns = {name: np.array(values) for name, values in columns.items()} | {"age_std": np.array([0, 999, np.nan])}
    database = open_database(write_database(tmp_path / "a.mat", noise(3), **columns))
    assert (database.label_low.tolist(), database.label_high.tolist()) == ([7, -1, -1], [7, -1, -1])
    assert database.age.tolist() == [-1, 0, 100] and database.age_std[1] == 999


# ------------------------------------------------------------------------------------------------- metadata


def test_a_file_that_lacks_a_dataset_is_said_to_hold_the_others(tmp_path):
    with h5py.File(
        write_database(tmp_path / "a.mat", noise(2), age=np.array([1, 2]), gender=np.zeros(2, int)), "r+"
    ) as file:
        del file["age"]
    with pytest.raises(ValueError, match="it lacks age and holds block_crc32, "):
        open_database(tmp_path / "a.mat")


def test_read_struct_returns_the_wanted_fields_in_the_files_own_types(tmp_path):
    path = tmp_path / "wiki.mat"
    names = np.array([["a.jpg", "b.jpg"]], object)
    scipy.io.savemat(path, {"wiki": {"year": np.uint16([[1950, 2000]]), "name": names, "other": np.zeros((1, 9))}})
    columns = read_struct(path, "wiki", ["year", "name"], ["not_there"])
    assert list(columns) == ["year", "name"]
    assert columns["year"].dtype == np.uint16 and columns["year"].tolist() == [1950, 2000]
    assert [str(np.squeeze(name)) for name in columns["name"]] == ["a.jpg", "b.jpg"]


@pytest.mark.usefixtures("matlab5_read_here")
def test_read_struct_says_what_is_wrong(tmp_path):
    path = tmp_path / "wiki.mat"
    scipy.io.savemat(path, {"wiki": {"dob": np.zeros((1, 3)), "gender": np.zeros((1, 2))}, "plain": np.zeros(3)})
    with pytest.raises(ValueError, match="holds no struct named 'imdb'; is it another dataset's file?"):
        read_struct(path, "imdb", ["dob"])
    with pytest.raises(ValueError, match="the struct 'wiki' in .* lacks name, age; it has dob, gender"):
        read_struct(path, "wiki", ["dob", "name", "age"])
    with pytest.raises(ValueError, match=r"fields of 'wiki' in .* differ in length: \{'dob': 3, 'gender': 2\}"):
        read_struct(path, "wiki", ["dob", "gender"])
    with pytest.raises(ValueError, match="the struct 'plain' in .* lacks dob"):
        read_struct(path, "plain", ["dob"])
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(
        ValueError, match=r"wiki\.mat cannot be read as a MATLAB 5 file; fetch it again, or save it .*: OSError"
    ):
        read_struct(path, "wiki", ["dob"])
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n")
    with pytest.raises(ValueError, match=r"wiki\.mat is a Git LFS pointer"):
        read_struct(path, "wiki", ["dob"])


# ---------------------------------------------------------------------------------------------- image stack


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.data())
def test_a_stack_is_the_concatenation_of_its_databases(counts, data):
    databases = [make_database(count, 4, seed) for seed, count in enumerate(counts)]
    together = np.concatenate([database.image for database in databases])
    rows = np.array(data.draw(st.lists(st.integers(0, len(together) - 1), max_size=8)), np.int64)
    stack = ImageStack(databases)
    assert len(stack) == len(together) and stack.shape == together.shape
    assert np.array_equal(stack[rows], together[rows])


def test_what_a_stack_returns_is_a_copy(tmp_path):
    database = open_database(write_database(tmp_path / "a.mat", noise(3)))
    for databases in ([database], [database, database]):
        taken = ImageStack(databases)[np.array([1])]
        assert type(taken) is np.ndarray
        taken[...] = 0
        assert np.array_equal(database.image, noise(3))


def test_databases_of_two_sizes_cannot_be_stacked():
    with pytest.raises(ValueError, match=r"images of one size; received drawn_0\.mat 8, drawn_1\.mat 16"):
        ImageStack([make_database(2, 8, 0), make_database(2, 16, 1)])


# ---------------------------------------------------------------------------------------------- fingerprints


def test_the_fingerprint_follows_the_labels_and_not_the_files_name(tmp_path, rich):
    copy = tmp_path / "copy.mat"
    shutil.copy(rich[0], copy)
    assert open_database(copy).fingerprint() == open_database(rich[0]).fingerprint()
    prints = {
        make_database(4).fingerprint(),
        make_database(4, db="imdb").fingerprint(),
        make_database(4, age=[1, 2, 3, 4]).fingerprint(),
        make_database(4, age=[2, 1, 3, 4]).fingerprint(),
        make_database(4, gender=[0, 0, 0, -1]).fingerprint(),
        make_database(4, digest=[1, 2, 3, 4]).fingerprint(),
        make_database(4, subject=[1, 2, 3, 4]).fingerprint(),
    }
    assert len(prints) == 7
    assert make_database(4, size=16).fingerprint() in prints  # the same faces at another size


def test_digests_are_64_bits_and_tell_bytes_apart():
    digests = {files.digest(bytes([number])) for number in range(256)}
    assert len(digests) == 256 and min(digests) < 0 < max(digests)
    assert all(-(2**63) <= digest < 2**63 for digest in digests)
    assert files.digest(b"photo") == files.digest(b"photo")


def test_faces_are_read_from_the_file_in_any_order_and_from_no_other(tmp_path):
    images = noise(50, 16)
    path = write_database(tmp_path / "a.mat", images)
    database = open_database(path)
    write_database(path, noise(50, 16, seed=9))  # takes the name, not the place
    rng = np.random.default_rng(0)
    for rows in (np.arange(50), rng.permutation(50)[:20], np.array([7, 7, 0]), np.array([], int), slice(10, 40, 3)):
        assert np.array_equal(database.faces(rows), images[rows])
        assert np.array_equal(ImageStack([database])[rows], images[rows])
    for rows in ([50], [-1], [3, 60]):
        with pytest.raises(IndexError, match="has rows 0 to 49; received"):
            database.faces(np.array(rows))
    assert np.array_equal(make_database(5).faces(np.array([4, 1])), noise(5)[[4, 1]])
    os.truncate(database.file.name, 3000)
    cut = replace(database, file=open(path, "rb", buffering=0))
    with pytest.raises(OSError, match="a.mat ends before its images do"):
        cut.faces(np.array([49]))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limits of this kind")
def test_what_there_is_no_room_for_is_refused_and_what_was_there_stays(tmp_path):
    (tmp_path / "a.mat").write_text("the one before")
    script = (
        "import resource, sys; import numpy as np; from pathlib import Path; from utils import writing_database\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)\n"
        "try:\n"
        "    with writing_database(Path(sys.argv[1]), 40, 64) as writer:\n"
        "        writer.append(np.zeros((40, 64, 64, 3), np.uint8)); print('images')\n"
        "        columns = {'age': np.arange(40), 'gender': np.arange(40) % 2, 'path': ['x' * 500] * 40}\n"
        "        writer.finish(columns, {}, {'db': 'wiki'})\n"
        "except OSError as error: print(error)\n"
    )
    for limit, begun in ((400_000, ""), (500_000, "images\n"), (600_000, "images\n")):
        words = [sys.executable, "-c", script, tmp_path / "a.mat", str(limit)]
        done = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parent.parent)
        assert re.fullmatch(rf"{begun}\S*a\.mat was not written, [\d,]+ bytes: File too large\n", done.stdout)
        assert not done.stderr and not done.returncode
    assert (tmp_path / "a.mat").read_text() == "the one before" and len(list(tmp_path.iterdir())) == 1


def test_a_disk_that_is_full_in_the_middle_is_named_by_the_file_and_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match=r"No space left on device: '.*a\.mat'$"):
        with utils.writing_database(tmp_path / "a.mat", 4, 8) as writer:
            writer.append(noise(2, 8))
            raise OSError(errno.ENOSPC, "as a library says it")
    assert not list(tmp_path.iterdir())
