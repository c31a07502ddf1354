"""What runs cost: the line through what was seen, never below zero, not shaken by an interruption, and quick to forget."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.serving.cost import Cost

SECONDS = st.floats(1e-7, 1.0)
RUNS = st.lists(st.tuples(st.integers(0, 4_096), st.floats(0.0, 10.0)), max_size=80)


def learned(*runs: tuple[int, float]) -> Cost:
    cost = Cost()
    for rows, seconds in runs:
        cost.learn(rows, seconds)
    return cost


@settings(max_examples=500)
@given(
    per_row=SECONDS, per_run=SECONDS, sizes=st.lists(st.integers(1, 256), min_size=2, max_size=40).filter(lambda sizes: len(set(sizes)) > 1)
)
def test_a_line_is_found_again(per_row: float, per_run: float, sizes: list[int]) -> None:
    """Runs that cost exactly a * rows + b are predicted exactly, at any size."""
    cost = Cost()
    cost.learn(1, per_row + per_run)
    cost.learn(256, per_row * 256 + per_run)
    for rows in sizes:
        cost.learn(rows, per_row * rows + per_run)
    for rows in (1, 17, 256, 1_000):
        assert per_row * rows + per_run == pytest.approx(cost.predict(rows), rel=1e-3)


@settings(max_examples=500)
@given(RUNS, st.integers(0, 10_000), st.integers(0, 300))
def test_no_run_is_predicted_to_take_less_than_nothing(runs: list[tuple[int, float]], rows: int, limit: int) -> None:
    """Whatever was seen, also runs that were faster the larger they were."""
    cost = learned(*runs)
    assert min(cost.per_run_s, cost.per_row_s, cost.predict(rows), cost.drain_time(rows, limit)) >= 0.0


@settings(max_examples=500)
@given(st.integers(0, 500), st.integers(1, 64))
def test_the_time_to_drain_is_the_sum_of_its_runs(rows: int, limit: int) -> None:
    """Full runs and a last one that is not; without batching every row is a run."""
    cost = learned((1, 0.003), (11, 0.013))
    sizes = [limit] * (rows // limit) + [rows % limit] * (rows % limit > 0)
    assert sum(cost.predict(size) for size in sizes) == pytest.approx(cost.drain_time(rows, limit))
    assert rows * cost.predict(1) == pytest.approx(cost.drain_time(rows, 0))


def test_runs_of_one_size_say_nothing_of_the_slope() -> None:
    """All of it is put down to the run, so that a larger one is not overestimated."""
    cost = learned((8, 0.01), (8, 0.03))
    assert (0.0, 0.02) == pytest.approx((cost.per_row_s, cost.predict(100)), rel=0.02)


def test_an_interrupted_run_changes_little() -> None:
    """The process was stopped for 10 s in one of many runs of 1 ms."""
    cost = learned(*[(4, 1e-3)] * 40, (4, 10.0))
    assert cost.predict(4) < 1.2e-3


def test_what_is_new_counts_more() -> None:
    """A model that became ten times slower is believed after some hundred runs."""
    cost = learned(*[(4, 1e-3)] * 500, *[(4, 1e-2)] * 150)
    assert 1e-2 == pytest.approx(cost.predict(4), rel=0.1)


def test_nothing_is_known_before_the_first_run() -> None:
    """0 seconds."""
    assert (0.0, 0.0) == (Cost().predict(100), Cost().drain_time(100, 8))
