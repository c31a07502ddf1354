"""A chain of numbered commits beside data files: which files there are, each commit holding the digest of the one before.

A commit is appended by create-if-absent of the next number, so that two writers never both have it, and readers use only files that a
commit names. The tip is found by asking for the next number, never by listing. Knows not what is in the files.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from registry.errors import Kind, RegistryError, damaged
from registry.formats import encode_state
from registry.medium import Medium
from registry.names import digest_of, numbered

FORMAT = 1
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
        while (content := self._medium.read(self.key(self.seq + 1))) is not None:
            key = self.key(self.seq + 1)
            commit = self._decoded(content, key)
            if (commit.seq, commit.prev) != (self.seq + 1, self.tip):
                raise damaged(f"{key} does not follow the commit before it")
            yield commit
            self.seq, self.tip = commit.seq, digest_of(content)

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
        content = encode_state(commit)
        if not self._medium.create(self.key(commit.seq), content):
            return None
        self.seq, self.tip = commit.seq, digest_of(content)
        return commit


def moment(now_us: int) -> datetime:
    """Microseconds since the Unix epoch as a time of UTC."""
    return datetime.fromtimestamp(now_us // 1_000_000, UTC).replace(microsecond=now_us % 1_000_000)
