"""PromQL of rollouts: the metrics of plans that a Prometheus server answers, asked in a thread, told to the evidence.

Sources: prometheus.io/docs/prometheus/latest/querying/api, "Instant queries" and "Expression query result formats".
"""

from __future__ import annotations

import math
import re
import urllib.parse
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial

import msgspec

from gateway.control.fetching import FetchError, fetch
from gateway.rollout.plan import Metric
from gateway.rollout.standing import Standing

EVERY_S = 15.0  # as servers scrape by default
_TIMEOUT_S, _MAX_BYTES = 5.0, 1 << 20

Answer = tuple[float | None, str]  # a number, or why there is none
Fetch = Callable[[str], bytes]


class _Data(msgspec.Struct):
    resultType: str  # noqa: N815 - as the API spells it
    result: msgspec.Raw


class _Reply(msgspec.Struct):
    status: str
    data: _Data | None = None
    error: str = ""


class _Series(msgspec.Struct):
    value: tuple[float, str]


class Questions:
    """The queries of one rollout. `due` and `answers` are called on one thread, questions are asked on others."""

    def __init__(self, standing: Standing, executor: Executor, *, ask: Fetch) -> None:
        self._metrics = [metric for metric in standing.plan.spec.analysis.metrics if metric.type == "query"]
        self._version = str(standing.begun.candidate.version)
        self._model = standing.model
        self._executor, self._ask = executor, ask
        self._asked_s = -math.inf
        self._open: list[tuple[str, Future[Answer]]] = []

    def due(self, now_s: float) -> None:
        """Ask what has to be asked now. What has not been answered yet is not asked twice."""
        if not self._metrics or self._open or now_s < self._asked_s + EVERY_S:
            return
        self._asked_s = now_s
        for metric in self._metrics:
            url = question(metric, self._model, self._version)
            self._open.append((metric.name, self._executor.submit(answer_to, url, self._ask)))

    def answers(self) -> list[tuple[str, float | None, str]]:
        """What was answered since the last time: metric, number or None, and why there is none."""
        done = [(name, *future.result()) for name, future in self._open if future.done()]
        self._open = [(name, future) for name, future in self._open if not future.done()]
        return done


def asking(now: Callable[[], float]) -> Fetch:
    """One bounded question, without redirects."""
    return partial(fetch, authorities=None, timeout_s=_TIMEOUT_S, max_bytes=_MAX_BYTES, now=now)


def question(metric: Metric, model: str, version: str) -> str:
    """The URL that asks, with the names put in."""
    query = metric.query
    for name, value in (("model", model), ("version", version)):
        query = re.sub(r"\{\{\s*" + name + r"\s*\}\}", value.replace("\\", r"\\"), query)
    return f"{metric.server.rstrip('/')}/api/v1/query?{urllib.parse.urlencode({'query': query})}"


def answer_to(url: str, ask: Fetch) -> Answer:
    """A number: NaN where the query selects nothing. None and a sentence where there is none."""
    try:
        return number_of(ask(url)), ""
    except FetchError as error:
        return None, f"Prometheus {error}"
    except (msgspec.DecodeError, ValueError) as error:
        return None, f"Prometheus says no number: {error}"


def number_of(content: bytes) -> float:
    """The number in an answer. Raises `ValueError` and `msgspec.DecodeError`."""
    reply = msgspec.json.decode(content, type=_Reply)
    if reply.status != "success" or reply.data is None:
        raise ValueError(reply.error[:200] or "it failed")
    if reply.data.resultType == "scalar":
        return float(msgspec.json.decode(reply.data.result, type=tuple[float, str])[1])
    if reply.data.resultType != "vector":
        raise ValueError(f"a {reply.data.resultType} is no single number")
    found = msgspec.json.decode(reply.data.result, type=list[_Series])
    if len(found) > 1:
        raise ValueError(f"{len(found)} series, where one number is asked for")
    return float(found[0].value[1]) if found else math.nan
