"""What workers tell of single requests of a rollout: fixed records, from which everything is counted centrally.

One record says what became of one unit's request in one arm. Requests whose unit is not sampled and where nothing happened leave none.
"""

from __future__ import annotations

import enum

import numpy as np

STABLE, CANDIDATE = 0, 1  # arms; further ones of an A/B count up


class Kind(enum.IntEnum):
    """What a record is of."""

    CALL = 0  # a request that was assigned by its unit: `flags`, `latency_s`, `value` are of the arm that it was assigned to
    PAIR = 1  # a request that stable answered and the shadow ran too: `flags`, `latency_s`, `value` are the shadow's, `other*` stable's


class Flag(enum.IntFlag):
    """What happened to it."""

    SERVER_ERROR = (
        1  # internal error, unavailable, late, or inputs that stable's signature has and this one's has not: not the caller's fault
    )
    REJECTED_INPUT = 2  # the version refused what it was asked
    BAD_OUTPUT = 4  # NaN, infinite, or out of the contract's range
    SAMPLED = 8  # its unit is in the sample of those of whom everything is told
    FALLBACK = 16  # stable answered in the end
    AGREES = 32  # of a pair: outputs are the same within the tolerance, and so are classes
    CLASS_CHANGED = 64  # of a pair
    CRASHED = 128  # with SERVER_ERROR: the version's process ended


RECORD = np.dtype(
    [
        ("unit", "<u8"),  # the keyed hash that assigns it
        # From the start of its run to its answer; without a run, from arrival to failure, or NaN; of a pair, the shadow's run.
        ("latency_s", "<f4"),
        ("other_latency_s", "<f4"),
        ("value", "<f4"),  # class or score of the first row; NaN where there is none
        ("other_value", "<f4"),
        ("batch_rows", "<u4"),  # of the run that it was part of
        ("difference", "<f4"),  # of a pair: the largest absolute difference of a score
        ("time_s", "<f8"),  # Unix seconds, the same for all calls of a run
        ("step", "u1"),
        ("arm", "u1"),
        ("kind", "u1"),
        ("slot", "u1"),  # of the rollout in this server's table
        ("flags", "<u2"),
        ("other_flags", "<u2"),
    ]
)
assert RECORD.itemsize == 48
