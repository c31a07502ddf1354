"""Requests of one version until there are enough for a frame: what differs from one to the next as lists, the rest once a run.

Runs on the event loop. Arrays are kept as they were served, which nobody writes any more; they are put together when the frame is made.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from gateway.capture.fields import Column
from gateway.serving.batch import Item
from gateway.serving.model import Arrays
from registry.frames import Buffer
from registry.log_accounts import ARMS
from registry.log_rows import HAS_UNIT, PAYLOAD, REQUEST, Contract, Meta, log_rows, rows_pieces

MAX_REQUESTS, MAX_BYTES = 1024, 256 << 10  # of a frame, beside its last run
_INT32 = np.iinfo(np.int32).max
_EACH = {"rows": "rows", "code": "codes", "arm": "arms", "protocol": "protocols"}  # columns of requests by what runs call them
Layout = tuple[tuple[int, ...], ...]


class Run(NamedTuple):
    """Requests that ran together, or did not run. Values that all of them share are single ones."""

    requests: int
    started: float
    ended: float
    answered: float
    assembling: float
    batch_rows: int
    rows: list[int] | int
    codes: list[int] | int
    arms: list[int] | int
    protocols: list[int] | int
    flags: int


class Gathered:
    """Of one version, in order."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Nothing is gathered."""
        self.arrivals: list[float] = []
        self.ids: list[bytes] = []
        self.units: list[int] = []
        self.tenants: list[str] = []
        self.runs: list[Run] = []
        self.arrays: list[Arrays] = []  # of runs with a payload: kept inputs, then kept outputs
        self.violations: list[np.ndarray | None] = []
        self.layout: Layout | None = None
        self.bytes = 0

    def add(
        self, items: Sequence[Item], run: Run, arrays: Arrays, violations: np.ndarray | None, *, units: bool, tenants: bool
    ) -> None:  # fmt: skip
        """Requests; with a payload, whose arrays have one layout with all others, where the flags of the run say so."""
        self.arrivals += [item.arrival for item in items]
        self.ids += [item.id for item in items]
        self.units += [item.unit for item in items] if units else [0] * run.requests
        if tenants:
            self.tenants += [item.tenant for item in items]
        self.runs.append(run)
        if run.flags & PAYLOAD:
            self.arrays.append(arrays)
            self.violations.append(violations)
            self.bytes += sum([array.nbytes for array in arrays])

    @property
    def full(self) -> bool:
        """It is time for a frame."""
        return len(self.arrivals) >= MAX_REQUESTS or self.bytes >= MAX_BYTES

    def pieces(
        self, contract: Contract, columns: Sequence[Column], *, since: float, recorded: float, rng: random.Random
    ) -> tuple[list[Buffer], list[int]]:
        """The payload of a frame, and the log rows of each arm in it. `since`: what the clock of arrivals lacks to Unix seconds;
        `recorded`: Unix seconds."""
        requests = self._requests(since, rng)
        ids = b"".join(self.ids)
        tenants = self._tenants(requests)
        rows = int(requests["rows"][(requests["flags"] & PAYLOAD) != 0].sum())
        arrays = [np.concatenate(of) if len(of) > 1 else of[0] for of in zip(*self.arrays, strict=True)]
        buffers = [column.encode(array) for column, array in zip(columns, arrays, strict=bool(arrays))]
        violations = self._violations()
        meta = Meta(
            contract.number, len(requests), rows, int(recorded * 1e6), tenants, len(ids), violations is not None,
            self.layout or ((),) * len(columns), tuple([len(buffer) for buffer in buffers]) or (0,) * len(columns),
        )  # fmt: skip
        counts = np.bincount(requests["arm"], weights=log_rows(requests), minlength=len(ARMS))
        return rows_pieces(meta, requests, ids, violations, buffers), counts.astype(np.int64).tolist()

    def _requests(self, since: float, rng: random.Random) -> np.ndarray:
        runs = self.runs
        found = np.zeros(len(self.arrivals), REQUEST)
        counts = np.array([run.requests for run in runs])
        arrivals = np.array(self.arrivals)

        def spread(of: Callable[[Run], float]) -> np.ndarray:
            return np.repeat([of(run) for run in runs], counts)

        started, ended, answered = spread(lambda run: run.started), spread(lambda run: run.ended), spread(lambda run: run.answered)
        found["ts_us"] = (arrivals + since) * 1e6
        found["queue_us"] = _microseconds(started - arrivals)
        found["infer_us"] = _microseconds(ended - started - spread(lambda run: run.assembling))
        found["total_us"] = _microseconds(answered - arrivals)
        found["batch_rows"] = spread(lambda run: run.batch_rows)
        found["flags"] = spread(lambda run: run.flags)
        for name, of in _EACH.items():
            found[name] = _each([(getattr(run, of), run.requests) for run in runs], counts)
        found["unit"] = np.array(self.units, np.uint64)
        found["flags"][found["unit"] != 0] |= HAS_UNIT
        found["id_bytes"] = [len(part) for part in self.ids]
        found["id"] = request_ids(found["ts_us"], rng)
        return found

    def _tenants(self, requests: np.ndarray) -> tuple[str, ...]:
        """Names, which requests refer to by their places."""
        if not self.tenants:
            return ()
        words = {name: place for place, name in enumerate(dict.fromkeys(self.tenants))}
        requests["tenant"] = [words[name] for name in self.tenants]
        return tuple(words)

    def _violations(self) -> np.ndarray | None:
        if all([masks is None for masks in self.violations]):
            return None
        payloads = [run for run in self.runs if run.flags & PAYLOAD]
        sizes = [run.rows * run.requests if isinstance(run.rows, int) else sum(run.rows) for run in payloads]
        found = [np.zeros(size, np.uint32) if masks is None else masks for masks, size in zip(self.violations, sizes, strict=True)]
        return np.concatenate(found)


def _each(values: Sequence[tuple[object, int]], counts: np.ndarray) -> np.ndarray:
    """One number for each request, of runs that have a list of them, or one for all."""
    if not any([isinstance(value, list) for value, _ in values]):
        return np.repeat([value for value, _ in values], counts)
    return np.array([*chain.from_iterable([value if isinstance(value, list) else [value] * count for value, count in values])])


def _microseconds(seconds: np.ndarray) -> np.ndarray:
    return np.clip(seconds * 1e6, 0, _INT32)


def request_ids(times_us: np.ndarray, rng: random.Random) -> np.ndarray:
    """uint8 [n, 16]: UUIDs of version 7 (RFC 9562 §5.7), of times in microseconds since the Unix epoch."""
    count = len(times_us)
    found = np.empty((count, 16), np.uint8)
    found[:, :6] = (times_us // 1000).astype(">u8").view(np.uint8).reshape(count, 8)[:, 2:]
    found[:, 6:] = np.frombuffer(rng.randbytes(10 * count), np.uint8).reshape(count, 10)
    found[:, 6] = found[:, 6] & 0x0F | 0x70
    found[:, 8] = found[:, 8] & 0x3F | 0x80
    return found
