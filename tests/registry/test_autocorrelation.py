"""The autocorrelation time: known where it is known, and never small where neighbouring rows are alike."""

from __future__ import annotations

import numpy as np
import pytest

from registry.autocorrelation import autocorrelation_time, category_autocorrelation_time

ROWS = 20_000


def autoregressive(random, rho, rows=ROWS):
    """A stationary normal series with correlation rho ** lag."""
    series, noise = np.empty(rows), random.normal(size=rows)
    series[0] = noise[0]
    for i in range(1, rows):
        series[i] = rho * series[i - 1] + (1 - rho**2) ** 0.5 * noise[i]
    return series


@pytest.mark.parametrize(("rho", "expected"), [(0.5, 3.0), (0.9, 19.0), (0.98, 99.0)])
def test_an_autoregressive_series_has_the_time_of_the_textbook(rho, expected) -> None:
    """(1 + ρ) / (1 − ρ), or a little less: within 3 in 10, in the mean of ten."""
    random = np.random.default_rng(1)
    found = np.mean([autocorrelation_time(autoregressive(random, rho)) for _ in range(10)])
    assert expected == pytest.approx(found, rel=0.3)


def test_independent_rows_have_one() -> None:
    """Whatever their distribution; at most a few of a hundred series look a little dependent."""
    random = np.random.default_rng(2)
    makers = (random.normal, random.standard_cauchy, lambda size: random.integers(0, 3, size), lambda size: random.random(size) < 0.01)
    found = np.array([autocorrelation_time(make(size=3000)) for make in makers for _ in range(25)])
    assert (found == 1.0).mean() > 0.9
    assert found.max() < 1.6


def test_any_monotone_unit_gives_the_same() -> None:
    """Ranks stand for values."""
    series = autoregressive(np.random.default_rng(3), 0.8)
    assert autocorrelation_time(series) == autocorrelation_time(np.exp(3 * series))


def test_bursts_of_one_client_count_as_long_as_they_are() -> None:
    """50 rows of a client with a level of its own, of half the variance; 50 rows that only differ in spread; bursts of missing values."""
    random = np.random.default_rng(4)
    clients = np.repeat(random.normal(size=ROWS // 50), 50)
    level = clients + random.normal(size=ROWS)
    spread = np.exp(clients) * random.normal(size=ROWS)
    missing = np.where(clients > 1.5, np.nan, random.normal(size=ROWS))
    assert 20 < autocorrelation_time(level) < 40
    assert autocorrelation_time(spread) > 10
    assert autocorrelation_time(missing) > 30


def test_a_daily_cycle_counts_with_its_half_periods() -> None:
    """Its long-run variance is 0; what it does to a count of half a day is not."""
    random = np.random.default_rng(5)
    time = np.arange(ROWS)
    found = autocorrelation_time(0.5 * np.sin(2 * np.pi * time / 4800) + random.normal(size=ROWS))
    assert found > 40


def test_a_trend_and_a_random_walk_are_very_dependent() -> None:
    """Long memory gives a large number rather than a wrong small one."""
    random = np.random.default_rng(6)
    assert autocorrelation_time(np.arange(ROWS) / ROWS + random.normal(size=ROWS)) > 50
    assert autocorrelation_time(np.cumsum(random.normal(size=ROWS))) > 1000


def test_shuffled_rows_have_lost_it() -> None:
    """As documented."""
    random = np.random.default_rng(7)
    assert autocorrelation_time(random.permutation(autoregressive(random, 0.9))) < 1.3


@pytest.mark.parametrize(
    "values",
    [[], [1.0], [2.0] * 500, [np.nan] * 500, [1e300] * 40, [np.inf] * 40, [np.inf, -np.inf, np.nan, 0.0] * 3],
    ids=["none", "one", "constant", "missing", "huge", "infinite", "few"],
)
def test_what_has_nothing_to_say_has_one(values) -> None:
    """Without a warning, which would be an error here."""
    assert 1.0 == autocorrelation_time(np.array(values))


def test_infinities_are_ranked() -> None:
    """Bursts of infinity are bursts."""
    random = np.random.default_rng(8)
    bursts = np.repeat(random.random(ROWS // 50) < 0.3, 50)
    assert autocorrelation_time(np.where(bursts, np.inf, random.normal(size=ROWS))) > 20


def test_categories_have_one_too() -> None:
    """Independent codes 1; codes that come in runs of 30 about that."""
    random = np.random.default_rng(9)
    codes = random.integers(0, 12, ROWS)
    assert category_autocorrelation_time(codes) < 1.3
    assert 20 < category_autocorrelation_time(np.repeat(codes[: ROWS // 30], 30)) < 45
    assert 1.0 == category_autocorrelation_time(np.array([], np.int64))
