"""The detection bench: streams are what they say, fast forms of others' rules are the rules, and bars are judged from what was measured."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from benchmarks import detect, drift_alarms, drift_streams
from kernels.evidence import log_any


@pytest.fixture(scope="module")
def stream():
    return next(iter(drift_streams.streams(3, "test", 1, "independent", 2_000)))


@pytest.mark.parametrize("kind", drift_streams.KINDS)
def test_every_series_has_mean_0_and_deviation_1(kind):
    """Over 400,000 rows, within what their dependence allows; so do changes that keep both."""
    random = np.random.default_rng(1)
    series = drift_streams.KINDS[kind](random, 400_000)
    assert (pytest.approx(0, abs=0.05), pytest.approx(1, abs=0.05)) == (series.mean(), series.std())
    for change in (drift_streams.bimodal, drift_streams.heavy_tailed):
        changed = change(random, random.standard_normal(100_000))
        assert (pytest.approx(0, abs=0.03), pytest.approx(1, abs=0.03)) == (changed.mean(), changed.std())


def test_counts_are_cumulative_and_reference_bins_are_even(stream):
    """The last look has every row; of 20,000 reference rows each bin has 625 and the tails none."""
    cumulative = stream.cumulative()
    assert (21, 34) == cumulative.shape
    assert np.array_equal(cumulative[-1], drift_streams.slots_of(stream.live, stream.edges))
    assert np.array_equal(cumulative[7], drift_streams.slots_of(stream.live[:700], stream.edges))
    assert [0.0, *[625.0] * 32, 0.0] == stream.counts.tolist()
    assert 20_001 == stream.gaps.sum()


def test_a_stream_depends_on_its_seed_name_and_place_alone(stream):
    """So a subsample of streams is a part of the whole."""
    (first, second) = drift_streams.streams(3, "test", 2, "independent", 2_000)
    assert np.array_equal(stream.live, first.live)
    assert not np.array_equal(first.live, second.live)
    (other,) = drift_streams.streams(4, "test", 1, "independent", 2_000)
    assert not np.array_equal(first.live, other.live)


def test_a_change_begins_where_it_is_told_to():
    """Rows before it are those of the clean stream."""
    (clean,) = drift_streams.streams(3, "test", 1, "independent", 2_000)
    (changed,) = drift_streams.streams(3, "test", 1, "independent", 2_000, change=drift_streams.shifted(0.5), after=1_500)
    assert np.array_equal(clean.live[:1_500], changed.live[:1_500])
    assert np.allclose(clean.live[1_500:] + 0.5, changed.live[1_500:])


def test_the_rules_of_others_are_scipys(stream):
    """KS on all rows so far and on windows, decided as scipy's p-value decides."""
    drift_alarms.check()
    expected = [stats.ks_2samp(stream.live[:rows], stream.reference, method="asymp").pvalue < 0.05 for rows in range(100, 2_001, 100)]
    assert expected == drift_alarms.ks_cumulative(stream).tolist()
    windows = [stats.ks_2samp(window, stream.reference, method="asymp").pvalue < 0.05 for window in stream.live.reshape(2, 1_000)]
    assert windows == drift_alarms.ks_windows(stream).tolist()
    assert (4,) == drift_alarms.psi_windows(stream).shape


def test_paths_are_what_the_kernels_say_at_each_look(stream):
    """And the first look that reaches a level is counted in rows."""
    path = drift_alarms.log_e_any(stream, 1.0)
    assert path[4] == log_any(drift_streams.slots_of(stream.live[:500], stream.edges), stream.gaps, 1.0)
    assert 20 == len(drift_alarms.detector(stream))
    assert 1 == len(drift_alarms.detector(stream, until=-math.inf))
    assert [200.0, math.inf] == [drift_alarms.first(np.array([0.0, 3.0, 1.0]), level) for level in (2.0, 4.0)]


def test_hours_find_a_day_that_is_not_like_the_others():
    """Bets by hour on a daily cycle: silent without a change, loud after a large one."""
    (clean,) = drift_streams.streams(3, "test", 1, "daily", 20_000)
    (changed,) = drift_streams.streams(3, "test", 1, "daily", 20_000, change=drift_streams.shifted(1.0))
    assert drift_alarms.by_hour(clean).max() < math.log(20) < drift_alarms.by_hour(changed).max()


def test_delays_are_counted_from_the_change():
    """Streams that alarmed before it are left out and said; none at all has no median."""
    found = detect.delays_after([math.inf, 10_300.0, 10_100.0, 4_000.0])
    assert (3, 1, 300.0, None) == (found["streams"], found["too_soon"], found["median_rows"], found["p90_rows"])
    assert detect.delays_after([1.0]) == {"streams": 0, "alarmed": 0.0, "median_rows": None, "too_soon": 1}


def measured(ours, peers):
    return {name: {change: {"median_rows": rows} for change in detect.AFTER_QUIET} for name, rows in {"tidegate": ours, **peers}.items()}


def test_a_shift_is_held_against_the_best_and_the_rest_against_each():
    """One that never alarms is given the horizon; one that could not be installed takes the value of its bars."""
    found = {
        bar["name"]: (bar["value"], bar["holds"])
        for bar in detect.delay_bars(measured(500, {"ADWIN": 400, "PageHinkley": 300, "KSWIN": None}))
    }
    assert (pytest.approx(1.6667, abs=1e-3), True) == found["delay_mean_0.25_vs_best"]
    assert [(1.25, False), (0.05, True)] == [found["delay_sd_1.25_vs_ADWIN"], found["delay_sd_1.25_vs_KSWIN"]]
    missing = {bar["name"]: (bar["value"], bar["holds"]) for bar in detect.delay_bars(measured(500, {}))}
    assert {(None, False)} == set(missing.values())
    silent = detect.delay_bars(measured(None, {"ADWIN": 400, "PageHinkley": 300, "KSWIN": None}))
    assert not any(bar["holds"] for bar in silent)
