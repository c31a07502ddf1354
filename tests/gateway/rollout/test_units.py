"""The set of units: as a set, saved and restored, and thinned alike for everybody once it is full."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rollout.units import FIRST, Units
from kernels.units import STAND_IN
from tests import naive_rollouts as naive

UNIT = st.integers(0, 40) | st.integers(0, 2**64 - 1).filter(lambda unit: unit != int(STAND_IN))
RECORDS = st.lists(st.tuples(UNIT, st.integers(1, 7)), max_size=50)


def mark(kept, records):
    return kept.mark(np.array([unit for unit, _ in records], np.uint64), np.array([marks for _, marks in records], np.uint32)).tolist()


@given(RECORDS, RECORDS)
def test_marks_are_new_once_over_saving_and_restoring(first, second) -> None:
    """What was marked before the document is known after it."""
    kept = Units()
    before = mark(kept, first)
    again = Units()
    again.put(*kept.taken(), kept.limit, kept.passed_over)
    assert naive.fresh_marks(first + second, int(FIRST)) == before + mark(again, second)
    assert (kept.count, 1.0) == (len({unit for unit, _ in first}), kept.share)


def test_marks_that_are_forgotten_are_new_again_and_units_are_not() -> None:
    """As at the begin of a step."""
    kept = Units()
    mark(kept, [(7, 3)])
    kept.forget(2)
    assert [2, 0] == mark(kept, [(7, 3), (7, 3)])


def test_a_full_set_is_thinned_and_no_unit_is_new_twice() -> None:
    """A hundred times as many units as there is room for, each twice: those that still count are a share of both halves of all hashes."""
    kept, random = Units(most=1000), np.random.default_rng(1)
    units = random.integers(0, 2**64 - 1, 100_000, np.uint64, endpoint=True)
    first = kept.mark(units, np.ones(len(units), np.uint32))
    assert kept.count <= 1000
    assert 1 / 512 <= kept.share <= 1 / 64
    assert not kept.mark(units, np.ones(len(units), np.uint32)).any()
    late = units[50_000:], first[50_000:] != 0
    shares = [late[1][(late[0] < 2**63) == half].mean() for half in (True, False)]
    assert shares[0] == pytest.approx(shares[1], abs=4 * np.sqrt(shares[1] / 25_000))
    assert kept.passed_over > 0


@pytest.mark.parametrize("broken", [(b"\x01" * 8, b"", 5), (b"\x01" * 16, b"\x01" * 8, 5), (b"\0" * 8, b"\0" * 4, 5), (b"", b"", -1)])
def test_what_is_no_set_is_refused(broken) -> None:
    """Marks of no units, a unit twice, the empty place as a unit, an impossible limit."""
    with pytest.raises(ValueError, match="no set"):
        Units().put(*broken, 0)
