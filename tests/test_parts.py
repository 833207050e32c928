"""--part: the parts after one another are the whole; a part that is not there is noticed by its name."""

import json

import cv2
import numpy as np
import pytest
from conftest import noise, write_database

from age_gender.files import alone
from readers.parts import Part, name_parts, part_of, require_parts, with_all_parts

COUNT = 11


@pytest.fixture
def table(tmp_path):
    rows = ["path,age,gender"]
    for number, image in enumerate(noise(COUNT, 16)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), image)
        rows.append(f"{number}.png,{number + 20},{'fm'[number % 2]}")
    (tmp_path / "faces.csv").write_text("\n".join(rows))
    return tmp_path / "faces.csv"


def create(table, *more):
    import create_db

    create_db.main(["--db", "csv", "--table", str(table), "--output", str(table.with_name("faces.mat")), *more])


def test_the_parts_after_one_another_are_the_whole(table):
    from utils import ImageStack, labels_of, open_database

    create(table)
    for number in (2, 1, 3):
        create(table, "--part", f"{number}/3")
    whole = open_database(table.with_name("faces.mat"))
    parts = with_all_parts(table.with_name("faces.2-of-3.mat"))
    assert [path.name for path in parts] == ["faces.1-of-3.mat", "faces.2-of-3.mat", "faces.3-of-3.mat"]
    databases = list(map(open_database, parts))
    assert [len(database) for database in databases] == [3, 4, 4]
    rows = np.arange(COUNT)
    assert np.array_equal(ImageStack(databases)[rows], whole.image)
    for found, expected in zip(labels_of(databases, rows), (whole.age, whole.gender), strict=True):
        assert np.array_equal(found, expected)
    assert with_all_parts(table.with_name("faces.mat")) == [table.with_name("faces.mat")]


def test_parts_of_another_table_or_with_other_options_are_refused(table):
    create(table, "--part", "1/2")
    before = table.with_name("faces.parts.json").read_bytes()
    with pytest.raises(ValueError, match="other options; remove it and its parts"):
        create(table, "--part", "2/2", "--img_size", "32")
    table.write_text(table.read_text().replace("\n3.png", "\nother.png"))
    with pytest.raises(ValueError, match="of another table"):
        create(table, "--part", "2/2")
    assert table.with_name("faces.parts.json").read_bytes() == before
    with pytest.raises(ValueError, match="11 faces cannot make 12 parts"):
        create(table, "--part", "2/12", "--output", str(table.with_name("b.mat")))


def test_a_list_binds_nobody_before_there_is_a_part(tmp_path):
    name_parts(tmp_path / "a.mat", Part(1, 3), "one table")
    name_parts(tmp_path / "a.mat", Part(1, 2), "another")
    (tmp_path / "a.1-of-2.mat").touch()
    with pytest.raises(ValueError, match="is of parts of another table"):
        name_parts(tmp_path / "a.mat", Part(1, 3), "one table")


def test_a_list_binds_whoever_is_at_work_on_a_part(table):
    with alone(table.with_name("faces.1-of-2.mat")):
        create(table, "--part", "2/2")
        table.with_name("faces.2-of-2.mat").unlink()
        before = table.with_name("faces.parts.json").read_bytes()
        with pytest.raises(ValueError, match="other options; remove it and its parts"):
            create(table, "--part", "2/2", "--img_size", "32")
    assert table.with_name("faces.parts.json").read_bytes() == before
    create(table, "--part", "2/2", "--img_size", "32")


def test_a_part_beside_the_whole_is_refused(tmp_path):
    paths = [tmp_path / "a.mat", tmp_path / "a.1-of-2.mat"]
    with pytest.raises(ValueError, match="a.1-of-2.mat is a part of .*a.mat: every face would count twice"):
        require_parts(paths)
    require_parts(paths[:1])


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3", "1/3/3", "1/99999"])
def test_what_is_no_part_is_refused(text):
    with pytest.raises(ValueError, match="is no part, such as 3/10"):
        part_of(text)


@pytest.fixture
def two_of_three(tmp_path):
    name_parts(tmp_path / "faces.mat", Part(1, 3), "")
    for number in (1, 3):
        write_database(Part(number, 3).path(tmp_path / "faces.mat"), noise(20, 32))
    return tmp_path


def test_a_missing_part_is_named(two_of_three):
    paths = sorted(two_of_three.glob("*.mat"))
    with pytest.raises(FileNotFoundError, match=r"faces\.2-of-3\.mat of the same dataset as faces\.1-of-3\.mat cannot"):
        require_parts(paths)
    paths[1].unlink()
    with pytest.raises(FileNotFoundError, match=r"faces\.2-of-3\.mat and 1 more parts of"):
        require_parts(paths[:1])
    (two_of_three / "faces.parts.json").unlink()
    require_parts(paths)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"parts": 3}', '{"parts": [3]}'])
def test_a_list_that_is_none_is_refused(two_of_three, content):
    (two_of_three / "faces.parts.json").write_text(content)
    with pytest.raises(ValueError, match=r"faces\.parts\.json is no list of parts"):
        require_parts([two_of_three / "faces.1-of-3.mat"])


def test_every_command_that_takes_databases_notices(two_of_three):
    import evaluate
    import export
    from age_gender.description import Description
    from training import data

    paths = sorted(two_of_three.glob("*.mat"))
    with pytest.raises(FileNotFoundError, match="2-of-3"):
        evaluate.open_databases(paths, None, {})
    with pytest.raises(FileNotFoundError, match="2-of-3"):
        data.load_data(type("Options", (), {"input": paths}))
    args = type("Arguments", (), {"image_dir": None, "input": paths, "faces": 1, "seed": 0, "precision": []})
    with pytest.raises(FileNotFoundError, match="2-of-3"):
        export.choose_faces(args, Description)


def test_the_list_is_small_and_plain(two_of_three):
    content = json.loads((two_of_three / "faces.parts.json").read_text())
    assert content["parts"] == ["faces.1-of-3.mat", "faces.2-of-3.mat", "faces.3-of-3.mat"]
