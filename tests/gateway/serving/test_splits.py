"""Assignment of units: exact weights, sticky, monotone, independent of process and transport."""

from __future__ import annotations

import math
import subprocess
import sys
from hashlib import blake2b

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gateway.serving.splits import STABLE, WEIGHT_UNITS, Arm, Assigner, Split, limit_of, mixed

SALT = "000102030405060708090a0b0c0d0e0f"
weights = st.integers(0, WEIGHT_UNITS)


def split(*shares: int, salt: str = SALT, sources: tuple[str, ...] = ("header:X-User-Id", "parameter:user")) -> Split:
    arms = tuple([Arm(f"arm{index}", index + 2, weight) for index, weight in enumerate(shares)])
    return Split(rollout="r", model="m", slot=0, step=0, mode="canary", salt=salt, stable=1, arms=arms, sources=sources)


def assigner(*shares: int, salt: str = SALT) -> Assigner:
    return Assigner(split(*shares, salt=salt), lambda: 7)


def test_a_hash_is_what_the_documentation_says() -> None:
    """Anybody can compute it."""
    text = b"\1\0\0\0m" + b"\x09\0\0\0x-user-id" + b"\5\0\0\0alice"
    expected = int.from_bytes(blake2b(text, digest_size=8, key=bytes.fromhex(SALT)).digest(), "little")
    assert expected == assigner(500).hashed("x-user-id", b"alice")


def test_weights_are_exact_over_a_million_units() -> None:
    """Within 4 binomial standard deviations, at weights down to the resolution."""
    deciding = assigner(0)
    units = np.array([deciding.hashed("x-user-id", b"%d" % index) for index in range(1_000_000)], np.uint64)
    for weight in (1, 10, 500, 2_500, 5_000, 9_999):
        share = weight / WEIGHT_UNITS
        found = int((units < np.uint64(limit_of(share))).sum())
        assert abs(found - 1e6 * share) < 4 * math.sqrt(1e6 * share * (1 - share)), weight


@given(st.binary(min_size=1, max_size=20), weights, weights)
def test_raising_the_weight_moves_no_one_back(unit: bytes, one: int, other: int) -> None:
    """Whoever is the candidate's stays so, and at 0 and 1 nobody is elsewhere."""
    low, high = sorted((one, other))
    hashed = assigner(low).hashed("x-user-id", unit)
    assert assigner(low).arm(hashed) <= assigner(high).arm(hashed)
    assert (0, 1) == (assigner(0).arm(hashed), assigner(WEIGHT_UNITS).arm(hashed))


@given(st.integers(0, 2**64 - 1), st.integers(0, 3_000), st.integers(0, 3_000), st.integers(0, 3_000))
def test_raising_one_of_several_weights_brings_no_one_back(unit: int, first: int, second: int, more: int) -> None:
    """Rendezvous hashing."""
    before, after = assigner(first, second).arm(unit), assigner(first, second + more).arm(unit)
    assert after in {0: (0, 1, 2), 1: (1, 2), 2: (2,)}[before]


def test_several_arms_have_their_shares() -> None:
    """Within 4 binomial standard deviations; what the arms leave is stable's."""
    deciding = assigner(1_000, 2_500)
    found = np.bincount([deciding.arm(mixed(index, 3)) for index in range(50_000)], minlength=3)
    for count, share in zip(found, (0.65, 0.1, 0.25), strict=True):
        assert abs(count - 5e4 * share) < 4 * math.sqrt(5e4 * share * (1 - share))


def test_another_salt_assigns_others() -> None:
    """Nobody is the guinea pig of every rollout: two rollouts assign independently."""
    one, other = assigner(5_000), assigner(5_000, salt="ff" * 16)
    both = [one.arm(one.hashed("x-user-id", b"%d" % index)) + other.arm(other.hashed("x-user-id", b"%d" % index)) for index in range(4_000)]
    assert abs(both.count(2) - 1_000) < 4 * math.sqrt(4_000 * 0.25 * 0.75)


class Headers(dict[bytes, bytes]):
    """A request that has nothing else."""

    def header(self, name: bytes) -> bytes | None:
        return self.get(name)


def test_a_unit_is_the_same_in_headers_and_metadata_and_the_first_source_counts() -> None:
    """And an empty value is none."""
    deciding = Assigner(split(500, sources=("metadata:x-user-id", "parameter:user")), lambda: 7)
    alice = assigner(500).hashed("x-user-id", b"alice")
    assert alice == deciding.unit(Headers({b"te": b"trailers", b"x-user-id": b"alice"}), {"user": b"bob"})
    assert deciding.hashed("user", b"bob") == deciding.unit(Headers({b"x-user-id": b""}), {"user": b"bob"})
    assert 7 == deciding.unit(Headers({}), {})


def test_nothing_of_a_text_runs_into_the_next() -> None:
    """Two models and units whose texts joined are the same are two."""
    one = Assigner(split(500, sources=("parameter:ab",)), lambda: 7).hashed("ab", b"c")
    other = Assigner(split(500, sources=("parameter:a",)), lambda: 7).hashed("a", b"bc")
    assert one != other


def test_another_process_assigns_alike() -> None:
    """No state and no seed of the process comes in."""
    code = (
        "from gateway.serving.splits import *;"
        f"s = Split(rollout='r', model='m', slot=0, step=0, mode='canary', salt='{SALT}', stable=1,"
        "arms=(Arm('a', 2, 500),), sources=('header:x-user-id',));"
        "print([Assigner(s, int).hashed('x-user-id', b'%d' % i) for i in range(20)])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == str([assigner(500).hashed("x-user-id", b"%d" % index) for index in range(20)])


def test_the_sample_is_independent_of_the_arm() -> None:
    """Another hash of the unit decides about it."""
    deciding = assigner(5_000)
    units = [deciding.hashed("x-user-id", b"%d" % index) for index in range(20_000)]
    sampled = [unit for unit in units if mixed(unit) < limit_of(0.1)]
    assert abs(len(sampled) - 2_000) < 4 * math.sqrt(2e4 * 0.09)
    canaries = sum(deciding.arm(unit) != STABLE for unit in sampled)
    assert abs(canaries - len(sampled) / 2) < 4 * math.sqrt(len(sampled) / 4)
