"""Requests of one version until there are enough for a frame: what differs from one to the next as lists, the rest once a run.

Runs on the event loop. Arrays are kept as they were served, which nobody writes any more, with those of requests that are not of the
sample among them; they are put together, and rows are chosen, when the frame is made. While all requests are of one row, OK and of no
rollout, nothing is kept of that.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gateway.capture.fields import Column
from gateway.serving.batch import Batch, Item
from gateway.serving.model import Arrays
from registry.frames import Buffer
from registry.log_accounts import ARMS
from registry.log_rows import HAS_UNIT, PAYLOAD, REQUEST, Contract, Meta, log_rows, rows_pieces

MAX_REQUESTS, MAX_BYTES = 1024, 1 << 20  # of a frame, beside its last run; bytes with those of requests that are not of the sample
_INT32 = np.iinfo(np.int32).max
_NUMBERS = 7  # of a run: requests, started, ended, answered, assembling, rows of its batch, protocol
_REQUESTS, _STARTED, _ENDED, _ANSWERED, _ASSEMBLING, _BATCH_ROWS, _PROTOCOL = range(_NUMBERS)
Layout = tuple[tuple[int, ...], ...]


@dataclass(slots=True)
class Details:
    """Of each request, where not all are alike."""

    rows: list[int]
    codes: list[int]
    arms: list[int]
    protocols: list[int]
    flags: list[int]
    units: list[int]


class Gathered:
    """Of one version, in order."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Nothing is gathered."""
        self.arrivals: list[float] = []
        self.ids: list[bytes] = []
        self.named: list[tuple[int, np.ndarray]] = []  # from which request on, and uint8 [n, 16]: ids that were told
        self.tenants: list[str] = []
        self.numbers: list[float] = []  # `_NUMBERS` of each run
        self.details: Details | None = None
        self.arrays: list[Arrays] = []  # of runs with a payload: kept inputs, then kept outputs
        self.chosen: list[int] | None = None  # rows of all these arrays together; None: all
        self.violations: list[np.ndarray | None] = []
        self.layout: Layout | None = None
        self.rows = 0  # of the arrays
        self.bytes = 0

    @property
    def full(self) -> bool:
        """It is time for a frame."""
        return len(self.arrivals) >= MAX_REQUESTS or self.bytes >= MAX_BYTES

    def add(self, batch: Batch, items: Sequence[Item], answered: float, protocol: int, named: np.ndarray | None = None) -> None:
        """Requests that ran together, all alike; `named`: their ids, where they have them."""
        self.add_each(batch, items, answered, protocol, named)
        details = self.details
        if details is not None:
            count = len(items)
            details.rows += [1] * count
            details.codes += [0] * count
            details.arms += [0] * count
            details.protocols += [protocol] * count
            details.flags += [PAYLOAD] * count
            details.units += [0] * count

    def add_each(self, batch: Batch, items: Sequence[Item], answered: float, protocol: int = 0, named: np.ndarray | None = None) -> None:
        """The same of requests whose details the caller adds."""
        if named is not None:
            self.named.append((len(self.arrivals), named))
        self.arrivals += [item.arrival for item in items]
        self.ids += [item.id for item in items]
        self.numbers += (len(items), batch.started, batch.ended, answered, batch.assembling, batch.rows, protocol)

    def add_arrays(self, arrays: Arrays, rows: int, size: int, chosen: Sequence[int] | None, violations: np.ndarray | None = None) -> None:
        """The payload of the requests that were added last: arrays of so many rows and bytes, and which of them; None: all."""
        if chosen is not None or self.chosen is not None:
            if self.chosen is None:
                self.chosen = list(range(self.rows))
            start = self.rows
            self.chosen += range(start, start + rows) if chosen is None else [start + row for row in chosen]
        self.arrays.append(arrays)
        self.violations.append(violations)
        self.rows += rows
        self.bytes += size

    def detailed(self) -> Details:
        """From now on, and of what is there: each request by itself."""
        if self.details is None:
            counts = [int(count) for count in self.numbers[_REQUESTS::_NUMBERS]]
            protocols = [int(protocol) for protocol in self.numbers[_PROTOCOL::_NUMBERS]]
            each = [protocol for protocol, count in zip(protocols, counts, strict=True) for _ in range(count)]
            total = len(each)
            self.details = Details([1] * total, [0] * total, [0] * total, each, [PAYLOAD] * total, [0] * total)
        return self.details

    # --- a frame -----------------------------------------------------------------------------------------------------------------

    def pieces(
        self, contract: Contract, columns: Sequence[Column], *, since: float, recorded: float, rng: random.Random
    ) -> tuple[list[Buffer], list[int]]:
        """The payload of a frame, and the log rows of each arm in it. `since`: what the clock of arrivals lacks to Unix seconds;
        `recorded`: Unix seconds."""
        requests = self._requests(since, rng)
        ids = b"".join(self.ids)
        tenants = self._tenants(requests)
        arrays = [np.concatenate(of) if len(of) > 1 else of[0] for of in zip(*self.arrays, strict=True)]
        if self.chosen is not None:
            arrays = [array[self.chosen] for array in arrays]
        buffers = [column.encode(array) for column, array in zip(columns, arrays, strict=bool(arrays))]
        violations = self._violations()
        meta = Meta(
            contract.number, len(requests), self.rows if self.chosen is None else len(self.chosen), int(recorded * 1e6), tenants, len(ids),
            violations is not None, tuple([array.shape[1:] for array in arrays]) or ((0,),) * len(columns),
            tuple([len(buffer) for buffer in buffers]) or (0,) * len(columns),
        )  # fmt: skip
        return rows_pieces(meta, requests, ids, violations, buffers), self._counts(requests)

    def _counts(self, requests: np.ndarray) -> list[int]:
        if self.details is None:
            return [len(requests), *[0] * (len(ARMS) - 1)]
        found = np.bincount(requests["arm"], weights=log_rows(requests), minlength=len(ARMS))
        return [int(count) for count in found]

    def _requests(self, since: float, rng: random.Random) -> np.ndarray:
        runs = np.array(self.numbers).reshape(-1, _NUMBERS)
        counts = runs[:, _REQUESTS].astype(np.intp)
        found = np.zeros(len(self.arrivals), REQUEST)
        arrivals = np.array(self.arrivals)
        of = np.repeat(runs, counts, axis=0) if len(runs) > 1 else np.broadcast_to(runs, (len(arrivals), _NUMBERS))
        times = np.empty((len(arrivals), 3))
        times[:, 0] = of[:, _STARTED] - arrivals
        times[:, 1] = of[:, _ENDED] - of[:, _STARTED] - of[:, _ASSEMBLING]
        times[:, 2] = of[:, _ANSWERED] - arrivals
        times *= 1e6
        np.clip(times, 0, _INT32, out=times)
        found["queue_us"], found["infer_us"], found["total_us"] = times[:, 0], times[:, 1], times[:, 2]
        stamps = ((arrivals + since) * 1e6).astype(np.int64)
        found["ts_us"] = stamps
        found["id"] = self._named(stamps, rng)
        found["batch_rows"] = of[:, _BATCH_ROWS]
        found["protocol"] = of[:, _PROTOCOL]
        if any(self.ids):
            found["id_bytes"] = [len(part) for part in self.ids]
        self._detail(found)
        return found

    def _named(self, stamps: np.ndarray, rng: random.Random) -> np.ndarray:
        """Ids that answers had, and new ones for others: uint8 [requests, 16]."""
        if sum([len(ids) for _, ids in self.named]) == len(stamps):
            return np.concatenate([ids for _, ids in self.named])
        found = request_ids(stamps, rng)
        for at, ids in self.named:
            found[at : at + len(ids)] = ids
        return found

    def _detail(self, found: np.ndarray) -> None:
        details = self.details
        if details is None:
            found["rows"], found["flags"] = 1, PAYLOAD
            return
        found["rows"], found["code"], found["arm"] = details.rows, details.codes, details.arms
        found["protocol"], found["flags"] = details.protocols, details.flags
        found["unit"] = np.array(details.units, np.uint64)
        found["flags"][found["unit"] != 0] |= HAS_UNIT

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
        sizes = [len(arrays[0]) for arrays in self.arrays]
        whole = np.concatenate([
            np.zeros(size, np.uint32) if masks is None else masks for masks, size in zip(self.violations, sizes, strict=True)
        ])  # fmt: skip
        return whole if self.chosen is None else whole[self.chosen]


def request_ids(times_us: np.ndarray, rng: random.Random) -> np.ndarray:
    """uint8 [n, 16]: UUIDs of version 7 (RFC 9562 §5.7), of times in microseconds since the Unix epoch."""
    count = len(times_us)
    found = np.empty((count, 16), np.uint8)
    found[:, :6] = (times_us // 1000).astype(">u8").view(np.uint8).reshape(count, 8)[:, 2:]
    found[:, 6:] = np.frombuffer(rng.randbytes(10 * count), np.uint8).reshape(count, 10)
    found[:, 6] = found[:, 6] & 0x0F | 0x70
    found[:, 8] = found[:, 8] & 0x3F | 0x80
    return found
