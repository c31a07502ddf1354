"""What a registry needs from storage: keys that appear whole or not at all. A directory and an object store keep the same contract.

A key is a relative path with `/`. `create` and `commit` are create-if-absent *with full content*: `link(2)` in a directory, a conditional
put in an object store. Knows no models.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from registry.limits import RegistryLimits

CHUNK_BYTES = 1 << 20  # one read while hashing: past 256 KiB sha256 runs at its own speed
Progress = Callable[[int], None]  # bytes that were copied or hashed since the last call


def unseen(count: int) -> None:
    """Nobody watches."""


def hashed(file: BinaryIO, *, progress: Progress = unseen) -> str:
    """The digest of the rest of a file, read in pieces. Raises `OSError`."""
    found, piece = hashlib.sha256(), memoryview(bytearray(CHUNK_BYTES))
    while count := file.readinto(piece):  # type: ignore[attr-defined]  # `BinaryIO` does not know it; every binary file has it
        found.update(piece[:count])
        progress(count)
    return "sha256:" + found.hexdigest()


class FileCalls(Protocol):
    """The calls that change files. `os` is the implementation; tests stop, fail or count each one."""

    open: Any
    write: Any
    fsync: Any
    fdatasync: Any
    ftruncate: Any
    posix_fallocate: Any
    fchmod: Any
    link: Any
    unlink: Any
    replace: Any
    mkdir: Any
    rmdir: Any
    close: Any


class Staged:
    """Content that is being written and has no key yet. It disappears unless `Medium.commit` names it."""

    def __init__(self, calls: FileCalls, fd: int, *, path: Path | None) -> None:
        self.fd = fd
        self.path = path  # None with O_TMPFILE, where the kernel removes an unnamed file even after a crash
        self.size_bytes = 0
        self._calls = calls
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        """Of everything written so far."""
        return "sha256:" + self._hash.hexdigest()

    def write(self, content: bytes | memoryview) -> None:
        """Append and hash. Raises `OSError`."""
        rest = memoryview(content).cast("B")
        self._hash.update(rest)
        self.size_bytes += len(rest)
        while rest:
            rest = rest[self._calls.write(self.fd, rest) :]


@dataclass(frozen=True, slots=True)
class Stat:
    """What is known of a key without reading it."""

    size_bytes: int
    modified_s: float  # seconds since the Unix epoch, by the clock of the storage


class Medium(Protocol):
    """A store of keys. Every write is durable when its call returns; readers take no locks. Every method may raise `Kind.STORAGE`."""

    limits: RegistryLimits

    @property
    def root(self) -> Any:
        """Where it is, for people: a `Path` or a URL without credentials."""
        ...

    def prepare(self) -> None:
        """Make an absent directory; make sure that conditional writes work. Raises `Kind.UNSUPPORTED`."""
        ...

    def read(self, key: str) -> bytes | None:
        """The whole content, or None where the key is absent. Raises `Kind.DAMAGED` past `max_state_bytes`."""
        ...

    def open(self, key: str) -> int | None:
        """A read-only descriptor that the caller closes, or None where the key is absent."""
        ...

    def forget(self, key: str) -> bool:
        """Drop a local copy of `key`, which turned out to be wrong. False where there is none: then `key` itself is wrong."""
        ...

    def keep_here(self, name: str, content: bytes) -> None:
        """Keep a note on this machine, where copies are kept at all. Best effort."""
        ...

    def kept_here(self, name: str) -> bytes | None:
        """A note of this machine, or None."""
        ...

    def stat(self, key: str) -> Stat | None:
        """Size and time of a key, or None where it is absent."""
        ...

    def names(self, prefix: str, *, after: str = "") -> list[str]:
        """Names directly under `prefix` and past `after`, sorted; none where it does not exist.

        Not one instant: what is created meanwhile may be missing although something later is not.
        """
        ...

    def stage(self) -> AbstractContextManager[Staged]:
        """A place to write content to before it has a key. Nothing remains of it unless it was committed."""
        ...

    def commit(self, staged: Staged, key: str) -> bool:
        """Name the staged content `key`, durably. False where other content has that key, which then stays."""
        ...

    def create(self, key: str, content: bytes) -> bool:
        """Create-if-absent with full content. True where `key` now holds exactly `content`, whoever wrote it."""
        ...

    def replace(self, key: str, content: bytes, *, durable: bool = False) -> None:
        """Swap the content atomically. Without `durable` a power failure may lose it: for caches, whose readers can rebuild them."""
        ...

    def copy(self, key: str, to: str) -> bool:
        """Give the content of `key` a second name, durably; an existing one stays. False where `key` is absent."""
        ...

    def remove(self, key: str) -> bool:
        """Take a key away; an empty directory may stay. False where it was absent."""
        ...

    def remove_directory(self, prefix: str) -> None:
        """Take an empty directory away, where there are directories; one that is not empty stays."""
        ...

    def make_directory(self, prefix: str) -> None:
        """Create a directory and its parents durably, where there are directories."""
        ...

    def sync(self, prefix: str) -> None:
        """Make what is listed under `prefix` durable, whoever wrote it."""
        ...
