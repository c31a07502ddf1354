"""The set of units: as a dictionary, whatever its size, and thinned without ever calling a unit new again."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kernels import units
from tests import naive_rollouts as naive

EVERYBODY = 2**64 - 1
UNIT = st.integers(0, 12) | st.integers(0, EVERYBODY).filter(lambda unit: unit != int(units.STAND_IN))
RECORDS = st.lists(st.tuples(UNIT, st.integers(0, 15)), max_size=60)


def new_set(slots=256):
    return np.zeros(slots, np.uint64), np.zeros(slots, np.uint32)


def mark(records, kept, limit=EVERYBODY):
    fresh = np.zeros(len(records), np.uint32)
    numbers, marks = np.array([unit for unit, _ in records], np.uint64), np.array([marks for _, marks in records], np.uint32)
    counts = units.mark(numbers, marks, limit, *kept, fresh)
    return fresh.tolist(), counts


@given(RECORDS, RECORDS)
def test_marks_are_new_once_for_each_unit(first, second) -> None:
    """Over two calls; 0 and the largest hash are units like others."""
    kept = new_set()
    found = mark(first, kept)[0] + mark(second, kept)[0]
    assert naive.fresh_marks(first + second, int(units.FIRST)) == found


@given(RECORDS, st.integers(0, EVERYBODY))
def test_a_thinned_set_never_calls_a_unit_new_twice(records, limit) -> None:
    """What is kept is known in the new set as in the old; what is above the limit is passed over from then on."""
    kept, thinner = new_set(), new_set(512)
    _, (added, _) = mark(records, kept)
    moved = units.move(*kept, limit, *thinner)
    fresh, (new, passed_over) = mark(records, thinner, limit)
    assert (0, moved) == (new, len({unit for unit, _ in records}) - len({unit for unit, _ in records if not keeps(unit, limit)}))
    assert [0] * len(records) == fresh
    assert sum(not keeps(unit, limit) for unit, _ in records) == passed_over
    assert moved <= added == len({unit for unit, _ in records})


def keeps(unit, limit):
    """Whether a fresh set with this limit takes the unit."""
    return mark([(unit, 1)], new_set(2), limit)[1][0] == 1


def test_about_half_of_all_units_are_within_half_of_the_limit_whichever_arm_they_are_in() -> None:
    """The second hash says nothing about the first."""
    hashes = np.random.default_rng(1).integers(0, EVERYBODY, 40_000, np.uint64, endpoint=True)
    for part in (hashes[hashes < 2**63], hashes[hashes >= 2**63]):
        _, passed_over = units.mark(part, np.ones(len(part), np.uint32), 2**63, *new_set(1 << 17), np.zeros(len(part), np.uint32))
        assert abs(passed_over / len(part) - 0.5) < 0.02
