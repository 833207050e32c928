"""What the labels mean: ages, the gender order, expected age, and how a birth date becomes an age.

Every other file takes these meanings from here, so that no two can disagree.
"""

import numpy as np

MAX_AGE = 100
NUM_AGES = MAX_AGE + 1  # one class a year, 0..100

FEMALE, MALE = 0, 1  # IMDB-WIKI's order, whatever a dataset's own order is
GENDERS = ("F", "M")
NUM_GENDERS = len(GENDERS)

UNKNOWN = -1  # a missing label of any kind: it trains nothing and is scored nowhere

DECADES = tuple((low, low + 9) for low in range(0, MAX_AGE - 10, 10)) + ((MAX_AGE - 10, MAX_AGE),)


def expected_age(probabilities: np.ndarray) -> np.ndarray:
    """Expected age in years under a distribution over the ages 0..100.

    The expectation of the softmax outputs beats their maximum (Rothe et al., "DEX: Deep EXpectation of apparent
    age from a single image", ICCV workshops 2015, section 3.3).

    Args:
        probabilities: (..., 101) float, each row sums to 1.

    Returns:
        (...) float, years in 0..100.

    Raises:
        ValueError: if the last axis does not have 101 entries.
    """
    if probabilities.shape[-1] != NUM_AGES:
        raise ValueError(
            f"an age distribution has {NUM_AGES} entries, one for each age 0..{MAX_AGE}; "
            f"received an array of shape {probabilities.shape}"
        )
    return probabilities @ np.arange(NUM_AGES, dtype=np.float64)


def age_in_year(birth_serials: np.ndarray, years: np.ndarray) -> np.ndarray:
    """Age in the middle of a calendar year, from MATLAB serial birth days.

    The photo is assumed to be taken at mid-year: who was born in July or later has not had a birthday yet.

    Args:
        birth_serials: (n,) numbers, MATLAB's datenum (day 1 is 1 January of year 0). Serials below 367, which
            stand for no date of our calendar, and NaN count as 1 January of year 1.
        years: (n,) integers, the year each photo was taken. WIKI and IMDB store them unsigned.

    Returns:
        (n,) int64, whole years; nonsense dates give nonsense ages, negative ones among them.
    """
    serials = np.nan_to_num(np.asarray(birth_serials, np.float64), nan=0.0).astype(np.int64)
    days = np.maximum(serials - 366, 1) - 1  # days since 0001-01-01
    births = np.datetime64("0001-01-01", "D") + days.astype("timedelta64[D]")
    months = births.astype("datetime64[M]").astype(np.int64) + 1970 * 12  # months since year 0
    birth_years, birth_months = np.divmod(months, 12)
    # Signed before the subtraction: in uint16, 1950 - 1960 is 65526.
    ages = np.asarray(years).astype(np.int64) - birth_years
    return ages - (birth_months >= 6)  # months count from 0: 6 is July


def decade_of(ages: np.ndarray) -> np.ndarray:
    """Index into DECADES of each age: (n,) in years -> (n,) int64. Age 100 belongs to the last one."""
    return np.minimum(np.asarray(ages, np.int64) // 10, len(DECADES) - 1)
