"""An inference log, as those read it who train, score or audit. Writes nothing; needs no server, and no pyarrow."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from registry.directory import DirectoryMedium
from registry.errors import RegistryError, storage_errors
from registry.log_accounts import Account
from registry.log_commits import Commit, File, LogChain, State
from registry.log_layout import LEDGER, SEGMENT, ids_of, open_log
from registry.medium import CHUNK_BYTES, Medium, Progress, unseen
from registry.objects import object_medium


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a log that is not as its commits say."""

    key: str
    message: str


class Log:
    """A log in a directory, at a URL, or on any medium."""

    def __init__(self, place: Path | str | Medium) -> None:
        """Raises `Kind.NOT_FOUND`, `Kind.UNSUPPORTED`, `Kind.DAMAGED`, `Kind.STORAGE`."""
        self.medium = medium_at(place) if isinstance(place, Path | str) else place
        self.id = open_log(self.medium).id
        self._chain = LogChain(self.medium)
        self._state: State | None = None

    def commits(self) -> Iterator[Commit]:
        """All of them, in order, each held against the one before. Raises `Kind.DAMAGED`, `Kind.STORAGE`."""
        state = State()
        for commit, digest in self._chain.commits():
            state.fold(commit, digest)
            yield commit

    def files(self, model: str | None = None, since: datetime | float | None = None, until: datetime | float | None = None) -> list[File]:
        """The files that count now and may hold rows of a model that arrived in since ≤ t < until (seconds since the Unix epoch, or
        aware times), the oldest first. Raises as `commits`."""
        low, high = (None if bound is None else _microseconds(bound) for bound in (since, until))
        found = [
            file
            for file in self.state().files.values()
            if model in (None, file.model) and (low is None or file.max_ts >= low) and (high is None or file.min_ts < high)
        ]
        return sorted(found, key=lambda file: (file.min_ts, file.path))

    def paths(self, model: str | None = None, since: datetime | float | None = None, until: datetime | float | None = None) -> list[str]:
        """As `files`, as paths or URLs that a reader of Parquet takes."""
        return [f"{self.medium.root}/{file.path}" for file in self.files(model, since, until)]

    def news(self, *, after: int = 0) -> tuple[list[File], int]:
        """Files of commits after `after` that count still, and the last commit. What was merged since is read from the merged file; one
        that only holds rows of files from before is left out. Raises as `commits`."""
        if not after:
            state = self.state()
            return list(state.files.values()), state.seq
        named: dict[str, File] = {}
        chain = LogChain(self.medium)
        chain.skip_to(after)
        for commit in chain.news():
            if commit.removed and not set(commit.removed) <= set(named):
                continue
            for path in commit.removed:
                del named[path]
            named |= {file.path: file for file in commit.files}
        return list(named.values()), chain.seq

    def state(self) -> State:
        """What all commits add up to now. Raises as `commits`."""
        if self._state is None:
            self._state = self._chain.state()
        else:
            self._chain.catch_up(self._state)
        return self._state

    def account(self) -> Account:
        """Rows that were accepted and dropped, by model and arm. Raises as `commits`."""
        return self.state().account

    def waiting(self) -> tuple[int, int]:
        """Raw segments that are not sealed yet, and ledgers of workers that are not settled. Raises `Kind.STORAGE`."""
        return len(ids_of(self.medium, SEGMENT)), len(ids_of(self.medium, LEDGER))

    def verify(self, *, progress: Progress = unseen) -> list[Problem]:
        """Read all of it again: the chain from its first commit, sums, and the bytes of every file. Raises `Kind.STORAGE`."""
        state, problems = State(), []
        try:
            for commit, digest in self._chain.commits():
                state.fold(commit, digest)
                problems += _sums(commit)
        except RegistryError as error:
            problems.append(Problem(f"commit {state.seq + 1}", error.message))
        for file in state.files.values():
            problem = self._compared(file, progress)
            if problem is not None:
                problems.append(Problem(file.path, problem))
        return problems

    def _compared(self, file: File, progress: Progress) -> str | None:
        fd = self.medium.open(file.path)
        if fd is None:
            return "it is missing"
        found, size = hashlib.sha256(), 0
        with storage_errors(f"read {file.path}"):
            try:
                while content := os.read(fd, CHUNK_BYTES):
                    found.update(content)
                    size += len(content)
                    progress(len(content))
            finally:
                os.close(fd)
        if found.hexdigest() != file.sha256:
            return f"its {size} bytes are not the {file.bytes} that were committed"
        return None


def _sums(commit: Commit) -> list[Problem]:
    """Whether what was accepted is in the files or was dropped."""
    rows: dict[str, int] = {}
    for model, _, logged, _ in Account(accepted=commit.accepted, dropped=commit.dropped).lines():
        rows[model] = rows.get(model, 0) + logged
    if commit.removed:  # the rows of others: nothing is accepted
        return []
    held: dict[str, int] = {}
    for file in commit.files:
        held[file.model] = held.get(file.model, 0) + file.rows
    wrong = [model for model in sorted(rows | held) if rows.get(model, 0) != held.get(model, 0)]
    return [
        Problem(f"commit {commit.seq}", f"model {model}: {rows.get(model, 0)} rows are accounted for, {held.get(model, 0)} are in files")
        for model in wrong
    ]


def medium_at(place: Path | str, options: dict[str, str] | None = None) -> Medium:
    """The storage at a path or URL. Raises `Kind.UNSUPPORTED`."""
    if isinstance(place, str) and "://" in place:
        return object_medium(place, options=options)
    return DirectoryMedium(Path(place))


def _microseconds(time: datetime | float) -> int:
    return int((time.timestamp() if isinstance(time, datetime) else time) * 1e6)
