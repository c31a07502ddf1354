"""Which requests are refused after they ended processes, and for how long."""

from __future__ import annotations

import pytest

from gateway.serving.quarantine import Quarantine
from gateway.serving.restarts import Restarts


class Clock:
    time = 0.0

    def now(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    """At zero."""
    return Clock()


def test_the_second_kill_quarantines_for_a_time(clock: Clock) -> None:
    """The first may have been another's fault; afterwards it is as if nothing had been."""
    table = Quarantine("m/1", clock.now, kept_s=10)
    assert not table
    table.add(b"a")
    assert table
    assert not table.refuses(b"a")
    clock.time = 4
    table.add(b"a")
    table.add(b"b", 2)
    assert table.refuses(b"a")
    assert table.refuses(b"b")
    assert (2, 2) == (len(table), table.refused)
    clock.time = 14
    assert not table.refuses(b"a")
    assert (0, False) == (len(table), bool(table))


def test_the_table_is_bounded_and_forgets_the_oldest(clock: Clock) -> None:
    """Whoever floods it with poison gains no memory."""
    table = Quarantine("m/1", clock.now, entries_max=3)
    for name in (b"a", b"b", b"c", b"d"):
        table.add(name, 2)
    assert [False, True, True, True] == [table.refuses(name) for name in (b"a", b"b", b"c", b"d")]


def test_a_fingerprint_is_of_version_shapes_and_every_byte(clock: Clock) -> None:
    """Texts do not run into each other; a request known by a view of its bytes is the same."""
    table, other = Quarantine("m/1", clock.now), Quarantine("m/2", clock.now)
    made = [
        table.fingerprint(((2,),), (b"abcd",)), table.fingerprint(((1,),), (b"abcd",)), table.fingerprint(((2,),), (b"abce",)),
        table.fingerprint(((2,),), (["ab", "c"],)), table.fingerprint(((2,),), (["a", "bc"],)), other.fingerprint(((2,),), (b"abcd",)),
    ]  # fmt: skip
    assert len(made) == len(set(made))
    assert made[0] == table.fingerprint(((2,),), (memoryview(b"abcd"),))


def test_restarts_are_free_at_first_then_ever_later_and_free_again_after_an_answer() -> None:
    """Up to the longest wait."""
    restarts = Restarts(free=2, first_s=1, longest_s=5)
    waits = []
    for _ in range(7):
        restarts.lost(100.0)
        waits.append(restarts.wait_s(100.0))
    assert [0, 0, 1, 2, 4, 5, 5] == waits
    assert 2 == restarts.wait_s(103.0)
    assert 0 == restarts.wait_s(200.0)
    restarts.answered()
    restarts.lost(300.0)
    assert 0 == restarts.wait_s(300.0)


def test_a_start_that_fails_waits_at_once() -> None:
    """It is no request's fault."""
    restarts = Restarts(free=8, first_s=1)
    restarts.failed(0.0)
    assert 1 == restarts.wait_s(0.0)
    restarts.failed(1.0)
    assert 2 == restarts.wait_s(1.0)
