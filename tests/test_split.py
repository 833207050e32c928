"""The split: nobody and no photo on both sides, and always the same for the same seed."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import make_database, noise
from hypothesis import assume, given
from hypothesis import strategies as st

from age_gender.description import EARLIER, ON_NO_SIDE, TRAINING, Description
from networks import split as split_module
from networks.split import kindred, past_of, remade, sides_of, split


def side_of(databases, share=0.5, seed=0):
    """For each row whether it is held out; checks that both sides are sorted and hold every row once."""
    training, validation, test = split(databases, share, seed)
    assert not len(test)
    count = sum(map(len, databases))
    assert training.tolist() == sorted(training) and validation.tolist() == sorted(validation)
    assert sorted([*training, *validation]) == list(range(count))
    held_out = np.zeros(count, bool)
    held_out[validation] = True
    return held_out


def always_together(databases, *rows, seeds=40):
    """Whether these rows are on one side for every seed."""
    sides = [side_of(databases, seed=seed)[list(rows)] for seed in range(seeds)]
    return all(len(set(side.tolist())) == 1 for side in sides)


def groups_by_hand(databases):
    """Rows that share a person of one dataset or a photo, directly or over others: a list of sets."""
    keys, start = [], 0
    for database in databases:
        for row in range(len(database)):
            mine = {("photo", int(database.digest[row]))}
            if database.subject is not None and database.subject[row] != -1:
                mine.add((database.db, int(database.subject[row])))
            keys.append(mine)
        start += len(database)
    groups = []
    for row, mine in enumerate(keys):
        rows = {row}
        for tied in [group for group in groups if group[1] & mine]:
            groups.remove(tied)
            rows, mine = rows | tied[0], mine | tied[1]
        groups.append((rows, mine))
    return [rows for rows, _ in groups]


@st.composite
def databases_of_acquaintances(draw):
    databases = []
    for name in draw(st.sampled_from([["wiki"], ["wiki", "imdb"], ["wiki", "imdb", "utkface"]])):
        count = draw(st.integers(3, 25))
        numbers = draw(st.lists(st.integers(-1, 12), min_size=count, max_size=count))
        digests = draw(st.lists(st.integers(-3, 60), min_size=count, max_size=count))
        subject = np.array(numbers) if draw(st.booleans()) else None
        databases.append(make_database(count, 4, db=name, subject=subject, digest=digests))
    return databases


@given(databases_of_acquaintances(), st.floats(0.05, 0.95), st.integers(0, 10**9))
def test_groups_stay_whole_and_the_share_is_within_half_a_group_of_what_was_asked(databases, share, seed):
    try:
        held_out = side_of(databases, share, seed)
    except ValueError:
        assume(False)
    groups = groups_by_hand(databases)
    for rows in groups:
        assert len(set(held_out[list(rows)].tolist())) == 1
    assert abs(held_out.sum() - share * len(held_out)) <= max(map(len, groups)) / 2 + 1e-9


def test_the_same_seed_gives_the_same_split_and_another_seed_another():
    databases = [make_database(200)]
    first, again, other = (side_of(databases, 0.3, seed) for seed in (5, 5, 6))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_faces_that_all_stand_alone_give_exactly_the_share():
    for share, expected in ((0.1, 100), (0.25, 250), (0.9, 900)):
        assert side_of([make_database(1000, 4)], share).sum() == expected


def test_who_is_held_out_is_drawn_from_the_whole_database():
    held_out = np.flatnonzero(side_of([make_database(1000, 4)], 0.2))
    assert 400 < held_out.mean() < 600 and held_out.min() < 50 and held_out.max() > 950


def test_a_subjects_faces_stay_together():
    assert always_together([make_database(12, subject=[3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 3, 10])], 0, 3, 10)


def test_identical_photos_stay_together_by_their_digest():
    assert always_together([make_database(8, digest=[7, 1, 2, 3, 7, 4, 5, 6])], 0, 4)


def test_identical_images_stay_together_where_no_digest_is_recorded():
    images = noise(8)
    images[6] = images[1]
    assert always_together([make_database(8, image=images)], 1, 6)
    assert not always_together([make_database(8)], 1, 6)


def test_identical_photos_of_two_databases_stay_together():
    databases = [make_database(5, digest=[1, 2, 3, 4, 5]), make_database(5, db="utkface", digest=[6, 7, 3, 8, 9])]
    assert always_together(databases, 2, 7)
    assert not always_together(databases, 1, 6)


def test_ties_reach_over_a_third():
    # 0 and 1 are one person, 1 and 2 one photo, 2 and 3 one person.
    database = make_database(8, subject=[1, 1, 2, 2, -1, -1, -1, -1], digest=[10, 11, 11, 12, 13, 14, 15, 16])
    assert always_together([database], 0, 1, 2, 3)


def test_subjects_of_two_datasets_with_the_same_number_are_different_people():
    databases = [
        make_database(6, subject=[1, 2, 3, 4, 5, 6]),
        make_database(6, db="imdb", seed=1, subject=[1, 2, 3, 4, 5, 6]),
    ]
    assert not always_together(databases, 0, 6)
    # Sorted by dataset and number, person 1 of WIKI comes next after person 1 of IMDB.
    databases = [make_database(3, subject=[1, 2, 3]), make_database(3, db="imdb", seed=1, subject=[-1, 0, 1])]
    assert not always_together(databases, 0, 5)


def test_a_subject_of_one_dataset_is_one_person_in_all_its_databases():
    # Two databases of IMDB, of the young and of the old perhaps: celebrity 3 is in both.
    databases = [
        make_database(6, db="imdb", subject=[1, 2, 3, 4, 5, 6]),
        make_database(6, db="imdb", seed=1, subject=[7, 8, 3, 9, 10, 11]),
    ]
    assert always_together(databases, 2, 8)


def test_unknown_subjects_stand_alone():
    database = make_database(8, subject=[-1] * 8)
    assert not always_together([database], 0, 1)
    assert side_of([database], 0.5).sum() == 4


def test_who_would_pass_the_share_by_as_much_as_it_falls_short_stays_out():
    database = make_database(8, subject=[1, 1, 2, 2, 3, 3, 4, 4])
    assert side_of([database], 3 / 8).sum() == 2


@given(databases_of_acquaintances(), st.integers(0, 2**31), st.sampled_from([0.1, 0.25, 0.4]))
def test_nobody_stands_on_two_of_three_sides(databases, seed, test_share):
    try:
        sides = split(databases, 0.3, seed, test_share)
    except ValueError:
        assume(False)
    assert sorted(np.concatenate(sides).tolist()) == list(range(sum(map(len, databases))))
    for rows in groups_by_hand(databases):
        assert sum(bool(rows & set(side.tolist())) for side in sides) == 1


def test_the_test_part_is_the_same_whatever_the_seed_and_the_other_parts_are_not():
    database = make_database(200)
    first, second = (split([database], 0.1, seed, 0.25) for seed in (0, 1))
    assert [len(side) for side in first] == [130, 20, 50]
    assert first[2].tolist() == second[2].tolist()
    assert first[1].tolist() != second[1].tolist()
    assert split([database], 0.3, 5, 0.25)[2].tolist() == first[2].tolist()


def test_a_split_that_leaves_a_side_empty_is_refused():
    with pytest.raises(ValueError, match=r"6 faces of 1 people cannot be split .* share of 0\.5; give more faces"):
        split([make_database(6, subject=[4] * 6)], 0.5, 0)
    with pytest.raises(ValueError, match="3 faces of 3 people cannot be split"):
        split([make_database(3)], 0.01, 0)
    with pytest.raises(ValueError, match=r"at a share of 0\.3 and test at 0\.01; give more"):
        split([make_database(6)], 0.3, 0, 0.01)
    placed = make_database(60, part=np.tile([0, 1], 30), part_names=("train", "val"))  # as All-Age-Faces has them
    with pytest.raises(ValueError, match=r"test at 0\.2 \(shares of the 0 faces that no part or fold places\); give"):
        split([placed], 0.1, 0, 0.2, parts=True)


# ------------------------------------------------------------------------------------- the datasets' own parts

PARTS = ("train", "Valid", "TEST", "odd")


def test_the_datasets_own_parts_are_taken_as_they_are():
    part = np.tile([0, 1, 2], 20)
    databases = [make_database(60, 4, part=part, part_names=PARTS, digest=np.zeros(60, int))]  # even if they tear
    sides = split(databases, 0.1, 0, parts=True)
    assert [side.tolist() for side in sides] == [np.flatnonzero(part == number).tolist() for number in range(3)]
    assert len(split(databases, 0.1, 0, parts=True)[0]) == 20


def test_what_is_in_no_part_is_split_at_random_but_never_away_from_its_own():
    part = np.r_[np.tile([0, 1, 2], 10), np.full(30, -1), np.full(10, 3)]
    digest = np.arange(70)
    digest[30:33] = digest[:3]  # the photos of a training, a validation and a test face again
    database = make_database(70, 4, part=part, part_names=PARTS, digest=digest)
    for seed in range(5):
        training, validation, test = split(
            [database, make_database(40, 4, seed=9, digest=-1 - np.arange(40))], 0.25, seed, 0.1, parts=True
        )
        for number, side in enumerate((training, validation, test)):
            assert set(np.flatnonzero(part == number)) <= set(side.tolist())
        everybody = [*training, *validation, *test]
        assert sorted(everybody) == [row for row in range(110) if row not in (30, 31, 32)]
        assert len(validation) == 10 + round(0.25 * 77) and len(test) == 10 + round(0.1 * 77)


def test_a_training_part_alone_gives_of_its_own_for_validation():
    part = np.repeat([0, 2], 50)
    database = make_database(100, 4, part=part, part_names=PARTS, digest=np.r_[np.arange(99), 0])  # one in both parts
    training, validation, test = split([database], 0.2, 0, parts=True)
    assert test.tolist() == list(range(50, 100)) and len(validation) == 10
    assert sorted([*training, *validation]) == list(range(1, 50))  # the first face is one of the test


@pytest.mark.parametrize("fold", range(5))
def test_a_fold_is_the_test_part_and_the_others_are_split(fold):
    names = tuple(f"fold_{number}" for number in range(5))
    part = np.arange(100) % 5
    database = make_database(100, 4, part=part, part_names=names, subject=np.arange(100) % 20, digest=np.arange(100))
    training, validation, test = split([database], 0.1, 3, fold=fold)
    assert test.tolist() == np.flatnonzero(part == fold).tolist()
    assert sorted([*training, *validation, *test]) == list(range(100)) and len(validation) in range(5, 16)


def test_parts_that_no_database_has_are_refused():
    databases = [make_database(20, 4, part=np.zeros(20, int), part_names=("fold_0",)), make_database(20, 4, seed=1)]
    with pytest.raises(ValueError, match=r"no database has parts named train, valid or test; their parts: fold_0"):
        split(databases, 0.2, 0, parts=True)
    with pytest.raises(ValueError, match=r"no database has parts named fold_1; their parts: fold_0"):
        split(databases, 0.2, 0, fold=1)
    with pytest.raises(ValueError, match=r"their parts: none"):
        split(databases[1:], 0.2, 0, parts=True)


def test_parts_change_nothing_where_they_are_not_asked_for():
    plain = make_database(60, 4, digest=np.arange(60))
    parted = make_database(60, 4, digest=np.arange(60), part=np.arange(60) % 3, part_names=PARTS)
    for one, other in zip(split([plain], 0.2, 1, 0.1), split([parted], 0.2, 1, 0.1), strict=True):
        assert np.array_equal(one, other)


# ------------------------------------------------------------------------------- what a checkpoint knows of its faces


def several():
    """Three databases: two of WIKI, which share people, and one of another dataset."""
    people = np.arange(40) // 2
    return [
        make_database(40, 4, seed=1, db="wiki", subject=people, digest=list(range(40))),
        make_database(30, 4, seed=2, db="wiki", subject=people[:30] + 10, digest=list(range(40, 70))),
        make_database(50, 4, seed=3, db="utkface", digest=list(range(70, 120))),
    ]


GOLDEN_TEST = [2, 3, 4, 5, 24, 25, 30, 31, 32, 33]
GOLDEN_VALIDATION = [6, 7, 16, 17, 26, 27, 36, 37]
HOW = {"validation_split": 0.2, "seed": 3, "test_split": 0.25}


def trained_on(databases, earlier=(), how=HOW, stored=True) -> tuple[Description, tuple]:
    """What a checkpoint says that was trained on these databases, and the rows of its sides."""
    rows = split(databases, **how)
    sides, untold = sides_of(databases, rows, earlier)
    said = {**how, "databases": [database.fingerprint() for database in databases]}
    more = {"sides": sides, "training": {"untold": True} if untold else {}} if stored else {}
    return Description("wide_resnet", {}, 8, split=said, **more), rows


def test_the_rows_of_a_split_are_those_of_every_version():
    """Checkpoints of 0.5.0 and before know only the recipe: another order of random numbers would change their past."""
    training, validation, test = split(several()[:1], 0.2, 3, 0.25)
    assert test.tolist() == GOLDEN_TEST and validation.tolist() == GOLDEN_VALIDATION
    assert sorted([*training, *validation, *test]) == list(range(40))


@pytest.mark.parametrize("stored", [True, False])
def test_a_checkpoint_knows_where_each_face_stood(stored):
    databases = several()
    description, rows = trained_on(databases, stored=stored)
    past = past_of(databases, description)
    for mask, chosen in zip((past.trained, past.chose, past.test), rows, strict=True):
        assert np.array_equal(np.flatnonzero(mask), chosen) and len(chosen)
    assert past.own.all() and not past.untold and not past.earlier.any()


@pytest.mark.parametrize("order", [(2, 0, 1), (1,), (1, 0), (2, 2)])
def test_in_any_order_and_of_any_part_of_the_databases(order):
    databases = several()
    description, _ = trained_on(databases)
    past = past_of(databases, description)
    ends = np.cumsum([len(database) for database in databases])[:-1]
    parts = np.split(past.side, ends)
    found = past_of([databases[number] for number in order], description)
    assert np.array_equal(found.side, np.concatenate([parts[number] for number in order])) and not found.untold


def test_of_an_old_checkpoint_only_with_all_its_databases():
    databases = several()
    description, _ = trained_on(databases, stored=False)
    for order in ((2, 0, 1), (1, 2, 0)):
        whole = past_of(databases, description)
        found = past_of([databases[number] for number in order], description)
        assert sorted(found.side.tolist()) == sorted(whole.side.tolist()) and not found.untold
    part = past_of(databases[:2], description)
    assert part.untold and not part.trained.any() and part.own.all()
    assert not past_of([make_database(5, 4, seed=9)], description).untold


def test_faces_of_other_databases_stand_on_no_side():
    databases = several()
    description, _ = trained_on(databases[:1])
    past = past_of(databases, description)
    assert np.all(past.side[40:] == ON_NO_SIDE) and not past.own[40:].any() and past.own[:40].all()


@pytest.mark.parametrize("stored", [True, False])
def test_what_an_earlier_training_saw_is_remembered(stored):
    databases = several()
    first, (seen, _, _) = trained_on(databases[:2], how={**HOW, "seed": 8}, stored=stored)
    second, rows = trained_on(databases, [first])
    past = past_of(databases, second)
    assert np.array_equal(np.flatnonzero(past.earlier), seen)
    assert np.array_equal(np.flatnonzero(past.side == TRAINING), rows[0])
    assert past.trained[rows[2]].any()  # some of the second's test faces trained the first
    third, _ = trained_on(databases[2:], [second])
    if stored:  # also of databases that the third never saw, and over two generations
        again = past_of(databases, third)
        assert np.array_equal(again.trained[:70], past.trained[:70]) and not again.own[:70].any()
    assert np.all(past_of(databases[2:], third).earlier == past.trained[70:])


def test_that_an_old_start_cannot_be_told_is_passed_on():
    databases = several()
    old, _ = trained_on(databases[:2], stored=False)
    later, _ = trained_on(databases[1:], [old])  # one of the old one's databases is not there
    assert past_of(databases[2:], later).untold


def test_a_dataset_made_again_is_known_whichever_training_had_it():
    first, again = (make_database(40, 4, seed=seed, db="utkface", digest=list(range(40))) for seed in (1, 2))
    other, own = make_database(40, 4, seed=3, db="wiki"), make_database(40, 4, seed=4, db="csv")
    start, _ = trained_on([first])
    start = replace(start, split={**start.split, "datasets": ["utkface"]})
    child, _ = trained_on([again, other], [start])
    history = {"start": {**start.training, "split": start.split}}
    child = replace(child, split={**child.split, "datasets": ["utkface", "wiki"]}, training=history)
    assert [remade(each, start) for each in (first, again, other, own)] == [False, True, False, False]
    assert [remade(each, child) for each in (first, again, other, own)] == [True, True, False, False]
    told = replace(child, training={"start": {"split": {}}})  # of a start that says nothing, nothing is said
    assert [remade(each, told) for each in (again, other, own)] == [False, False, False]


def test_the_sides_are_kept_in_the_checkpoint(tiny_model, tmp_path):
    from networks.checkpoints import describe_anew, inspect, load, save

    description, _ = trained_on(several())
    save(
        tiny_model, tmp_path / "weights.hdf5", replace(description, image_size=32, arguments={"depth": 10, "width": 1})
    )
    for _ in range(2):
        found = inspect(tmp_path / "weights.hdf5")
        assert found.sides.keys() == description.sides.keys()
        for name, sides in description.sides.items():
            assert sides.dtype == np.uint8 and np.array_equal(found.sides[name], sides)
        describe_anew(tmp_path / "weights.hdf5", replace(found, margin=0.2))  # keeps them
    assert load(tmp_path / "weights.hdf5")[1].margin == 0.2


def test_sides_that_are_no_bytes_are_refused(tiny_checkpoint_file, tmp_path):
    import h5py

    from networks.checkpoints import inspect

    path = tmp_path / "weights.hdf5"
    for wrong in (np.zeros((3, 3), np.uint8), np.zeros(3)):
        path.write_bytes(tiny_checkpoint_file.read_bytes())
        with h5py.File(path, "r+") as file:
            file.create_dataset("age_gender_sides/abc", data=wrong)
        with pytest.raises(ValueError, match="is no checkpoint, .*the sides of abc are .* not a byte for each face"):
            inspect(path)


def test_the_shipped_checkpoint_knows_where_its_faces_stood():
    from networks.checkpoints import SHIPPED, inspect

    sides = inspect(SHIPPED).sides["a6801f4e3ccfb3ef"]  # the faces of UTKFace as they come
    assert np.bincount(sides & 3).tolist() == [16_444, 554, 1_478]
    assert not np.any(sides & EARLIER)  # nothing was trained on them before


def test_groups_are_the_connected_components_of_rows_digests_and_people():
    """Against SciPy's graph, on drawn databases in which digests and people tie chains of rows together."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rng = np.random.default_rng(0)
    for _ in range(60):
        databases, ties, start = [], [], 0
        for _ in range(int(rng.integers(1, 4))):
            count, db = int(rng.integers(1, 40)), str(rng.choice(["wiki", "imdb"]))
            subject = np.where(rng.random(count) < 0.3, -1, rng.integers(0, 20, count))
            digest = rng.integers(0, 60, count)
            databases.append(make_database(count, db=db, subject=subject, digest=digest))
            for row in range(count):
                ties += [(start + row, ("digest", int(digest[row])))]
                ties += [(start + row, (db, int(subject[row])))] * bool(subject[row] >= 0)
            start += count
        nodes = {tie: start + number for number, tie in enumerate(dict.fromkeys(tie for _, tie in ties))}
        rows, ends = zip(*((row, nodes[tie]) for row, tie in ties), strict=True)
        size = start + len(nodes)
        graph = coo_array((np.ones(len(rows), bool), (rows, ends)), shape=(size, size))
        component = connected_components(graph, directed=False)[1][:start]
        expected = np.unique(component, return_inverse=True)[1]
        assert np.array_equal(split_module._groups(databases), expected)


def test_tables_of_ones_own_are_not_taken_for_the_same_people():
    assert kindred("utkface", "utkface_wild") and kindred("wiki", "wiki") and not kindred("wiki", "imdb")
    assert not kindred("csv", "csv") and not kindred("folders", "folders")
