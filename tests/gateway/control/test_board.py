"""Who takes the next connection, decided by shared counts and doorbells, without a socket."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.balance import DEAF_S, Balance
from gateway.control.board import ABSENT, Board, answer


@pytest.fixture
def board() -> Iterator[Board]:
    made = Board.create(3)
    yield made
    made.close()


class Now:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def rung(bell: int) -> bool:
    """Whether somebody rang; it is silent afterwards."""
    try:
        os.read(bell, 8)
    except BlockingIOError:
        return False
    return True


def workers(board: Board, now: Now, count: int) -> list[Balance]:
    made = [Balance(board, place, now) for place in range(count)]
    for one in made:
        one.begin()
    return made


def test_a_page_tells_the_others_and_wakes_them(board: Board) -> None:
    """Not the one who wrote; a bell that rings already rings once."""
    for bell in board.bells:
        answer(bell)
    board.enter(1, 5)
    board.enter(1, 6)
    assert (6, ABSENT, [True, False, True]) == (board.connections(1), board.connections(0), [rung(bell) for bell in board.bells])
    assert [False, False, False] == [rung(bell) for bell in board.bells]


def test_nobody_takes_connections_before_it_begins_or_after_it_has_ended(board: Board) -> None:
    """Whatever the counts say."""
    one = Balance(board, 0, Now())
    assert not one.may_accept()
    one.begin()
    assert one.may_accept()
    one.end()
    assert not one.may_accept()
    assert ABSENT == board.connections(0)


def test_only_those_with_the_fewest_may_take_one(board: Board) -> None:
    """Equal counts: whoever is quicker."""
    first, second, _ = workers(board, Now(), 3)
    assert first.may_accept()
    first.holds(1)
    assert (False, True) == (first.may_accept(), second.may_accept())


def test_a_worker_that_stands_still_does_not_keep_the_others_from_taking_connections(board: Board) -> None:
    """Its count is the lowest, but its loop does not turn."""
    now = Now()
    first, _, _ = workers(board, now, 3)
    first.holds(9)
    now.time += DEAF_S / 2
    first.beat()
    assert not first.may_accept()
    now.time += DEAF_S
    first.beat()
    assert first.may_accept()


def test_it_is_told_when_it_may_be_its_turn_again(board: Board) -> None:
    """When its own count falls, with each beat, and when it begins; a count that grows is no such moment."""
    turns: list[str] = []
    one = Balance(board, 0, Now())
    one.turn = lambda: turns.append("turn")
    one.holds(3)
    one.begin()
    one.holds(4)
    one.holds(2)
    one.beat()
    assert ["turn"] * 3 == turns


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2)), max_size=60))
def test_no_worker_ever_holds_two_more_than_another_while_nobody_leaves(deeds: list[tuple[bool, int]]) -> None:
    """Connections come one at a time to any worker that may take one; a worker may begin late."""
    board = Board.create(3)
    made = workers(board, Now(), 3)
    held = [0, 0, 0]
    for _, place in deeds:
        if made[place].may_accept():
            held[place] += 1
            made[place].holds(held[place])
        assert max(held) - min(held) <= 1
        assert any(one.may_accept() for one in made)
    board.close()
