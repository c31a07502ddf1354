"""Content by digest, on any medium. Knows no models.

A blob may lie in the trash for a while (`gc`), from where every reader still finds it and every writer that needs it takes it back. That is
what makes garbage collection safe beside publishing; the argument stands in `gc`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import BinaryIO, TypeVar

from registry.errors import damaged, storage_errors
from registry.medium import CHUNK_BYTES, Medium, Progress, Staged, hashed, unseen
from registry.names import blob_key, digest_of, trash_key

_Found = TypeVar("_Found")


class Blobs:
    """The blobs of one registry."""

    def __init__(self, medium: Medium) -> None:
        self.medium = medium

    def stage(self) -> AbstractContextManager[Staged]:
        """A place to write a blob to before it is known whether it is wanted."""
        return self.medium.stage()

    def commit(self, staged: Staged) -> tuple[str, int]:
        """Make staged content a blob, durably: (digest, bytes). Raises `Kind.DAMAGED` where its place holds other bytes."""
        key = blob_key(staged.digest)
        if not self.medium.commit(staged, key):
            raise damaged(f"{key} does not hold what its name says; remove that file and repeat")
        return staged.digest, staged.size_bytes

    def put(self, source: Path | BinaryIO | bytes) -> tuple[str, int]:
        """Store content: (digest, bytes). Content that is there already is verified, not written again."""
        with ExitStack() as stack:
            staged = stack.enter_context(self.stage())
            file = stack.enter_context(_opened(source)) if isinstance(source, Path) else source
            with storage_errors("store a blob"):
                for chunk in [file] if isinstance(file, bytes) else iter(lambda: file.read(CHUNK_BYTES), b""):
                    staged.write(chunk)
            return self.commit(staged)

    def open(self, digest: str) -> int:
        """A descriptor that the caller closes; the bytes are not checked. Raises `Kind.DAMAGED` where the blob is gone."""
        return self._anywhere(digest, self.medium.open)

    def read(self, digest: str) -> bytes:
        """A small blob, checked. Raises `Kind.DAMAGED`."""
        content = self._anywhere(digest, self.medium.read)
        if digest_of(content) != digest and self.medium.forget(blob_key(digest)):
            content = self._anywhere(digest, self.medium.read)
        if digest_of(content) != digest:
            raise damaged(f"{blob_key(digest)} does not hold what its name says")
        return content

    def digest_now(self, digest: str, *, progress: Progress = unseen) -> str:
        """What the blob's bytes hash to, read in pieces. Raises `Kind.DAMAGED` where it is gone."""
        with storage_errors(f"read {blob_key(digest)}"), os.fdopen(self.open(digest), "rb") as file:
            return hashed(file, progress=progress)

    def keep(self, digests: Iterable[str]) -> None:
        """Take what somebody now refers to back from the trash. Raises `Kind.DAMAGED` where a blob is nowhere."""
        for digest in sorted(set(digests)):
            if self.medium.stat(blob_key(digest)) is None:
                self._restore(digest)

    def _restore(self, digest: str) -> None:
        for run in self.medium.names("trash"):
            if self.medium.copy(trash_key(run, digest), blob_key(digest)):
                return
        if self.medium.stat(blob_key(digest)) is None:  # else somebody took it back meanwhile
            raise damaged(f"{blob_key(digest)} is missing")

    def _anywhere(self, digest: str, find: Callable[[str], _Found | None]) -> _Found:
        """From its place, from the trash, and from its place again: it may be taken back while the trash is looked through."""
        found = find(blob_key(digest))
        if found is None:
            trashed = (find(trash_key(run, digest)) for run in self.medium.names("trash"))
            found = next((content for content in trashed if content is not None), None)
        if found is None:
            found = find(blob_key(digest))
        if found is None:
            raise damaged(f"{blob_key(digest)} is missing")
        return found


def _opened(path: Path) -> BinaryIO:
    with storage_errors(f"open {path.name}"):
        return path.open("rb")
