"""People over the frames of a video: who keeps a number, what is averaged, and that nothing grows with the frames."""

import pickle
import sys
import tracemalloc

import numpy as np
import pytest

from age_gender import results, sources
from age_gender.labels import YEARS, expected_age
from age_gender.predictor import Face, Result
from age_gender.tracks import COLUMNS, Tracker


def face(x: float, age: float = 30.0, p_male: float = 0.1, **more) -> Face:
    gender = "M" if p_male >= 0.5 else "F"
    return Face((x, 50, x + 60, 110), 1.0, age, gender, p_male, interval=(round(age) - 5, round(age) + 7))._replace(
        **more
    )


@pytest.fixture
def tracker():
    pytest.importorskip("trackers")
    return Tracker(25.0, 0.75)


def test_people_keep_their_numbers_whatever_the_order_of_the_faces(tracker):
    rng = np.random.default_rng(0)
    for frame in range(50):
        people = [face(10 + 2 * frame, age=20), face(300 - frame, age=40), face(500, age=60)]
        order = rng.permutation(3)
        found = tracker.add([people[index] for index in order], frame / 25)
        assert [one is None for one in found] == [frame == 0] * 3  # seen twice in a row, or it is nobody yet
        if frame:
            ages = {one.number: one.face.age for one in found}
            numbers = dict(zip(order.tolist(), [one.number for one in found], strict=True))
            assert sorted(ages) == [1, 2, 3] and not any(one.face.unsure for one in found)
            assert [ages[numbers[index]] for index in range(3)] == [20, 40, 60]  # nobody is taken for another
            assert [one.face.box for one in found] == [people[index].box for index in order]


def test_the_answer_is_the_mean_so_far(tracker):
    ages, males = [20.0, 33.0, 44.0, 25.0, 30.0], [0.2, 0.9, 0.4, 0.1, 0.3]
    for frame, (age, p_male) in enumerate(zip(ages, males, strict=True)):
        [one] = tracker.add([face(100, age, p_male)], frame / 25)
        if frame == 1:
            assert one.face.age == 33 and one.face.gender == "M"  # counted from when it is somebody
    assert one.face.age == pytest.approx(np.mean(ages[1:])) and one.face.p_male == pytest.approx(np.mean(males[1:]))
    assert one.face.gender == "F" and one.face.unsure  # of 0.425, although the frame itself was sure
    assert one.face.interval == (28, 40)
    [row] = tracker.summary()
    assert tuple(row) == COLUMNS
    assert row["gender"] == "F" and row["gender_share"] == 0.75 and row["frames"] == 4 and row["unsure"] == 1
    assert (row["age"], row["age_low"], row["age_high"]) == (33.0, 28, 40)


def test_the_mean_of_ages_is_the_age_of_the_mean_probabilities():
    p = np.random.default_rng(0).dirichlet(np.full(len(YEARS.centres), 0.1), 20)
    assert expected_age(p, YEARS.centres).mean() == pytest.approx(expected_age(p.mean(0, keepdims=True), YEARS.centres))


def test_of_age_groups_the_commonest_is_said(tracker):
    groups = ["child", "adult", "adult", "child", "adult"]
    for frame, group in enumerate(groups):
        more = {"group": group, "p_group": 0.5 + 0.1 * frame, "interval": None}
        [one] = tracker.add([face(100)._replace(**more)], frame / 25)
    assert one.face.group == "adult" and one.face.p_group == pytest.approx(np.mean([0.6, 0.7, 0.9]))
    assert one.face.interval is None and tracker.summary()[0]["age_low"] is None


@pytest.mark.parametrize(("away", "same"), [(1.0, True), (3.0, False)])
def test_who_is_away_for_long_comes_back_as_another(tracker, away, same):
    times = [0.0, 0.04, 0.08, *np.arange(0.12, away, 0.04), away + 0.12, away + 0.16, away + 0.2]
    numbers = set()
    for seconds in times:
        there = seconds < 0.1 or seconds > away + 0.1
        numbers |= {one.number for one in tracker.add([face(100)] if there else [], seconds) if one}
    assert numbers == ({1} if same else {1, 2})
    rows = tracker.summary()
    assert len(rows) == len(numbers) and rows[0]["first_second"] == 0.04
    if same:  # what was away is not in view
        assert rows[0]["last_second"] == pytest.approx(1.2) and rows[0]["seconds_in_view"] < 0.6


@pytest.mark.parametrize(("away", "same"), [(1.6, True), (2.4, False)])
def test_two_seconds_are_two_seconds_where_a_camera_is_faster_than_it_was_thought_to_be(away, same):
    pytest.importorskip("trackers")
    tracker, times = Tracker(10.0, 0.75), np.arange(0, 1, 1 / 40)  # 40 frames a second
    for seconds in times:
        tracker.add([face(100)], seconds)
    for seconds in np.arange(1, 1 + away, 1 / 40):
        tracker.add([], seconds)
    for seconds in 1 + away + times:
        tracker.add([face(100)], seconds)
    rows = tracker.summary()
    assert len(rows) == (1 if same else 2) and 1.8 < sum(row["seconds_in_view"] for row in rows) < 2.1


@pytest.mark.parametrize("every", [1, 5, 10, 20, 25])
def test_who_walks_keeps_the_number_where_frames_are_far_apart(every):
    pytest.importorskip("trackers")
    tracker = Tracker(25 / every, 0.75)
    for frame in range(0, 250, every):
        seconds = frame / 25
        way = 120 * seconds  # two widths of the face a second
        sways = 1000 + 25 * np.sin(2 * seconds)
        people = [face(way, age=20), face(2000 - way, age=40), face(sways, age=60), face(sways + 150, age=80)]
        standing = [one._replace(box=(one.box[0], 450, one.box[2], 510)) for one in people[2:]]
        tracker.add(people[:2] + standing, seconds)
    assert [row["age"] for row in tracker.summary()] == [20, 40, 60, 80]  # four people, nobody taken for another
    assert {row["frames"] for row in tracker.summary()} == {len(range(0, 250, every)) - 1}


def test_boxes_of_a_film_that_is_read_whole_are_not_grown():
    pytest.importorskip("trackers")
    tracker = Tracker(25.0, 0.75)
    people = {one.number for frame in range(4) for one in tracker.add([face(100 * (frame // 2))], frame / 25) if one}
    assert people == {1, 2}  # two faces side by side, one after the other


def test_what_is_kept_does_not_grow_with_the_frames(tracker):
    sizes = {}
    for frame in range(1500):
        tracker.add([face(100 + 20 * np.sin(frame / 10)), face(400)], frame / 25)
        sizes[frame] = len(pickle.dumps(tracker._people)) + len(pickle.dumps(tracker._tracker))
    assert len(tracker.summary()) == 2 and sizes[1499] < sizes[99] + 200


def test_rows_are_written_as_they_come_and_not_kept(tmp_path):
    output = results.Output(tmp_path, [])

    def add(number: int) -> None:
        for _ in range(number):
            output.add(Result(sources.Frame("a.jpg", 0, lambda: None), np.empty(0), [face(3), face(90)]), None)

    add(300)
    tracemalloc.start()
    add(1000)
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    output.close()
    assert grown < 200_000  # 2,000 rows would take two megabytes


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "trackers", None)
    with pytest.raises(ValueError, match=r"--track needs the package trackers: pip install '.\[video\]'"):
        Tracker(25.0, 0.75)
