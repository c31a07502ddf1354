"""A chain of numbered commits beside data files: which files there are, each commit holding the digest of the one before.

A commit is appended by create-if-absent of the next number, so that two writers never both have it, and readers use only files that a
commit names. The next is found by asking for its number; a list only tells whether one in between is missing. Knows not what is in the
files.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from registry.errors import Kind, RegistryError, damaged
from registry.formats import encode_state
from registry.medium import Medium
from registry.names import digest_of, number_of, numbered

FORMAT = 1
_SORTED = 90_000_000  # numbers up to here sort as text
BEGINNING = ""  # what the first commit follows

Count = Annotated[int, msgspec.Meta(ge=0)]


class _Numbered(msgspec.Struct):
    format: int


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """What every chain's commits have. `prev` is the digest of the bytes of the commit before; `created` is in microseconds."""

    format: int = FORMAT
    seq: Annotated[int, msgspec.Meta(ge=1)]
    prev: str
    created: int  # since the Unix epoch


C = TypeVar("C", bound=Commit)


class Chain(Generic[C]):
    """The commits under one prefix of a medium."""

    def __init__(self, medium: Medium, prefix: str, kind: type[C], *, what: str) -> None:
        """`kind` of commits; `what` one is called in messages."""
        self._medium, self._prefix, self._kind, self._what = medium, prefix, kind, what
        self.seq, self.tip = 0, BEGINNING  # of the last commit that was read or appended

    def key(self, seq: int) -> str:
        """Where a commit lies."""
        return f"{self._prefix}/{numbered(seq)}"

    def skip_to(self, seq: int) -> None:
        """Go on after commit `seq`, which was looked at before. Raises `Kind.DAMAGED` where it is missing."""
        if seq:
            content = self._medium.read(self.key(seq))
            if content is None:
                raise damaged(f"{self.key(seq)} is missing")
            self.seq, self.tip = seq, digest_of(content)

    def news(self) -> Iterator[C]:
        """Commits after the last one that was seen, each before it counts as seen. Raises `Kind.DAMAGED` where the chain breaks."""
        for commit, _ in self.links():
            yield commit

    def links(self) -> Iterator[tuple[C, str]]:
        """As `news`, each with the digest of its bytes."""
        while (content := self.content(self.seq + 1)) is not None:
            commit, digest = self.decoded(content, self.seq + 1), digest_of(content)
            if commit.prev != self.tip:
                raise damaged(f"{self.key(commit.seq)} does not follow the commit before it: the chain is broken")
            yield commit, digest
            self.seq, self.tip = commit.seq, digest

    def content(self, seq: int) -> bytes | None:
        """The bytes of a commit, or None where there is none. Raises `Kind.STORAGE`."""
        return self._medium.read(self.key(seq))

    def last(self) -> int:
        """Number of the newest commit that a list shows, at least that of the last one seen. Raises `Kind.STORAGE`."""
        names = self._medium.names(self._prefix, after=numbered(self.seq) if 0 < self.seq < _SORTED else "")
        return max((number_of(name) or 0 for name in names), default=0) or self.seq

    def check_end(self) -> None:
        """Whether the last one seen is the last: raises `Kind.DAMAGED` where the next one is missing and later ones are there."""
        last = self.last()
        if last > self.seq and self.content(self.seq + 1) is None:
            raise damaged(f"{self.key(self.seq + 1)} is missing, although commit {last} exists")

    def decoded(self, content: bytes, seq: int) -> C:
        """What the bytes of commit `seq` say. Raises `Kind.DAMAGED`, `Kind.UNSUPPORTED`."""
        commit, key = self._decoded(content, self.key(seq)), self.key(seq)
        if commit.seq != seq:
            raise damaged(f"{key} says that it is commit {commit.seq}")
        return commit

    def _decoded(self, content: bytes, key: str) -> C:
        try:
            number = msgspec.json.decode(content, type=_Numbered).format
            if number != FORMAT:
                raise RegistryError(Kind.UNSUPPORTED, f"{key} has format {number}; this release reads format {FORMAT}")
            return msgspec.json.decode(content, type=self._kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise damaged(f"{key} is not {self._what}: {error}") from error

    def append(self, now_us: int, **fields: Any) -> C | None:
        """The next commit, durably; None where another writer was first: then read `news` and decide again."""
        commit = self._kind(seq=self.seq + 1, prev=self.tip, created=now_us, **fields)
        digest = self.write(commit)
        if digest is None:
            return None
        self.seq, self.tip = commit.seq, digest
        return commit

    def write(self, commit: C) -> str | None:
        """Add a commit, durably: the digest of its bytes; None where there is one of its number."""
        content = encode_state(commit)
        return digest_of(content) if self._medium.create(self.key(commit.seq), content) else None


def moment(now_us: int) -> datetime:
    """Microseconds since the Unix epoch as a time of UTC."""
    return datetime.fromtimestamp(now_us // 1_000_000, UTC).replace(microsecond=now_us % 1_000_000)
