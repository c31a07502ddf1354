"""Queries of rollouts: what is asked, what counts as a number, and that nobody waits for an answer."""

from __future__ import annotations

import math
import urllib.parse
from concurrent.futures import Future
from typing import Any

import msgspec
import pytest

from gateway.control.fetching import FetchError
from gateway.control.queries import EVERY_S, Questions, answer_to, question
from gateway.rollout.admission import read_plan
from gateway.rollout.plan import Metric
from gateway.rollout.standing import fold
from tests.gateway.rollout.rolled import BY_ANN, operations, plan, registry

SCALAR = b'{"status":"success","data":{"resultType":"scalar","result":[1.5,"0.25"]}}'
VECTOR = b'{"status":"success","data":{"resultType":"vector","result":[%b]}}'
SERIES = b'{"metric":{"a":"b"},"value":[1.5,"7"]}'
QUERY = {
    "name": "cpu",
    "type": "query",
    "query": 'rate(cpu{version="{{version}}",model="{{ model }}"}[5m])',
    "server": "http://p:9090/",
    "below": 1.0,
}


@pytest.mark.parametrize(("content", "value"), [(SCALAR, 0.25), (VECTOR % SERIES, 7.0)])
def test_a_scalar_and_a_vector_of_one_are_numbers(content: bytes, value: float) -> None:
    """As Prometheus writes them, in quotes."""
    assert (value, "") == answer_to("u", lambda url: content)


def test_a_query_that_selects_nothing_is_no_number_and_no_fault() -> None:
    """The evidence says that it has no value."""
    value, error = answer_to("u", lambda url: VECTOR % b"")
    assert value is not None
    assert (True, "") == (math.isnan(value), error)


@pytest.mark.parametrize(
    ("content", "why"),
    [(VECTOR % (SERIES + b"," + SERIES), "2 series"), (b'{"status":"error","error":"parse error at 3"}', "parse error at 3"),
     (b'{"status":"success","data":{"resultType":"matrix","result":[]}}', "a matrix is no single number"),
     (b"<html>", "malformed"), (b'{"status":"success","data":{"resultType":"scalar","result":[1,"x"]}}', "could not convert")],
)  # fmt: skip
def test_what_is_no_number_says_why(content: bytes, why: str) -> None:
    """And is never taken for one."""
    value, error = answer_to("u", lambda url: content)
    assert value is None
    assert why in error


def test_a_server_that_is_away_is_said_to_be() -> None:
    """Its text, and no more."""

    def away(url: str) -> bytes:
        raise FetchError("answered with status 502")

    assert (None, "Prometheus answered with status 502") == answer_to("u", away)


def test_names_are_put_into_the_query() -> None:
    """With or without spaces; the rest is escaped for the URL."""
    url = question(msgspec.convert(QUERY, Metric), "churn", "13")
    assert url.startswith("http://p:9090/api/v1/query?query=")
    asked = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)["query"]
    assert ['rate(cpu{version="13",model="churn"}[5m])'] == asked


class Later:
    """An executor whose work is done when a test says so."""

    def __init__(self) -> None:
        self.work: list[tuple[Future[Any], Any, tuple[Any, ...]]] = []

    def submit(self, deed: Any, *arguments: Any) -> Future[Any]:
        self.work.append((Future(), deed, arguments))
        return self.work[-1][0]

    def do(self) -> None:
        work, self.work = self.work, []
        for future, deed, arguments in work:
            future.set_result(deed(*arguments))


def test_questions_are_asked_now_and_then_and_never_twice_at_once(tmp_path: Any) -> None:
    """Whoever feeds the evidence waits for none of them."""
    store = registry(tmp_path / "r")
    rollout = operations(store).apply(plan(analysis={"metrics": [QUERY]}), **BY_ANN).status.id
    journal = store.rollouts.read(rollout)
    later = Later()
    questions = Questions(fold(read_plan(store, journal), journal.entries), later, ask=lambda url: SCALAR)  # type: ignore[arg-type]
    questions.due(0.0)
    questions.due(EVERY_S * 3)
    assert 1 == len(later.work)
    assert [] == questions.answers()
    later.do()
    assert [("cpu", 0.25, "")] == questions.answers()
    assert [] == questions.answers()
    questions.due(EVERY_S * 3)
    questions.due(EVERY_S * 3 + 1)
    assert 1 == len(later.work)
