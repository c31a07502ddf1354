"""Raw segments become sealed files, and part of the log by one commit. Whoever is killed at any step is followed by one who does it again.

In order: rows are read up to the last whole frame, written as files whose names follow from the segment's, named in a commit together with
what was dropped meanwhile, and only then is the segment removed. A segment that a commit names is never sealed again; a file that no commit
names is nothing, and is written over. One at a time works on a log: the lock of `_raw` says who.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from registry.directory import DirectoryMedium
from registry.errors import Kind, RegistryError, damaged, storage_errors
from registry.frames import frames
from registry.log_accounts import ARMS, IO_ERROR, WORKER_LOST, Account
from registry.log_columns import Kept, Part, kept_of, table_of
from registry.log_commits import Commit, Erasure, File, LogChain, State, WorkerPart
from registry.log_layout import LEDGER, RAW, SEGMENT, directory_of, ids_of, open_log, raw_key, sealed_name, worker_of
from registry.log_ledger import ACCEPTED, PROMISED, REASON_WORDS, UNSYNCED, Numbers, read_ledger
from registry.log_parquet import bounds_of, hours_of, read_table, write_table
from registry.log_rows import CONTRACT, ROWS, Contract, Head, contract_of, log_rows, read_contract, read_head, read_rows
from registry.log_rows import SEGMENT as SEGMENT_FRAME
from registry.log_stripping import stripped, struck

_log = logging.getLogger(__name__)
LOCK = f"{RAW}/lock"
MAX_SEGMENTS = 64  # of one commit


@dataclass(slots=True)
class Segment:
    """What a raw segment holds."""

    id: str
    head: Head | None = None  # None: it was torn before anything was in it
    parts: dict[tuple[str, Kept], list[Part]] = field(default_factory=dict)  # by model and what is kept
    account: Account = field(default_factory=Account)  # its rows


class Sealer:
    """Of one log. Every method may raise `Kind.STORAGE`, `Kind.DAMAGED`."""

    def __init__(self, medium: DirectoryMedium, *, wall: Callable[[], float]) -> None:
        """`wall`: seconds since the Unix epoch. Raises as `log_layout.open_log`."""
        open_log(medium)
        self.medium = medium
        self.chain = LogChain(medium)
        self.state = State()
        self._wall = wall
        self._folded = False

    @contextmanager
    def working(self) -> Iterator[None]:
        """Alone, with all commits read. Raises `Kind.CONFLICT` where another one is at it."""
        path = self.medium.root / LOCK
        with storage_errors(f"lock {path}"), ExitStack() as stack:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            stack.callback(os.close, fd)
            if not _locked(fd):
                raise RegistryError(Kind.CONFLICT, f"another process seals segments of {self.medium.root} at the moment")
            self.catch_up()
            yield

    def catch_up(self) -> None:
        """Take in what others committed."""
        if not self._folded:
            self.state, self._folded = self.chain.state(), True
        else:
            self.chain.catch_up(self.state)

    def seal(self) -> int:
        """One pass over what nobody writes any more. The number of segments that became part of the log. Within `working`."""
        with ExitStack() as stack:
            ended = [worker for worker in ids_of(self.medium, LEDGER) if self._take(stack, raw_key(worker, LEDGER))]
            there = ids_of(self.medium, SEGMENT)
            free = [segment for segment in there if self._take(stack, raw_key(segment, SEGMENT))]
            done = [segment for segment in free if segment in self.state.segments]
            waiting = [segment for segment in free if segment not in self.state.segments]
            writing = {worker_of(segment) for segment in there if segment not in free}
            ended = [worker for worker in ended if worker not in writing]  # it dies at this moment
            sealed = 0
            for start in range(0, max(len(waiting), 1), MAX_SEGMENTS):
                some = waiting[start : start + MAX_SEGMENTS]
                sealed += self._commit(some, ended if start + MAX_SEGMENTS >= len(waiting) else [])
            for segment in [*done, *waiting]:
                self.medium.remove(raw_key(segment, SEGMENT))
                self.state.segments.pop(segment, None)
            for worker in ended:
                if worker not in self.state.workers:
                    self.medium.remove(raw_key(worker, LEDGER))
                    self.state.closed.pop(worker, None)
        return sealed

    def _take(self, stack: ExitStack, key: str) -> bool:
        """Lock it, if its writer is gone, until the stack ends."""
        fd = self.medium.open(key)
        if fd is None:
            return False
        if not _locked(fd):
            os.close(fd)
            return False
        stack.callback(os.close, fd)
        return True

    def _commit(self, segments: list[str], ended: list[str]) -> int:
        """Seal some segments, and have one commit say so, and what has been dropped since the last one."""
        found = [self._read(segment) for segment in segments]
        files = [file for segment in found for file in self._files(segment)]
        parts: dict[str, WorkerPart] = {}
        for segment in found:
            if segment.head is not None:
                parts.setdefault(segment.head.worker, WorkerPart()).join(segment.account)
        for worker in [worker for worker in ids_of(self.medium, LEDGER) if worker not in self.state.closed]:
            part = parts.setdefault(worker, WorkerPart())
            self._settle(worker, part, ended=worker in ended)
        parts = {worker: part for worker, part in parts.items() if not part.empty or (part.closed and worker in self._open_workers(parts))}
        if not (files or parts or segments):
            return 0
        self._append(files, parts, segments)
        return len(segments)

    def _open_workers(self, parts: dict[str, WorkerPart]) -> set[str]:
        """Those that some commit has said something of, or this one does."""
        return set(self.state.workers) | {worker for worker, part in parts.items() if not part.empty}

    def _settle(self, worker: str, part: WorkerPart, *, ended: bool) -> None:
        """What a worker has dropped that no commit says yet; of one that has ended, what else is missing of what it accepted."""
        numbers = read_ledger(self.medium.root / raw_key(worker, LEDGER))
        before = self.state.workers.get(worker, Account())
        for model, arm, dropped in drops_of(numbers, before):
            part.add(model, arm, 0, dropped)
        if not ended:
            return
        part.closed = True
        for model, arms in numbers.items():
            for arm, words in arms.items():
                missing = words[ACCEPTED] + words[PROMISED] - before.of(model, arm)[0] - part.of(model, arm)[0]
                unsynced = max(0, min(missing, words[UNSYNCED]))
                if missing > 0:
                    part.add(model, arm, 0, {IO_ERROR: unsynced, WORKER_LOST: missing - unsynced})

    def _append(
        self, files: list[File], parts: dict[str, WorkerPart], segments: list[str], removed: tuple[str, ...] = (), **more: Any
    ) -> None:
        total = Account()
        for part in parts.values():
            total.join(part)
        while True:
            commit = Commit(
                seq=self.state.seq + 1, prev=self.state.tip, created=int(self._wall() * 1e6), files=tuple(files), accepted=total.accepted,
                dropped=total.dropped, workers=parts, segments=tuple(segments), removed=removed, **more,
            )  # fmt: skip
            if self.chain.extend(self.state, commit):
                return
            self.chain.catch_up(self.state)
            if set(segments) & set(self.state.segments):
                raise damaged(f"segment {segments[0]} was committed by somebody who does not hold {LOCK}")

    def replace(self, files: list[File], removed: tuple[str, ...], *, erased: str = "") -> None:
        """Commit files in place of others, which count no more; `erased` as `Commit.erased`. Within `working`."""
        self._append(files, {}, [], removed, erased=erased)

    def table(self, file: File) -> Any:
        """The rows of a committed file. Raises `Kind.STORAGE`."""
        fd = self.medium.open(file.path)
        with storage_errors(f"read {file.path}"):
            if fd is None:
                raise FileNotFoundError(2, "it is gone")
            try:
                return read_table(fd)
            finally:
                os.close(fd)

    def declare(self, erasure: Erasure) -> None:
        """Commit that something is to be erased: of what is sealed later, too. Within `working`."""
        self._append([], {}, [], erasure=erasure)

    # --- one segment -----------------------------------------------------------------------------------------------------------

    def _read(self, segment: str) -> Segment:
        path = self.medium.root / raw_key(segment, SEGMENT)
        with storage_errors(f"read {path}"):
            content = path.read_bytes()
        return read_segment(segment, content)

    def _files(self, segment: Segment) -> Iterator[File]:
        """Write what a segment holds, one file for each model, hour and kind of rows."""
        taken: dict[str, int] = {}
        for (model, _), parts in segment.parts.items():
            assert segment.head is not None
            for hour, table in hours_of(self._without_erased(model, table_of(segment.head, parts))):
                directory = directory_of(model, hour)
                number = taken[directory] = taken.get(directory, -1) + 1
                yield self.write(f"{directory}/{sealed_name(segment.head.node, segment.id, number)}", model, table)

    def _without_erased(self, model: str, table: Any) -> Any:
        """What was to be erased before it was sealed."""
        first, _ = bounds_of(table)
        for erasure in self.state.erasures.values():
            if erasure.model in ("", model) and first < erasure.created:
                table = stripped(table, struck(table, erasure))
        return table

    def write(self, path: str, model: str, table: Any, *, payload: bool = True) -> File:
        """A file that no commit names yet; one of that name that is there is written over: nobody has it in a commit either."""
        low, high = bounds_of(table)
        with self.medium.stage() as staged:
            with storage_errors(f"write {path}"):
                write_table(table, staged.write)
            if not self.medium.commit(staged, path):
                self.medium.remove(path)
                if not self.medium.commit(staged, path):
                    raise damaged(f"{path} is written by somebody who does not hold {LOCK}")
            return File(
                path=path, model=model, rows=table.num_rows, bytes=staged.size_bytes, sha256=staged.digest.removeprefix("sha256:"),
                min_ts=low, max_ts=high, payload=payload,
            )  # fmt: skip


def drops_of(numbers: Numbers, before: Account) -> Iterator[tuple[str, str, dict[str, int]]]:
    """(model, arm, rows by reason) that a ledger says and `before` does not."""
    for model, arms in numbers.items():
        for arm, words in arms.items():
            said = before.of(model, arm)[1]
            more = {reason: words[word] - said.get(reason, 0) for reason, word in REASON_WORDS.items()}
            yield model, arm, {reason: count for reason, count in more.items() if count > 0}


def read_segment(segment: str, content: bytes) -> Segment:
    """Everything up to the last frame that is whole. What a frame holds that is whole and makes no sense ends it too."""
    found = Segment(segment)
    contracts: dict[int, Contract] = {}
    try:
        for frame in frames(content):
            if frame.kind == SEGMENT_FRAME:
                found.head = read_head(frame.payload)
            elif frame.kind == CONTRACT:
                contract = read_contract(frame.payload)
                contracts[contract.number] = contract
            elif frame.kind == ROWS:
                _take_rows(found, contracts, frame.payload)
    except (ValueError, KeyError) as error:
        _log.error("segment %s: %s; what stands behind it is lost", segment, error)
    return found


def _take_rows(found: Segment, contracts: dict[int, Contract], payload: memoryview) -> None:
    contract = contracts[contract_of(payload)]
    rows = read_rows(payload, contract)
    found.parts.setdefault((contract.model, kept_of(contract)), []).append((contract, rows))
    counts = np.bincount(rows.requests["arm"], weights=log_rows(rows.requests), minlength=len(ARMS))
    for arm, count in zip(ARMS, counts.tolist(), strict=True):
        found.account.add(contract.model, arm, int(count))


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
