"""The closed loop and its figures."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
import pytest

from gateway.client import Answer, CallError
from gateway.errors import Code
from gateway.load import Measurement, closed_loop, invented
from gateway.pb import inference_pb2 as pb
from gateway.protocol.tensors import TensorSpec


class Ticking:
    """A clock that goes on by a millisecond whenever it is looked at."""

    def __init__(self) -> None:
        self._at = 0.0
        self._lock = threading.Lock()

    def now(self) -> float:
        with self._lock:
            self._at += 0.001
            return self._at

    def wall(self) -> float:
        return 0.0


class FakeClient:
    """Answers with the id of the request; ids that start with "bad" fail."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def send(self, message: pb.ModelInferRequest) -> Answer:
        self.sent.append(message.id)
        if message.id.startswith("bad"):
            raise CallError(Code.OVERLOADED, "no", status="RESOURCE_EXHAUSTED")
        return Answer("m", "1", message.id, {})


def messages(*ids: str, rows: int = 1) -> list[pb.ModelInferRequest]:
    made = [pb.ModelInferRequest(id=name) for name in ids]
    for message in made:
        message.inputs.add(name="x", datatype="FP32", shape=[rows, 2])
    return made


def run(client: FakeClient, sent: list[pb.ModelInferRequest], **how: Any) -> Measurement:
    return closed_loop(client, sent, clock=Ticking(), **how)  # type: ignore[arg-type]


@pytest.mark.parametrize("concurrency", [1, 3])
def test_every_message_is_sent_in_turn(concurrency: int) -> None:
    """As many as asked for, starting over at the end, each answer with its index."""
    client, seen = FakeClient(), {}
    found = run(
        client,
        messages("a", "b", rows=4),
        concurrency=concurrency,
        requests=5,
        answered=lambda index, answer: seen.update({index: answer.id}),
    )
    assert (5, 20) == (found.requests, found.rows)
    assert {0: "a", 1: "b", 2: "a", 3: "b", 4: "a"} == seen


def test_a_duration_ends_the_run() -> None:
    """By the clock that was passed in."""
    found = run(FakeClient(), messages("a"), concurrency=1, duration_s=0.1)
    assert 20 < found.requests < 50
    assert found.seconds >= 0.1


def test_failures_are_counted_and_not_timed() -> None:
    """A refused request is quick, and must not make the figures better."""
    found = run(FakeClient(), messages("a", "bad", rows=2), concurrency=1, requests=10)
    assert (5, 10, {"OVERLOADED": 5}) == (found.requests, found.rows, found.errors)


def test_a_fault_of_the_run_is_not_swallowed() -> None:
    """What is no failed call is no figure either."""

    def broken(_index: int, _answer: Answer) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(FakeClient(), messages("a"), concurrency=2, requests=4, answered=broken)


def test_the_summary() -> None:
    """Rates over the whole run, percentiles that were really measured."""
    found = Measurement(2.0, 400, np.arange(1, 101) / 1e3, {})
    assert (50.0, 200.0, 50.0, 99.0, 100.0) == (
        found.requests_per_s, found.rows_per_s, found.percentile_ms(50), found.percentile_ms(99), found.percentile_ms(100)
    )  # fmt: skip
    assert {"requests": 100, "p99_ms": 99.0, "errors": {}}.items() <= found.summary().items()


def test_nothing_answered_has_no_latency() -> None:
    """And still is a summary, in valid JSON."""
    found = Measurement(1.0, 0, np.array([]), {"UNAVAILABLE": 3})
    assert math.isnan(found.percentile_ms(50))
    assert "p50_ms" not in found.summary()


def test_invented_inputs_fit_the_signature() -> None:
    """Every datatype, free dimensions, and the same ones for the same seed."""
    specs = (
        TensorSpec("x", "FP32", (-1, 3)),
        TensorSpec("t", "BYTES", (-1, -1)),
        TensorSpec("b", "BOOL", (2,)),
        TensorSpec("n", "UINT8", (-1,)),
    )
    made = invented(specs, rows=4)
    assert {"x": (4, 3), "t": (4, 1), "b": (2,), "n": (4,)} == {name: array.shape for name, array in made.items()}
    assert ["float32", "object", "bool", "uint8"] == [str(array.dtype) for array in made.values()]
    np.testing.assert_array_equal(made["x"], invented(specs, rows=4)["x"])
