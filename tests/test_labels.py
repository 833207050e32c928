"""Ages from birth dates against a plain datetime loop; expected age and decades against closed forms."""

from datetime import date, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from age_gender import labels
from readers.imdb_wiki import age_in_year


def serial_of(day: date) -> int:
    """MATLAB's datenum: day 1 is 1 January of year 0, which has 366 days."""
    return day.toordinal() + 366


def age_by_datetime(serial: float, year: int) -> int:
    """The classic suite's rule, one record at a time."""
    birth = datetime.fromordinal(max(int(serial) - 366, 1))
    return int(year) - birth.year - (0 if birth.month < 7 else 1)


def test_matlab_serial_days_start_where_matlab_starts_them():
    # datenum('1-Jan-2000') is 730486 in MATLAB's documentation.
    assert serial_of(date(2000, 1, 1)) == 730486
    assert age_in_year(np.array([730486]), np.array([2010])).tolist() == [10]


def test_who_is_born_in_july_has_not_had_a_birthday_at_mid_year():
    births = [date(1960, 6, 30), date(1960, 7, 1), date(1960, 1, 1), date(1960, 12, 31)]
    ages = age_in_year(np.array([serial_of(day) for day in births]), np.full(4, 2000))
    assert ages.tolist() == [40, 39, 40, 39]


def test_unsigned_years_give_negative_ages_and_do_not_wrap():
    births = np.array([serial_of(date(1960, 3, 1)), serial_of(date(1960, 9, 1))], np.int32)
    ages = age_in_year(births, np.array([1950, 1950], np.uint16))
    assert ages.tolist() == [-10, -11]
    assert ages.dtype == np.int64


def test_serials_before_our_calendar_and_nan_count_as_the_first_of_january_of_year_one():
    serials = np.array([-5.0, 0.0, 1.0, 366.0, 366.9, 367.0, np.nan])
    assert age_in_year(serials, np.full(7, 2000)).tolist() == [1999] * 7


def test_the_arguments_are_not_changed():
    serials, years = np.array([np.nan, 1.0]), np.array([1, 2], np.uint16)
    age_in_year(serials, years)
    assert np.isnan(serials[0]) and serials[1] == 1 and years.tolist() == [1, 2]


@given(
    st.lists(
        st.tuples(st.floats(-1000, 3_000_000), st.integers(0, 2500)) | st.tuples(st.integers(300, 2000), st.just(3)),
        min_size=1,
        max_size=60,
    )
)
def test_ages_equal_those_of_a_plain_loop(people):
    serials, years = (np.array(column) for column in zip(*people, strict=True))
    expected = [age_by_datetime(serial, year) for serial, year in people]
    assert age_in_year(serials, years.astype(np.uint16)).tolist() == expected


@pytest.mark.filterwarnings("error")
def test_dates_beyond_any_calendar_are_no_ages_and_no_warnings():
    serials = np.array([np.inf, -np.inf, 1e300, 2.0**62, 723181, 723181, 723181])
    years = np.array([2010, 2010, 2010, 2010, np.inf, -np.inf, np.nan])
    ages = age_in_year(serials, years)
    assert ((ages < 0) | (ages > 100)).all()


def test_every_day_of_some_years_gives_the_age_of_a_plain_loop():
    # Leap years, a century that is none, and the first years of the calendar.
    serials = np.concatenate(
        [
            np.arange(serial_of(date(year, 1, 1)), serial_of(date(year + 1, 1, 1)) + 2)
            for year in (1, 4, 1899, 1900, 2000)
        ]
    )
    ages = age_in_year(serials, np.full(len(serials), 2015, np.uint16))
    assert ages.tolist() == [age_by_datetime(serial, 2015) for serial in serials]


def test_the_genuine_wiki_ages_equal_those_of_a_plain_loop(shared):
    from scipy.io import loadmat

    wiki = loadmat(shared / "data" / "wiki.mat")["wiki"]
    serials, years = (wiki[name][0, 0].reshape(-1) for name in ("dob", "photo_taken"))
    ages = age_in_year(serials, years)
    assert ages.tolist() == [age_by_datetime(serial, year) for serial, year in zip(serials, years, strict=True)]
    assert (ages.min(), ages.max()) == (-74, 1996)


def test_expected_age_of_a_sure_answer_is_that_age():
    assert labels.expected_age(np.eye(101)).tolist() == list(range(101))


def test_expected_age_weighs_by_probability_and_keeps_the_leading_axes():
    distributions = np.zeros((2, 3, 101), np.float32)
    distributions[..., 20], distributions[..., 60] = 0.75, 0.25
    ages = labels.expected_age(distributions)
    assert ages.shape == (2, 3) and np.all(ages == 30.0)
    assert labels.expected_age(np.full(101, 1 / 101)) == pytest.approx(50)


def test_expected_age_refuses_another_number_of_ages():
    with pytest.raises(ValueError, match=r"has 101 entries here, one for each class; received .* shape \(4, 8\)"):
        labels.expected_age(np.ones((4, 8)))


def test_decades_tile_the_ages_and_decade_of_finds_each():
    covered = [age for low, high in labels.DECADES for age in range(low, high + 1)]
    assert covered == list(range(101))
    for age in range(101):
        low, high = labels.DECADES[labels.decade_of(np.array([age]))[0]]
        assert low <= age <= high


def test_the_gender_order_is_that_of_imdb_wiki():
    assert (labels.FEMALE, labels.MALE, labels.UNKNOWN) == (0, 1, -1)
    assert labels.GENDERS[labels.FEMALE] == "F" and labels.GENDERS[labels.MALE] == "M"
