"""Counts of numbers against plain loops: bitwise for counts, 1e-12 of the sum of absolute values for sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import binning
from tests import naive

ODD = (
    0.0,
    -0.0,
    np.inf,
    -np.inf,
    np.nan,
    1e-45,
    -1e-45,
    3.4028234663852886e38,
    -3.4028234663852886e38,
    5e-324,
    1.7976931348623157e308,
    -1e300,
)


class State:
    """What `count` is given of features with these edges, and adds to."""

    def __init__(self, edges: Sequence[Sequence[float]], kind: Any, *, means: Sequence[float], segments: int = 1) -> None:
        most = max(map(len, edges))
        features = len(edges)
        self.edges = [[float(kind(edge)) for edge in row] for row in edges]
        self.slots = -(-(most + 4) // 8) * 8
        self.thresholds = np.full((features, -(-(most + 2) // binning.THRESHOLDS_ABREAST) * binning.THRESHOLDS_ABREAST), np.inf, kind)
        for row, values in zip(self.thresholds, self.edges, strict=True):
            row[: len(values) + 2] = [-np.inf, *values, np.finfo(kind).max]
        self.places = np.array([[column, len(row)] for column, row in enumerate(edges)])
        self.means = np.array(means, np.float64)
        self.counts = np.zeros((segments, features, self.slots), np.int64)
        self.sums = np.zeros((6, features))
        self.extremes = np.array([[np.inf] * features, [-np.inf] * features])

    def count(self, values: np.ndarray, segments: np.ndarray | None = None, *, by: Any = binning.count) -> None:
        """Add a batch."""
        divided = np.empty(0, np.int64) if segments is None else segments
        by(values, self.places, self.thresholds, self.means, divided, self.counts, self.sums, self.extremes)

    def check(self, values: np.ndarray, segments: Sequence[int] | None = None) -> None:
        """Everything is what plain loops say of these rows, each counted once."""
        for f, edges in enumerate(self.edges):
            column = [float(value) for value in values[:, self.places[f, 0]]]
            expected = np.zeros((len(self.counts), self.slots), np.int64)
            for row, value in enumerate(column):
                expected[segments[row] if segments is not None else 0, naive.numeric_slot(value, edges, self.slots)] += 1
            assert expected.tolist() == self.counts[:, f].tolist()
            finite = [value for value in column if np.isfinite(value)]
            assert [min(finite, default=np.inf), max(finite, default=-np.inf)] == self.extremes[:, f].tolist()
            sums = naive.drift_sums(column, self.means[f], edges)
            for sum_, scale, actual in zip(sums, naive.drift_scales(column, self.means[f], edges), self.sums[:, f], strict=True):
                assert abs(sum_ - actual) <= 1e-12 * scale + 5e-324


@st.composite
def cases(draw: st.DrawFn) -> tuple[State, np.ndarray, np.ndarray | None]:
    """Features with their own numbers of bins, rows that often meet edges and odd numbers, perhaps divided into segments."""
    kind = draw(st.sampled_from((np.float32, np.float64)))
    seed = np.random.default_rng(draw(st.integers(0, 2**32)))
    features, segments = draw(st.integers(1, 20)), draw(st.sampled_from((1, 1, 3)))
    rows = draw(st.sampled_from((0, 1, 2, 5, 6, 7, 8, 31, 32, 33, 64, 255, 256, 257, 300)) | st.integers(0, 600))
    scale, shift = 10.0 ** draw(st.integers(-6, 6)), draw(st.sampled_from((0.0, 1.0, 1e4)))
    edges = [np.unique((seed.normal(size=draw(st.integers(2, 40))) * scale + shift).astype(kind)) for _ in range(features)]
    edges = [row if len(row) > 1 else np.array([row[0], np.nextafter(row[0], kind(np.inf))]) for row in edges]
    state = State(edges, kind, means=[float(row.mean()) for row in edges], segments=segments)
    values = (seed.normal(size=(rows, features)) * scale * draw(st.sampled_from((0.2, 1.0, 5.0))) + shift).astype(kind)
    share = draw(st.sampled_from((0.0, 0.0, 0.1, 0.9)))
    with np.errstate(over="ignore"):
        odd = np.array(ODD).astype(kind)
    for f, row in enumerate(edges):
        common = np.concatenate((odd, row, np.nextafter(row, kind(np.inf)), np.nextafter(row, kind(-np.inf))))
        chosen = seed.random(rows) < share
        values[chosen, f] = seed.choice(common, chosen.sum())
    return state, values, seed.integers(0, segments, rows) if segments > 1 else None


@settings(max_examples=500, deadline=None)
@given(cases(), st.data())
def test_counts_sums_and_extremes_are_those_of_plain_loops(case: tuple[State, np.ndarray, np.ndarray | None], data: st.DataObject) -> None:
    """Whatever the rows are, and however they are cut into batches."""
    state, values, segments = case
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=3)))
    for begin, end in zip([0, *cuts], [*cuts, len(values)], strict=True):
        state.count(values[begin:end], None if segments is None else segments[begin:end])
    state.check(values, None if segments is None else segments.tolist())


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [3, 400])
def test_strides_do_not_matter(kind: Any, rows: int) -> None:
    """Every other row, columns in reverse, a transposed array, rows that repeat, and arrays that may only be read."""
    table = np.random.default_rng(1).normal(size=(2 * rows, 10)).astype(kind)
    read_only = table.copy()
    read_only.flags.writeable = False
    for values in (table[::2], table[:, ::-1], np.asfortranarray(table), np.broadcast_to(table[:1], (rows, 10)), read_only):
        state = State([np.linspace(-2, 2, 9).tolist()] * 10, kind, means=[0.0] * 10)
        state.count(values)
        state.check(values)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [4, 300])
def test_columns_are_chosen_and_missing_ones_are_passed_over(kind: Any, rows: int) -> None:
    """Features need not be all columns, nor in order; one that the batch is too narrow for stays as it was."""
    values = np.random.default_rng(2).normal(size=(rows, 30)).astype(kind)
    state = State([np.linspace(-2, 2, 9).tolist()] * 18, kind, means=[0.0] * 18)
    state.places[:, 0] = [29, 3, 3, *range(10, 25)]
    state.count(values)
    state.check(values)
    narrow = State([np.linspace(-2, 2, 9).tolist()] * 2, kind, means=[0.0] * 2)
    narrow.places[:, 0] = [1, 2]
    narrow.count(values[:, :2])
    assert [rows, 0] == narrow.counts.sum(axis=(0, 2)).tolist()
    assert np.inf == narrow.extremes[0, 1]
    assert not narrow.sums[:, 1].any()
    narrow.count(values[:, :0])
    assert rows == narrow.counts.sum()


@pytest.mark.parametrize(("kind", "inline"), [(np.float32, binning.count_float32), (np.float64, binning.count_float64)])
def test_the_inline_kernels_count_the_same(kind: Any, inline: Any) -> None:
    """One and the same work, with the GIL kept."""
    for rows in (1, 100):
        values = np.random.default_rng(3).normal(size=(rows, 5)).astype(kind)
        state = State([np.linspace(-2, 2, 33).tolist()] * 5, kind, means=[0.1] * 5)
        state.count(values, by=inline)
        state.check(values)


@pytest.mark.parametrize("rows", [2, 50, 1000])
def test_values_at_the_end_of_the_range_never_overflow_a_sum(rows: int) -> None:
    """Deviations beyond 1e70 count as that; a mean of what is left stays finite."""
    values = np.full((rows, 2), [1.7e308, -1.7e308])
    state = State([[-1.0, 1.0], [-1.7e308, 1.7e308]], np.float64, means=[0.0, 0.0])
    state.count(values)
    state.check(values)
    assert np.isfinite(state.sums).all()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_sums_about_a_distant_mean_keep_their_digits(kind: Any) -> None:
    """Deviations are taken value by value before anything is added, so a mean of a million spoils no fourth power."""
    values = (1e6 + np.random.default_rng(4).normal(size=(500, 3))).astype(kind)
    state = State([[1e6 - 10, 1e6, 1e6 + 10]] * 3, kind, means=[float(values[:, f].astype(np.float64).mean()) for f in range(3)])
    state.count(values)
    state.check(values)


@settings(max_examples=500, deadline=None)
@given(cases(), st.permutations(range(4)))
def test_blocks_in_any_order_add_up_to_one(case: tuple[State, np.ndarray, np.ndarray | None], order: list[int]) -> None:
    """Four workers with a quarter of the rows each: counts and extremes are those of one, bit for bit."""
    state, values, segments = case
    quarters = [State(state.edges, state.thresholds.dtype.type, means=state.means.tolist(), segments=len(state.counts)) for _ in range(4)]
    for number, quarter in enumerate(quarters):
        quarter.count(np.ascontiguousarray(values[number::4]), None if segments is None else segments[number::4].copy())
    for number in order:
        state.counts += quarters[number].counts
        state.sums += quarters[number].sums
        state.extremes[0] = np.minimum(state.extremes[0], quarters[number].extremes[0])
        state.extremes[1] = np.maximum(state.extremes[1], quarters[number].extremes[1])
    state.check(values, None if segments is None else segments.tolist())
