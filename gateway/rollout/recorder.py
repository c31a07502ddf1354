"""Tells what became of each request of an arm: one record for those of the sample, and for all where something happened.

Runs on the event loop after the answers are out, once a batch.
"""

from __future__ import annotations

import logging
import math
import zlib
from collections.abc import Callable, Sequence

import numpy as np

from gateway.errors import Code
from gateway.protocol.tensors import Signature
from gateway.rollout.records import RECORD, Flag
from gateway.rollout.ring import ARMS, Ring
from gateway.serving.batch import Batch, Item, starts_of
from gateway.serving.batching import Observer
from gateway.serving.model import Arrays, RunFault, RunLost
from gateway.serving.splits import Split, limit_of
from gateway.serving.versions import Version

Run = tuple[float, int, float]  # seconds that it took, its rows, and when it was told of, in Unix seconds: one moment for all of it

_log = logging.getLogger(__name__)
_EVERYBODY = limit_of(1.0)
_BLANKS = 256  # records of a batch that most do not exceed
_SERVER_ERROR, _BAD_OUTPUT, _SAMPLED = int(Flag.SERVER_ERROR), int(Flag.BAD_OUTPUT), np.uint16(Flag.SAMPLED)
_FAILED = np.uint16(Flag.SERVER_ERROR | Flag.REJECTED_INPUT)
_REJECTIONS = (Code.INVALID_ARGUMENT, Code.TOO_LARGE, Code.UNIMPLEMENTED, Code.FAILED_PRECONDITION)
_FAULTS = (Code.OVERLOADED, Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.INTERNAL)


def flag_of(code: Code) -> int:
    """What a request that ended with a code says of the version that had it. A caller that went away says nothing."""
    if code in _REJECTIONS:
        return Flag.REJECTED_INPUT
    return Flag.SERVER_ERROR if code in _FAULTS else 0


class Reading:
    """The class or the score of a request, from the first row of its answer."""

    def __init__(self, signature: Signature, *, score: bool) -> None:
        kinds = [_kind(spec.datatype) for spec in signature.outputs]
        wanted = ("number", "whole", "text") if score else ("whole", "text", "number")
        self._index = next((kinds.index(kind) for kind in wanted if kind in kinds), -1)
        self.batched = signature.max_batch_size > 0
        self._score = score

    def of(self, outputs: Arrays, rows: Sequence[int]) -> np.ndarray:
        """float32 [len(rows)]: of these rows of `outputs`; NaN where a version has nothing to read."""
        if self._index < 0:
            return np.full(len(rows), np.nan, np.float32)
        output = outputs[self._index]
        chosen = (output if rows == range(len(output)) else output[list(rows)]) if self.batched else output[None]
        columns = chosen.reshape(len(rows), -1)
        if not columns.shape[1]:
            return np.full(len(rows), np.nan, np.float32)
        if columns.dtype == object:
            return np.array([_code(text) for text in columns[:, 0]], np.float32)
        if columns.dtype.kind != "f" or columns.shape[1] == 1:
            return np.asarray(columns[:, 0], np.float32)
        if not self._score:
            return np.asarray(columns.argmax(axis=1), np.float32)
        return np.asarray(columns[:, 1] if columns.shape[1] == 2 else columns.max(axis=1), np.float32)


def _kind(datatype: str) -> str:
    if datatype == "BYTES":
        return "text"
    return "number" if datatype.startswith(("FP", "BF")) else "whole"


def _code(text: object) -> int:
    """A text as a number that float32 holds exactly; two texts share one rarely."""
    return zlib.crc32(text if isinstance(text, bytes) else str(text).encode()) & 0xFFFFFF


class Recorder:
    """One arm of one rollout in one worker."""

    def __init__(
        self, split: Split, arm: int, version: Version, ring: Ring, *, now: Callable[[], float], wall: Callable[[], float]
    ) -> None:
        self.arm, self.split = arm, split
        self._blanks = np.zeros(_BLANKS, RECORD)  # of whom nothing is known yet
        self._blanks["step"], self._blanks["arm"], self._blanks["slot"] = split.step, arm, split.slot
        self._blanks["value"] = np.nan
        self._place = split.slot * ARMS + arm
        self._ring, self._now, self._wall = ring, now, wall
        self._limit = limit_of(split.sample)
        self._slow_s = min(split.slo_s, default=math.inf)
        self._reading = Reading(version.signature, score=split.score)

    def served(self, batch: Batch) -> None:
        """Record a batch whose answers are out."""
        run = batch.ended + batch.answering - batch.started, batch.rows, self._wall()
        for items, outputs in batch.groups:
            starts = starts_of(items, batch.rows if items is batch.items else sum([item.rows for item in items]))
            self._record(*self._chosen(items, starts), run, outputs)
        if batch.failed:
            self._record_failed(batch.failed, run)

    def ended(self, item: Item, code: Code, flags: int = 0) -> None:
        """Record a request that ended without a run, with more that is known of it."""
        found = flag_of(code) | flags
        records = self._blank([item], (self._now() - item.arrival if found else math.nan, 0, self._wall()))
        records["flags"] = found
        self._leave(records)

    def _chosen(self, items: Sequence[Item], starts: Sequence[int]) -> tuple[Sequence[Item], Sequence[int]]:
        """The items that take part, and the first row of each."""
        arms = [item.arm for item in items]
        if arms.count(self.arm) == len(arms):
            return items, starts
        taking = [at for at, arm in enumerate(arms) if arm == self.arm]
        return [items[at] for at in taking], [starts[at] for at in taking]

    def _record(self, items: Sequence[Item], firsts: Sequence[int], run: Run, outputs: Arrays) -> None:
        if not items:
            return
        records = self._blank(items, run)
        records["value"] = self._reading.of(outputs, firsts)
        flags = [_SERVER_ERROR if item.done else 0 for item in items]
        bad = _bad_rows(outputs, len(outputs[0]) if self._reading.batched and outputs else 1)
        if bad is not None:
            flags = [
                flag | (_BAD_OUTPUT if bad[row : row + item.rows].any() else 0)
                for flag, item, row in zip(flags, items, firsts, strict=True)
            ]
        records["flags"] = flags
        self._leave(records)

    def _record_failed(self, failed: Sequence[tuple[Item, RunFault]], run: Run) -> None:
        pairs = [(item, fault) for item, fault in failed if item.arm == self.arm]
        if not pairs:
            return
        records = self._blank([item for item, _ in pairs], run)
        records["flags"] = [flag_of(fault.code) | (Flag.CRASHED if isinstance(fault, RunLost) else 0) for _, fault in pairs]
        self._leave(records)

    def _blank(self, items: Sequence[Item], run: Run) -> np.ndarray:
        """Records of these items, of whom nothing bad is known."""
        count = len(items)
        records = self._blanks[:count].copy() if count <= _BLANKS else np.repeat(self._blanks[:1], count)
        records["unit"] = [item.unit for item in items]
        records["latency_s"], records["batch_rows"], records["time_s"] = run
        return records

    def _leave(self, records: np.ndarray) -> None:
        """Into the ring, those that somebody has to know of."""
        flags = records["flags"]
        bad = int(np.count_nonzero(flags & _FAILED))
        self._ring.failed[self._place] += bad
        self._ring.answered[self._place] += len(records) - bad
        if self._limit < _EVERYBODY:
            sampled = mixed_units(records["unit"]) < np.uint64(self._limit)
            flags[sampled] |= _SAMPLED
            records = records[(flags != 0) | (records["latency_s"] > self._slow_s)]
        else:
            flags |= _SAMPLED
        if len(records):
            self._ring.append(records)


def mixed_units(units: np.ndarray, stream: int = 1) -> np.ndarray:
    """`splits.mixed` of units, uint64 [n]."""
    value = units + np.uint64(stream * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _bad_rows(outputs: Arrays, rows: int) -> np.ndarray | None:
    """Which rows have a number that is none, bool [rows]; None where no row has."""
    bad: np.ndarray | None = None
    for output in outputs:
        if output.dtype.kind == "f" and not np.isfinite(output).all():
            bad = np.zeros(rows, np.bool_) if bad is None else bad
            bad |= ~np.isfinite(output.reshape(rows, -1)).all(axis=1)
    return bad


class Recording:
    """`batching.Observer` that tells the recorders of versions in a rollout of their batches, after `inner`."""

    def __init__(self, inner: Observer) -> None:
        self._inner = inner

    def batch_done(self, batch: Batch) -> None:
        """A batch was answered."""
        self._inner.batch_done(batch)
        recorder = batch.version.rollout
        if recorder is not None:
            try:
                recorder.served(batch)
            except Exception:  # a fault of ours costs records, never answers
                _log.exception("recording failed: %s/%d", batch.version.name, batch.version.number)

    def dropped(self, version: Version, item: Item, code: Code) -> None:
        """A queued request ended without a run."""
        self._inner.dropped(version, item, code)
        recorder = version.rollout
        if recorder is not None and item.arm == recorder.arm:
            recorder.ended(item, code)
