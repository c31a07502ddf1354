"""Answers and labels meet whatever order they come in, by the rules of the join; what is settled stays as it was."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.quality.waiting import ANSWER, LABEL, STAY_US, Waiting
from tests import naive_labels as naive

S = 1_000_000
DAY = 86_400 * S


def answers(*rows: dict[str, Any]) -> np.ndarray:
    """Rows of `ANSWER`; what is not said is 0."""
    made = np.zeros(len(rows), ANSWER)
    for at, row in enumerate(rows):
        for name, value in ({"version": 1} | row).items():
            made[name][at] = value
    return made


def labels(*rows: dict[str, Any]) -> np.ndarray:
    """Rows of `LABEL`."""
    made = np.zeros(len(rows), LABEL)
    for at, row in enumerate(rows):
        for name, value in ({"id": at + 1, "at": S} | row).items():
            made[name][at] = value
    return made


NO_ANSWERS, NO_LABELS = answers(), labels()


def waiting(**more: int) -> Waiting:
    return Waiting(**{"mature_after_us": 0, "wait_us": DAY, "most": 1_000} | more)


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=True), st.integers(0, 30), st.integers(0, 30), st.booleans())
def test_what_is_settled_is_what_loops_make_of_it(draw: random.Random, many: int, more: int, answers_first: bool) -> None:
    """Against the join's own loops, as of one time; whichever side comes first."""
    rows = [
        {
            "key": number + 1,
            "client": draw.choice([0, 0, 1_000 + draw.randrange(5)]),
            "at": draw.randrange(100) * S,
            "arm": draw.randrange(2),
        }
        for number in range(many)
    ]
    given_ = [
        {"key": draw.choice([0, draw.randrange(35) + 1]), "client": draw.choice([0, 1_000 + draw.randrange(6)]), "at": draw.randrange(100) * S,
         "final": draw.random() < 0.3, "value": draw.randrange(9), "supersedes": draw.choice([0] * 5 + [draw.randrange(30) + 1])}
        for _ in range(more)
    ]  # fmt: skip
    now, mature = 100 * S, 30 * S
    made = waiting(mature_after_us=mature)
    both = [(answers(*rows), NO_LABELS), (NO_ANSWERS, labels(*given_))]
    for part in both if answers_first else both[::-1]:
        made.add(*part)
    settled = made.settle(now)
    found = {int(row["key"]): float(value) for row, value in zip(settled.answers, settled.values, strict=True)}
    assert found == expected(rows, given_, now, mature)
    assert sorted(settled.answers["at"].tolist()) == settled.answers["at"].tolist()
    assert 0 == len(made.settle(now).answers)


def expected(rows: list[dict[str, Any]], given_: list[dict[str, Any]], now: int, mature: int) -> dict[int, float]:
    """By key, as `naive.joined` has it."""
    plain = [
        {"request_id": row["key"], "row": 0, "client_request_id": row["client"] or None, "unit_hash": None, "ts": row["at"], "arm": "a",
         "model": "m", "status": 0}
        for row in rows
    ]  # fmt: skip
    said = [
        {"label_id": at + 1, "model": "m", "name": "label", "client_request_id": one["client"] or None, "request_id": one["key"] or None,
         "unit_hash": None, "row": 0, "arrival_us": one["at"], "event_us": 0, "final": one["final"], "value": float(one["value"]),
         "supersedes": one["supersedes"] or None}
        for at, one in enumerate(given_)
    ]  # fmt: skip
    rule = {"model": "m", "name": "label", "as_of": now, "since": 0, "until": None, "arms": (), "window": 0, "mature_after": mature}
    joined, _ = naive.joined(plain, said, rule | {"negative_after": None})
    return {row["request_id"]: row["value"] for row in joined if row["id"] is not None}


def test_an_answer_is_given_up_when_its_label_does_not_come() -> None:
    """Then, and not before; a label that comes later changes nothing."""
    made = waiting(wait_us=10 * S)
    made.add(answers({"key": 1}), NO_LABELS)
    assert 0 == len(made.settle(9 * S).unlabelled)
    assert 1 == len(made.settle(10 * S).unlabelled)
    made.add(NO_ANSWERS, labels({"key": 1}))
    assert 0 == len(made.settle(11 * S).answers)


def test_the_shadows_answer_may_come_later() -> None:
    """A label stays a while for it, and goes when nobody waits."""
    made = waiting()
    made.add(answers({"key": 1}), labels({"key": 1, "value": 1}))
    assert 1 == len(made.settle(2 * S).answers)
    made.add(answers({"key": 1, "arm": 1, "version": 2}), NO_LABELS)
    assert [1.0] == made.settle(3 * S).values.tolist()
    made.settle(STAY_US + 2 * S)
    assert 0 == len(made.labels)


def test_a_label_stays_while_its_answer_is_not_mature() -> None:
    """However long that takes."""
    made = waiting(mature_after_us=10 * STAY_US, wait_us=20 * STAY_US)
    made.add(answers({"key": 1}, {"key": 2, "client": 7}), labels({"key": 1, "value": 1}, {"client": 7, "value": 2}, {"key": 9}))
    made.settle(5 * STAY_US)
    assert 2 == len(made.labels)
    assert [1.0, 2.0] == sorted(made.settle(10 * STAY_US).values.tolist())


def test_a_label_that_was_wrong_does_not_count() -> None:
    """Where the correction comes before it is settled."""
    made = waiting(mature_after_us=5 * S)
    made.add(answers({"key": 1}), labels({"key": 1, "value": 1, "final": True}))
    made.settle(2 * S)
    made.add(NO_ANSWERS, labels({"id": 5, "supersedes": 1, "key": 1, "value": 0}))
    assert [0.0] == made.settle(6 * S).values.tolist()


def test_of_too_many_a_sample_waits() -> None:
    """Of requests, by their ids: both arms of one are in it, or neither, also of those that come later."""
    made, draw = waiting(most=100), np.random.default_rng(1)
    keys = draw.integers(1, 1 << 64, 500, np.uint64)
    for part in np.array_split(keys, 5):
        for arm in (0, 1):
            made.add(answers(*({"key": key, "arm": arm} for key in part)), NO_LABELS)
    assert len(made.answers) <= 100
    assert made.share == pytest.approx(2.0 ** round(np.log2(made.share)))
    assert made.share < 0.2
    each = np.unique(made.answers["key"], return_counts=True)[1]
    assert {2} == set(each.tolist())
    made.add(NO_ANSWERS, labels(*({"id": number + 1, "at": number} for number in range(150))))
    assert (100, 50, 50) == (len(made.labels), made.left_out, int(made.labels["at"].min()))
