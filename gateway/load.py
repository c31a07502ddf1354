"""A closed loop of requests through the gRPC client, and what it measured. Serves `tidegate bench` and the demo.

Each of `concurrency` threads sends its next request when its last one is answered. The client is Python: above a few thousand requests per
second on one core it is the client that is measured; `make bench-serving` uses load generators in C.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from gateway.client import Answer, CallError, Client
from gateway.clock import Clock, SystemClock
from gateway.pb import inference_pb2 as pb
from gateway.protocol.tensors import DATATYPES, TensorSpec


@dataclass(frozen=True, slots=True)
class Measurement:
    """The outcome of a run. `latencies_s` holds answered requests only, shape (requests,); `errors` counts the others by code."""

    seconds: float
    rows: int
    latencies_s: np.ndarray
    errors: dict[str, int]

    @property
    def requests(self) -> int:
        """Answered requests."""
        return len(self.latencies_s)

    @property
    def requests_per_s(self) -> float:
        """Answered requests per second."""
        return self.requests / self.seconds

    @property
    def rows_per_s(self) -> float:
        """Answered rows per second."""
        return self.rows / self.seconds

    def percentile_ms(self, q: float) -> float:
        """The latency that `q` percent of the answered requests did not exceed; NaN where none was answered."""
        return float(np.percentile(self.latencies_s, q, method="inverted_cdf") * 1e3) if self.requests else float("nan")

    def summary(self) -> dict[str, Any]:
        """As JSON."""
        found = {f"p{q}_ms": round(self.percentile_ms(q), 3) for q in (50, 90, 99)} if self.requests else {}
        return {
            "seconds": round(self.seconds, 3),
            "requests": self.requests,
            "rows": self.rows,
            "requests_per_s": round(self.requests_per_s, 1),
            "rows_per_s": round(self.rows_per_s, 1),
            **found,
            "errors": self.errors,
        }


@dataclass(slots=True)
class _Tally:
    latencies_s: list[float] = field(default_factory=list)
    rows: int = 0
    errors: Counter[str] = field(default_factory=Counter)


def closed_loop(
    client: Client,
    messages: Sequence[pb.ModelInferRequest],
    *,
    concurrency: int,
    requests: int | None = None,
    duration_s: float | None = None,
    answered: Callable[[int, Answer], None] | None = None,
    clock: Clock | None = None,
) -> Measurement:
    """Send `messages` over and over until `requests` were sent or `duration_s` has passed, whichever is named.

    Rows are counted along the first axis of a message's first input. `answered` gets the index of the request and its answer, on the
    thread that sent it.
    """
    now = (clock or SystemClock()).now
    numbers = count()
    start = now()
    end = start + duration_s if duration_s is not None else float("inf")

    stopped = threading.Event()

    def indices() -> Iterator[int]:
        while not stopped.is_set() and now() < end and (index := next(numbers)) < (requests if requests is not None else index + 1):
            yield index

    tallies = [_Tally() for _ in range(concurrency)]

    def work(tally: _Tally) -> None:
        for index in indices():
            message = messages[index % len(messages)]
            sent = now()
            try:
                answer = client.send(message)
            except CallError as error:
                tally.errors[error.code.name] += 1
                continue
            tally.latencies_s.append(now() - sent)
            tally.rows += message.inputs[0].shape[0]
            if answered:
                answered(index, answer)

    with ThreadPoolExecutor(concurrency) as threads:
        try:
            for worker in [threads.submit(work, tally) for tally in tallies]:
                worker.result()
        finally:
            stopped.set()  # an interrupt or a fault ends the other threads after their request
    seconds = now() - start
    latencies = np.array([latency for tally in tallies for latency in tally.latencies_s])
    errors = sum((tally.errors for tally in tallies), Counter[str]())
    return Measurement(seconds, sum(tally.rows for tally in tallies), latencies, dict(errors))


def invented(specs: Sequence[TensorSpec], *, rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs that fit a model's signature: normal floats, small integers, short texts; free dimensions beyond the first are 1."""
    generator = np.random.default_rng(seed)
    return {spec.name: _invented(spec, rows, generator) for spec in specs}


def _invented(spec: TensorSpec, rows: int, generator: np.random.Generator) -> np.ndarray:
    shape = [rows if axis == 0 and size < 0 else max(size, 1) for axis, size in enumerate(spec.shape)]
    if spec.datatype == "BYTES":
        return generator.choice(np.array(["a", "b", "c"], object), shape)
    kind = DATATYPES[spec.datatype].numpy
    return generator.normal(size=shape).astype(kind) if kind.kind == "f" else generator.integers(0, 2, shape).astype(kind)
