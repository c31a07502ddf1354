"""The thread that writes a worker's segments: bounded by bytes, and nobody's business but the disk's how long it takes.

What finds no room is dropped and counted, as is what the disk refuses; the next parcel is tried again, so that all goes on by itself when
there is space. What was written is made durable together, after so many bytes or seconds; with `group` at once, for those who wait for it.
"""

from __future__ import annotations

import errno
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from gateway.capture.parcels import Parcel
from registry.frames import MAX_PAYLOAD
from registry.log_ledger import DISK, IO, LARGE, QUEUE, UNSYNCED, Ledger
from registry.log_rows import contract_frame, rows_frame
from registry.log_segment import SegmentFile

_log = logging.getLogger(__name__)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_QUIET_S = 60.0  # between two lines of the log about the same trouble
_IDLE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one worker: bytes that wait, when they are made durable, and how long and large one segment gets."""

    max_bytes: int
    flush_s: float
    flush_bytes: int
    seal_s: float
    seal_bytes: int
    group: bool = False  # make durable what has come, and then see what came meanwhile


class Writer:
    """Of one worker. `put` is the event loop's; the rest, but for the end, happens in the thread."""

    def __init__(self, ledger: Ledger, create: Callable[[], SegmentFile], bounds: Bounds, now: Callable[[], float]) -> None:
        """`create()`: the next segment, with its head in it; raises `OSError`."""
        self._ledger, self._create, self._bounds, self._now = ledger, create, bounds, now
        self._queue: queue.SimpleQueue[Parcel | threading.Event] = queue.SimpleQueue()
        self._put, self._done = 0, 0  # bytes, each with one writer
        self._file: SegmentFile | None = None
        self._told: set[int] = set()  # contracts that the segment has
        self._unsynced: list[Parcel] = []
        self._unsynced_since, self._begun = 0.0, 0.0
        self._said_s = -_QUIET_S
        self._ended = False
        self._thread = threading.Thread(target=self._work, name="capture", daemon=True)
        self._thread.start()

    @property
    def waiting_bytes(self) -> int:
        """Of parcels that are not written."""
        return self._put - self._done

    def put(self, parcel: Parcel) -> bool:
        """Have it written. False where it is dropped, and counted."""
        size = parcel.size
        if size > min(MAX_PAYLOAD, self._bounds.max_bytes):
            parcel.count(LARGE)
            return False
        if self._ended or self.waiting_bytes + size > self._bounds.max_bytes:
            parcel.count(QUEUE)
            return False
        self._put += size
        self._queue.put(parcel)
        return True

    def settle(self, timeout_s: float) -> bool:
        """Return when everything is durable that was put so far, or time is up: whether it is."""
        done = threading.Event()
        self._queue.put(done)
        return done.wait(timeout_s)

    def close(self, timeout_s: float) -> None:
        """The last segment is whoever's who seals, if all is written in time. Nothing may be put any more."""
        self._ended = True
        if self.settle(timeout_s):
            self._thread.join(timeout_s)

    # --- in the thread -----------------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while not (self._ended and self._queue.empty()):
            some = self._next()
            done = [one for one in some if isinstance(one, threading.Event)]
            for one in some:
                if isinstance(one, Parcel):
                    self._write(one)
            if self._unsynced and (done or self._due()):
                self._sync()
            if self._file is not None and (self._file.size >= self._bounds.seal_bytes or self._now() - self._begun >= self._bounds.seal_s):
                self._leave()
            if self._ended and self._queue.empty():
                self._leave()
                with suppress(OSError):
                    self._ledger.sync()
                self._ledger.close()
            for one in done:
                one.set()

    def _next(self) -> Sequence[Parcel | threading.Event]:
        """What has come, or nothing where something else is due."""
        now = self._now()
        due = self._unsynced_since + self._bounds.flush_s if self._unsynced else now + _IDLE_S
        if self._file is not None:
            due = min(due, self._begun + self._bounds.seal_s)
        some: list[Parcel | threading.Event] = []
        with suppress(queue.Empty):
            some.append(self._queue.get(timeout=max(due - now, 0.0)))
            while self._bounds.group:
                some.append(self._queue.get_nowait())
        return some

    def _due(self) -> bool:
        bounds, file = self._bounds, self._file
        if bounds.group or self._now() - self._unsynced_since >= bounds.flush_s:
            return True
        return file is not None and file.size - file.synced >= bounds.flush_bytes

    def _write(self, parcel: Parcel) -> None:
        try:
            frame = rows_frame(parcel.pieces)
            file = self._opened()
            if parcel.contract.number not in self._told:
                file.append(contract_frame(parcel.contract))
                self._told.add(parcel.contract.number)
            file.append(frame)
        except OSError as error:
            parcel.count(DISK if error.errno in _FULL else IO)
            self._complain("rows are dropped", error)
            if self._file is not None and self._file.given_up:
                self._leave()
            _release(parcel)
        else:
            if not self._unsynced:
                self._unsynced_since = self._now()
            self._unsynced.append(parcel)
        self._done += parcel.size

    def _opened(self) -> SegmentFile:
        if self._file is None:
            self._file, self._told = self._create(), set()
            self._begun = self._now()
        return self._file

    def _sync(self) -> None:
        """Make durable what was written. Of rows whose sync failed nobody knows: who seals finds those that are there."""
        assert self._file is not None
        parcels, self._unsynced = self._unsynced, []
        try:
            self._file.sync()
        except OSError as error:
            for parcel in parcels:
                parcel.count(UNSYNCED)
            self._complain("rows may be lost", error)
            self._shut()
        for parcel in parcels:
            _release(parcel)

    def _leave(self) -> None:
        """The segment has what it can have."""
        if self._file is not None and self._unsynced:
            self._sync()
        self._shut()

    def _shut(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                file.close()

    def _complain(self, what: str, error: OSError) -> None:
        now = self._now()
        if now - self._said_s >= _QUIET_S:
            self._said_s = now
            _log.error("inference log: %s: %s", what, error.strerror or error)


def _release(parcel: Parcel) -> None:
    """Whoever waits for it waits no more."""
    if parcel.then is not None:
        parcel.then()
