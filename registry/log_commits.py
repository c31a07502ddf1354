"""The commits of an inference log: numbered immutable files that name what counts, each with the digest of the one before.

A commit is made by create-if-absent of the next number: that is the one point at which rows become part of the log. Who reads folds the
chain: files that were named and not taken back. What a fold found can be kept beside it, so that the next one is short.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import msgspec

from registry import commit_chain
from registry.commit_chain import Chain
from registry.errors import RegistryError, damaged
from registry.log_accounts import Account, Counts, Drops
from registry.log_layout import COMMITS
from registry.medium import Medium
from registry.names import digest_of

CACHE = "_head.json"


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A sealed file. Times: of the first and the last arrival in it, microseconds since the Unix epoch."""

    path: str  # relative to the log's root
    model: str
    rows: int
    bytes: int
    sha256: str
    min_ts: int
    max_ts: int
    payload: bool = True  # False: no row has one any more


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody asked to have erased: payloads of these requests and units, or of all, that arrived before. Times in microseconds."""

    id: str
    model: str = ""  # "": of any
    requests: tuple[str, ...] = ()  # 32 hexadecimal digits each
    units: tuple[str, ...] = ()  # 16 each
    before: int | None = None  # None: before it was asked for
    actor: str
    reason: str
    created: int


class WorkerPart(Account, frozen=False, kw_only=True, omit_defaults=True):
    """What a commit says of one worker: its rows and drops since the commit before, and whether it is all."""

    closed: bool = False


class Commit(commit_chain.Commit, frozen=True, kw_only=True):
    """One entry. `accepted` and `dropped` are the sums over its `workers`."""

    files: tuple[File, ...] = ()
    accepted: Counts = {}
    dropped: Drops = {}
    workers: dict[str, WorkerPart] = {}
    segments: tuple[str, ...] = ()  # ids of those whose rows are in `files`
    removed: tuple[str, ...] = ()  # paths that count no more
    erasure: Erasure | None = None  # what is erased from now on
    erased: str = ""  # for which payloads were erased in `files`, which stand for `removed`: the id of an erasure, or their age


class State(msgspec.Struct, kw_only=True):
    """What a chain adds up to."""

    seq: int = 0
    tip: str = ""
    files: dict[str, File] = {}  # by path
    workers: dict[str, Account] = {}  # that are not closed
    account: Account = msgspec.field(default_factory=Account)  # of all
    segments: dict[str, int] = {}  # committed ones, by the number of their commit
    removed: dict[str, int] = {}  # path → when it was taken back
    closed: dict[str, int] = {}  # workers that are, as `segments`
    erasures: dict[str, Erasure] = {}  # by id

    def fold(self, commit: Commit, tip: str) -> None:
        """Take in the next commit. Raises `Kind.DAMAGED` where it does not follow."""
        if (commit.seq, commit.prev) != (self.seq + 1, self.tip):
            raise damaged(f"commit {commit.seq} does not follow commit {self.seq}: the chain of the log is broken")
        self.seq, self.tip = commit.seq, tip
        self.files |= {file.path: file for file in commit.files}
        for path in commit.removed:
            self.files.pop(path, None)
            self.removed[path] = commit.created
        if commit.erasure is not None:
            self.erasures[commit.erasure.id] = commit.erasure
        self.segments |= dict.fromkeys(commit.segments, commit.seq)
        self.account.join(Account(accepted=commit.accepted, dropped=commit.dropped))
        for worker, part in commit.workers.items():
            self.workers.setdefault(worker, Account()).join(part)
            if part.closed:
                del self.workers[worker]
                self.closed[worker] = commit.seq


class LogChain(Chain[Commit]):
    """The commits of a log, and what they add up to. Readers write nothing."""

    def __init__(self, medium: Medium) -> None:
        super().__init__(medium, COMMITS, Commit, what="a commit of the log")

    def commits(self, *, after: int = 0) -> Iterator[tuple[Commit, str]]:
        """Each with the digest of its bytes. Raises `Kind.DAMAGED` where one is missing or unreadable, `Kind.STORAGE`."""
        walk = LogChain(self._medium)
        walk.skip_to(after)
        yield from walk.links()
        walk.check_end()

    def state(self, *, whole: bool = False) -> State:
        """Fold all commits; `whole` does so from the first one on, whatever was kept. Raises as `commits`."""
        state = (None if whole else self.kept()) or State()
        self.catch_up(state)
        return state

    def catch_up(self, state: State) -> None:
        """Fold what came since. Raises as `commits`."""
        for commit, digest in self.commits(after=state.seq):
            state.fold(commit, digest)

    def extend(self, state: State, commit: Commit) -> bool:
        """Add a commit that follows `state`, which then has it. False where another one was first. Raises `Kind.STORAGE`: then it may
        be there or not, and whoever folds again finds out."""
        digest = self.write(commit)
        if digest is not None:
            state.fold(commit, digest)
        return digest is not None

    def keep(self, state: State) -> None:
        """Leave what was folded for the next one. Its loss costs time, nothing else."""
        with suppress(RegistryError):
            self._medium.replace(f"{COMMITS}/{CACHE}", msgspec.json.encode(state))

    def kept(self) -> State | None:
        """What was left, if it is of this chain."""
        with suppress(RegistryError, msgspec.DecodeError):
            content = self._medium.read(f"{COMMITS}/{CACHE}")
            state = None if content is None else msgspec.json.decode(content, type=State)
            last = None if state is None else self.content(state.seq)
            if last is not None and state is not None and digest_of(last) == state.tip:
                return state
        return None
