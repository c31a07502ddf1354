"""The labels of an inference log: appended once for each id, in batches that are there whole or not at all.

Owns `_labels/` and `_label_commits/`. Any number of writers: whoever loses the next number reads what the other wrote and decides again, so
no id is ever stored twice. A batch is answered when it is durable; after an error the same batch, sent again, finds out what happened.
"""

from __future__ import annotations

import enum
import os
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from registry.commit_chain import Chain, Commit, Count, moment
from registry.directory import DirectoryMedium
from registry.errors import Kind, RegistryError, damaged, storage_errors
from registry.label import Label, content_digest, id_digest, problem_of
from registry.label_files import ids_in, parquet_of
from registry.label_ids import LabelIds
from registry.log_layout import make_log, open_log
from registry.medium import FileCalls

FOLDER, COMMITS = "_labels", "_label_commits"
MAX_BATCH = 1 << 16  # labels of one commit, all in memory
_ORPHAN_S = 3_600.0  # after which a file that no commit names is of a writer that died


class Fate(enum.Enum):
    """What became of a label. The value is the word that answers have."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"  # the same label was stored before
    REFUSED = "refused"


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What became of a label, and why it was refused."""

    fate: Fate
    reason: str = ""


class LabelFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of labels; times are those of arrival, in microseconds since the Unix epoch."""

    path: str
    rows: Count
    bytes: Count
    sha256: str
    min_ts: int
    max_ts: int


class LabelCommit(Commit, frozen=True, kw_only=True):
    """Files that are there from now on, and files whose labels are in those now."""

    files: tuple[LabelFile, ...]
    removed: tuple[str, ...] = ()


ACCEPTED, DUPLICATE = Outcome(Fate.ACCEPTED), Outcome(Fate.DUPLICATE)


class Labels:
    """The labels of the log in one directory, for writing. Not for several threads at a time."""

    def __init__(self, root: Path, *, calls: FileCalls = os, new_name: Callable[[], str] = lambda: uuid.uuid4().hex) -> None:
        """Makes the log where there is none. Raises `Kind.STORAGE`, `Kind.DAMAGED`, `Kind.UNSUPPORTED`."""
        self.root = root
        self._medium = DirectoryMedium(root, calls=calls)
        self._new_name = new_name
        make_log(self._medium, new_name())
        self._ids = LabelIds(self._medium, root)
        self._chain = Chain(self._medium, COMMITS, LabelCommit, what="a commit of labels")
        self._chain.skip_to(self._ids.covered)
        self.catch_up()

    def __len__(self) -> int:
        """Labels that are stored."""
        return len(self._ids)

    @property
    def seq(self) -> int:
        """Of the last commit that is known here."""
        return self._chain.seq

    def ingest(self, labels: Sequence[Label], now_us: int) -> list[Outcome]:
        """What became of each, when that is durable. Raises `ValueError` for more than `MAX_BATCH`; `Kind.STORAGE`, after which any part
        of them may be stored: the same call again says which."""
        if len(labels) > MAX_BATCH:
            raise ValueError(f"{len(labels)} labels at a time, more than {MAX_BATCH}")
        problems = [problem_of(label, now_us) for label in labels]
        digests = [id_digest(label.label_id) for label in labels]
        contents = [content_digest(label) for label in labels]
        while True:
            self.catch_up()
            outcomes = self._decide(labels, problems, digests, contents)
            chosen = [index for index, outcome in enumerate(outcomes) if outcome is ACCEPTED]
            if not chosen or self._write([labels[index] for index in chosen], [contents[index] for index in chosen], now_us):
                break
        if chosen:
            self._ids.add(self._chain.seq, {digests[index]: contents[index] for index in chosen})
        return outcomes

    def catch_up(self) -> None:
        """Learn what other writers have committed. Raises `Kind.DAMAGED`, `Kind.STORAGE`."""
        gone: set[str] = set()  # merged into others meanwhile
        for commit in self._chain.news():
            for file in commit.files if not commit.removed or gone.intersection(commit.removed) else ():  # else its labels are known
                if not self._learn(commit.seq, file):
                    gone.add(file.path)
            gone.difference_update(commit.removed)
            self._ids.add(commit.seq, {})
        if gone:
            raise damaged(f"{min(gone)} is missing, and no commit says that it was removed")

    def _learn(self, seq: int, file: LabelFile) -> bool:
        """The ids of a file of commit `seq`. False where there is no such file."""
        with storage_errors(f"read {file.path}"):
            try:
                for ids in ids_in(self.root / file.path):
                    self._ids.add(seq - 1, ids)
            except FileNotFoundError:
                return False
        return True

    def close(self) -> None:
        """Leave the ids where the next writer finds them at once."""
        with suppress(RegistryError):  # only a cache
            self._ids.flush()

    def sweep(self, now_s: float) -> int:
        """Remove files that writers which died have left. Returns how many."""
        named, removed = {file.path for file in LabelLog(self.root).files()}, 0
        for date in self._medium.names(FOLDER):
            for name in self._medium.names(f"{FOLDER}/{date}"):
                key = f"{FOLDER}/{date}/{name}"
                stat = None if key in named else self._medium.stat(key)
                removed += stat is not None and now_s - stat.modified_s > _ORPHAN_S and self._medium.remove(key)
        return removed

    def store(self, date: str, content: bytes, *, rows: int, arrivals: tuple[int, int]) -> LabelFile:
        """A file that no commit names yet. arrivals: the first and last. Raises `Kind.STORAGE`."""
        key = f"{FOLDER}/date={date}/{self._new_name()}.parquet"
        with self._medium.stage() as staged:
            with storage_errors(f"write {key}"):
                staged.write(content)
            if not self._medium.commit(staged, key):
                raise RegistryError(Kind.CONFLICT, f"{key} exists already")
            digest = staged.digest.removeprefix("sha256:")
            return LabelFile(path=key, rows=rows, bytes=staged.size_bytes, sha256=digest, min_ts=arrivals[0], max_ts=arrivals[1])

    def commit(self, files: Sequence[LabelFile], now_us: int, *, removed: tuple[str, ...] = ()) -> bool:
        """Name files. False where another writer was first; then they are gone. Raises `Kind.STORAGE`, after which they may be named."""
        if self._chain.append(now_us, files=tuple(files), removed=removed) is not None:
            return True
        for file in files:
            self._medium.remove(file.path)
        return False

    def _write(self, labels: Sequence[Label], contents: Sequence[int], now_us: int) -> bool:
        days: dict[str, list[int]] = defaultdict(list)
        arrivals = [now_us if label.arrival_us is None else label.arrival_us for label in labels]
        for index, arrival in enumerate(arrivals):
            days[moment(arrival).date().isoformat()].append(index)
        files = []
        for date, chosen in sorted(days.items()):
            content = parquet_of([labels[index] for index in chosen], [contents[index] for index in chosen], now_us)
            times = [arrivals[index] for index in chosen]
            files.append(self.store(date, content, rows=len(chosen), arrivals=(min(times), max(times))))
        return self.commit(files, now_us)

    def _decide(self, labels: Sequence[Label], problems: Sequence[str], digests: Sequence[bytes], contents: Sequence[int]) -> list[Outcome]:
        """Against what is stored and what comes earlier in the batch."""
        asked = [*digests, *(id_digest(label.supersedes) for label in labels if label.supersedes is not None)]
        known, outcomes = self._ids.known(asked), []
        for label, problem, digest, content in zip(labels, problems, digests, contents, strict=True):
            if problem:
                outcomes.append(Outcome(Fate.REFUSED, problem))
            elif digest in known:
                outcomes.append(DUPLICATE if known[digest] == content else _CONFLICT)
            elif label.supersedes is not None and id_digest(label.supersedes) not in known:
                outcomes.append(Outcome(Fate.REFUSED, f"there is no label {label.supersedes!r} that it could supersede"))
            else:
                known[digest] = content
                outcomes.append(ACCEPTED)
        return outcomes


_CONFLICT = Outcome(
    Fate.REFUSED, "another label has this label_id: a correction has an id of its own, and names the one that was wrong as supersedes"
)


class LabelLog:
    """The labels of a log, for reading. Takes no locks."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._medium = DirectoryMedium(root)

    def commits(self, *, after: int = 0) -> Iterator[LabelCommit]:
        """From the first after `after`. Raises `Kind.NOT_FOUND` where there is no log, `Kind.DAMAGED`, `Kind.UNSUPPORTED`."""
        open_log(self._medium)
        chain = Chain(self._medium, COMMITS, LabelCommit, what="a commit of labels")
        chain.skip_to(after)
        yield from chain.news()

    def files(self, *, until: int | None = None) -> list[LabelFile]:
        """What commits up to `until` name, without what has been merged into others. Raises as `commits`."""
        named: dict[str, LabelFile] = {}
        for commit in self.commits():
            if until is not None and commit.seq > until:
                break
            for path in commit.removed:
                named.pop(path, None)
            named |= {file.path: file for file in commit.files}
        return list(named.values())
