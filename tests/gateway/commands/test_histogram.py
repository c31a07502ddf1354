"""Histograms of a few characters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.commands.histogram import bars, even


def test_bars_stand_beside_the_highest() -> None:
    """Something is never shown as nothing."""
    assert " ▁▄▅█" == bars([0, 0.001, 3, 4, 7])
    assert ("", "  ") == (bars([]), bars([0, 0]))


def test_bins_of_equal_counts_show_their_density() -> None:
    """Narrow bins are high."""
    assert [10, 10, 5, 5, 5, 5] == pytest.approx(even([0, 1, 2, 6], [10, 10, 20], cells=6))


def test_one_outlier_does_not_hide_the_rest() -> None:
    """The outermost bins of many are left out."""
    edges = [-1e9, *range(20), 1e9]
    assert [2.0] * 4 == pytest.approx([sum(even(edges, [2] * 21)[cell : cell + 4]) / 4.75 for cell in (0, 4, 8, 12)])


@given(st.lists(st.tuples(st.floats(0.01, 9), st.integers(0, 99)), min_size=1, max_size=8))
def test_nothing_is_lost(bins: list[tuple[float, int]]) -> None:
    """Of few bins all are shown."""
    edges = [0.0]
    for width, _ in bins:
        edges.append(edges[-1] + width)
    assert sum(count for _, count in bins) == pytest.approx(sum(even(edges, [count for _, count in bins])), abs=1e-6)
