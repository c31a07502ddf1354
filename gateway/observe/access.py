"""The access log: a line for a share of the requests that reached a model. Stands before the metrics as the batcher's observer.

A server whose share is 0 has no such observer and pays nothing. A line has names and numbers, never tensors; the ids of requests are
left out, because they are kept in the form in which they are sent back. Requests refused before they reached a model are in the metrics.
"""

from __future__ import annotations

import random

from gateway.clock import Clock
from gateway.errors import Code
from gateway.observe import logs
from gateway.observe.metrics import Metrics, outcomes
from gateway.observe.slabs import PROTOCOLS
from gateway.serving.batch import Batch, Item
from gateway.serving.versions import Version


class AccessLog:
    """`batching.Observer` that passes everything on to `metrics`."""

    def __init__(self, metrics: Metrics, *, share: float, clock: Clock, rng: random.Random) -> None:
        self._metrics = metrics
        self._share = share
        self._now = clock.now
        self._draw = rng.random
        self._log = logs.logger("access")

    def batch_done(self, batch: Batch) -> None:
        """Write the chosen lines of a batch whose answers are out."""
        self._metrics.batch_done(batch)
        chosen = [(item, code) for item, code in outcomes(batch) if self._draw() < self._share]
        for item, code in chosen:
            self._write(batch.version, item, code, ended=batch.ended, batch_rows=batch.rows, compute_s=batch.ended - batch.started)

    def dropped(self, version: Version, item: Item, code: Code) -> None:
        """Write the line of a request that ended without a run."""
        self._metrics.dropped(version, item, code)
        if self._draw() < self._share:
            self._write(version, item, code, ended=self._now(), batch_rows=0, compute_s=0.0)

    def _write(self, version: Version, item: Item, code: Code, *, ended: float, batch_rows: int, compute_s: float) -> None:
        self._log.info(
            "request",
            protocol=PROTOCOLS[item.sink.protocol],
            model=version.name,
            version=version.number,
            code=code.name,
            rows=item.rows,
            batch_rows=batch_rows,
            duration_ms=round((ended - item.arrival) * 1e3, 3),
            compute_ms=round(compute_s * 1e3, 3),
        )
