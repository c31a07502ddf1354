"""The log of one model: numbered immutable entries, each holding the digest of the one before.

Owns `models/<name>/log/` and its cache `head.json`. An entry is appended by create-if-absent of the next number, so two writers cannot both
have it: that is the one point at which an operation happens. The cache is never needed: it makes reading faster, and it bears witness
when the end of the log is lost or changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from registry import head as heads
from registry.entries import Deed, Entry, VersionCreated, decode, encode, same_deed
from registry.errors import Kind, RegistryError, damaged
from registry.head import Head, Link, fold
from registry.medium import Medium
from registry.names import digest_of, number_of, numbered

_SORTED = 90_000_000  # numbers up to here sort as text


class Journal:
    """The log of `model` on `medium`. Readers write nothing."""

    def __init__(self, medium: Medium, model: str) -> None:
        self._medium = medium
        self._model = model
        self._log = f"models/{model}/log"
        self.head_key = f"models/{model}/head.json"

    def read(self) -> Head:
        """The newest state, from the cache and the entries after it. Raises `Kind.DAMAGED` naming the entry that breaks the chain."""
        head = self.cached() or Head(model=self._model)
        last = self.last_number(after=head.seq)  # listed after the cache was read, so that it cannot honestly be behind it
        self._check_witness(head)
        return fold(head, self.links(after=head.seq, last=last))

    def links(self, *, after: int, last: int) -> Iterator[Link]:
        """Entries `after + 1` to `last`. Raises `Kind.DAMAGED` where one is missing or unreadable."""
        for number in range(after + 1, last + 1):
            key = self.key(number)
            content = self._medium.read(key)
            if content is None:
                raise damaged(f"{key} is missing, although entry {last} exists")
            yield Link(entry=decode(content, key=key), digest=digest_of(content), key=key)

    def key(self, number: int) -> str:
        """Of an entry."""
        return f"{self._log}/{numbered(number)}"

    def append(self, head: Head, entry: Entry) -> Head | None:
        """Add `entry`, which follows `head`. None where another writer added one first; then `read` again."""
        content = encode(entry)
        link = Link(entry=entry, digest=digest_of(content), key=self.key(entry.seq))
        after = fold(head, [link])  # first: what would be damage is not written
        return after if self._medium.create(link.key, content) else None

    def perform(self, draft: Deed, check: Callable[[Head], Mapping[str, Any]]) -> tuple[Deed, Head, bool]:
        """Append `draft` once for its operation id: (entry, state after it, whether this call did it).

        `check` sees the newest state each time another writer was first; it refuses by raising, else names fields to set. Raises
        `Kind.CONFLICT` where the id stands for another deed. After `Kind.STORAGE` it may or may not have happened; the same id finds out.
        """
        while True:
            head = self.read()
            done = head.operations.get(draft.operation_id)
            if done is not None:
                return self._repeated(done, draft), head, False
            entry = msgspec.structs.replace(draft, seq=head.seq + 1, prev=head.tip, **check(head))
            after = self.append(head, entry)
            if after is not None:
                with suppress(RegistryError):  # only the cache
                    self.remember(after)
                return entry, after, True

    def remember(self, head: Head) -> None:
        """Write the cache. Its loss costs the next reader time, nothing else."""
        self._medium.replace(self.head_key, heads.encode(head))

    def cached(self) -> Head | None:
        """The cache as it is, or None where it is absent or not intact."""
        try:
            content = self._medium.read(self.head_key)
        except RegistryError:
            return None
        return None if content is None else heads.decode(content, model=self._model)

    def last_number(self, *, after: int = 0) -> int:
        """Number of the newest entry, at least `after`; 0 in an empty log."""
        names = self._medium.names(self._log, after=numbered(after) if 0 < after < _SORTED else "")
        return max((number_of(name) or 0 for name in names), default=0) or after

    def _repeated(self, number: int, draft: Deed) -> Deed:
        """The entry of an operation that was done before, if it is the same one."""
        (link,) = self.links(after=number - 1, last=number)
        if isinstance(link.entry, VersionCreated) or not same_deed(draft, link.entry):
            text = f"operation id '{draft.operation_id}' already stands for another one, entry {number} of the log of model '{self._model}'"
            raise RegistryError(Kind.CONFLICT, text)
        return link.entry

    def _check_witness(self, head: Head) -> None:
        """A cache is written after its last entry is durable: where they disagree, the log was cut or changed."""
        if head.seq == 0:
            return
        content = self._medium.read(self.key(head.seq))
        if content is None or digest_of(content) != head.tip:
            state = "missing" if content is None else "changed"
            raise damaged(f"{self.key(head.seq)} is {state}: {self.head_key} has seen it as {head.tip}")
