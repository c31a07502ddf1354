"""Delays of labels are counted under the first bound that they do not pass."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gateway.observe.page import Family
from gateway.quality.delays import BOUNDS_S, Delays


@given(st.lists(st.lists(st.integers(-10_000_000, 10_000_000_000_000))))
def test_each_bound_has_what_is_not_longer(parts: list[list[int]]) -> None:
    """However they come; the last has all of them."""
    delays = Delays()
    for part in parts:
        delays.add(np.array(part, np.int64))
    seconds = [max(delay, 0) / 1e6 for part in parts for delay in part]
    *counts, total = delays.values("m")
    expected = [sum(second <= bound for second in seconds) for bound in (*BOUNDS_S, np.inf)]
    assert expected == [count for _, count in counts]
    assert np.isclose(sum(seconds), total[1])


def test_the_page_has_buckets_a_count_and_a_sum() -> None:
    """As Prometheus reads a histogram."""
    delays = Delays()
    delays.add(np.array([500_000, 20_000_000]))
    text = Family("tidegate_label_delay_seconds", "histogram", "x", ("model",)).text(dict(delays.values("m")))
    assert 'tidegate_label_delay_seconds_bucket{le="1.0",model="m"} 1.0\n' in text
    assert text.endswith(
        'tidegate_label_delay_seconds_bucket{le="+Inf",model="m"} 2.0\ntidegate_label_delay_seconds_count{model="m"} 2.0\n'
        'tidegate_label_delay_seconds_sum{model="m"} 20.5\n'
    )
