"""Batches of a version that is logged, in a directory: no server, a real writer and a real sealer."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from pyarrow import parquet

from gateway.capture.draws import Draws
from gateway.capture.recorder import Capture, Desk, Violations
from gateway.capture.shape import Shape
from gateway.capture.writer import Bounds, Writer
from gateway.capture_settings import CapturedField, CapturePlan
from gateway.errors import Code
from gateway.protocol.tensors import Signature, TensorSpec
from gateway.serving.batch import Batch, Item
from gateway.serving.model import RunFault
from registry.directory import DirectoryMedium
from registry.log import Log
from registry.log_layout import make_log, segment_id
from registry.log_ledger import Ledger
from registry.log_rows import Head, head_frame
from registry.log_sealing import Sealer
from registry.log_segment import SegmentFile

WALL_S, WORKER = 1_764_590_400.0, "ab" * 12
TABULAR = Signature(
    "m", (TensorSpec("x", "FP32", (-1, 2)), TensorSpec("name", "BYTES", (-1, 1))),
    (TensorSpec("label", "INT64", (-1,)), TensorSpec("p", "FP32", (-1, 2))), 64,
)  # fmt: skip
BOUNDS = Bounds(max_bytes=1 << 20, flush_s=0.05, flush_bytes=1 << 20, seal_s=3600.0, seal_bytes=32 << 20)
_CODES = tuple([(code.name, int(code)) for code in Code])


class Sink:
    """Of one protocol."""

    def __init__(self, protocol: int) -> None:
        self.protocol = protocol


GRPC, HTTP = Sink(0), Sink(1)


class Logging:
    """One version, its capture, and the log below `root`."""

    def __init__(
        self, root: Path, signature: Signature = TABULAR, *, share: float = 1.0, bounds: Bounds = BOUNDS, calls: Any = None,
        fields: dict[str, CapturedField] | None = None, violations: Violations | None = None, tenants: bool = False,
    ) -> None:  # fmt: skip
        self.root, self.now_s = root, 100.0
        self.medium = DirectoryMedium(root)
        make_log(self.medium, "0123456789abcdef" * 2)
        self.ledger = Ledger.create(root, WORKER)
        numbers = iter(range(1000))

        def create() -> SegmentFile:
            segment = segment_id(WORKER, next(numbers))
            head = Head(segment=segment, worker=WORKER, node="node", place=2, created_us=0, codes=_CODES)
            more = {} if calls is None else {"calls": calls}
            return SegmentFile.create(root, segment, head_frame(head), **more)

        self.writer = Writer(self.ledger, create, bounds, lambda: self.now_s)
        self.later: list[Capture] = []
        desk = Desk(
            self.writer, self.later.append, now=lambda: self.now_s, wall=lambda: WALL_S, rng=random.Random(7), tenants=tenants,
            call=lambda function, *arguments: function(*arguments),
        )  # fmt: skip
        self.version: Any = SimpleNamespace(name="m", number=3, rollout=None, signature=signature)
        shape = Shape(signature, 3, "sha256:aa", CapturePlan(share, fields or {}), b"k" * 16)
        words = self.ledger.words("m")
        assert words is not None
        self.words = words
        self.capture = Capture(self.version, shape, Draws(share, random.Random(1)), words, desk, violations=violations, tells=True)

    def end(self) -> None:
        """The worker ends, and everything is sealed."""
        self.capture.flush()
        self.writer.close(10.0)
        self.seal()

    def seal(self) -> None:
        sealer = Sealer(DirectoryMedium(self.root), wall=lambda: WALL_S)
        with sealer.working():
            sealer.seal()

    def table(self) -> list[dict[str, Any]]:
        """All rows of the log, in the order of files."""
        paths = Log(self.root).paths()
        return [row for path in paths for row in parquet.ParquetFile(path).read().to_pylist()]


def item_of(rows: int = 1, *, sink: Sink = GRPC, id: bytes = b"", arrival: float = 99.0, unit: int = 0, arm: int = -1) -> Item:
    """A request; its id is as an answer carries it."""
    item = Item()
    item.caller = SimpleNamespace(cancelled=False)
    item.sink, item.id, item.rows, item.size, item.arrival = sink, id, rows, 8 * rows, arrival  # type: ignore[assignment]
    item.data, item.unit, item.arm = (b"",), unit, arm
    return item


def batch_of(
    version: Any, items: list[Item], *, failed: Sequence[tuple[Item, Code]] = (), first: int = 0, make: Callable[[int], Any] | None = None
) -> Batch:
    """A batch that ran: row n has x = (n, n + 0.5), name "n", label n and p = (1 - n/100, n/100)."""
    bad = {id(item) for item, _ in failed}
    good = [item for item in items if id(item) not in bad]
    batch = Batch(version, ((2,), (1,)), items, sum(item.rows for item in items), 64)
    batch.started, batch.ended, batch.assembling, batch.answering = 99.5, 99.75, 0.05, 0.125
    rows = sum(item.rows for item in good)
    numbers = np.arange(first, first + rows, dtype=np.float32)
    if good:
        names = np.array([f"row {int(number)}" for number in numbers] + [None], object)[:-1].reshape(-1, 1)
        batch.groups.append((good if failed else items, [numbers.astype(np.int64), np.stack([1 - numbers / 100, numbers / 100], axis=1)]))
        batch.inputs.append([np.stack([numbers, numbers + np.float32(0.5)], axis=1), names])
    batch.failed = [(item, RunFault(code, "because")) for item, code in failed]
    sinks = {id(item.sink) for item in items}
    batch.alike = items[0].sink if len(sinks) == 1 and not failed else None
    return batch
