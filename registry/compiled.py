"""Graphs as the runtime has optimised them, kept on this machine by what they were made of, so that a version loads faster the next time.

Best effort, like all copies: what is not there, or not whole, is made again, and nothing here is a reason not to serve. Every file begins
with the digest of the rest, which is looked at on the very bytes that are loaded. That finds damage; against somebody who can write to the
directory there is only its owner and mode: it belongs to the server's user, and nobody else may write there.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from registry.copies import Copies
from registry.names import digest_of
from registry.sealed import SealedFile, seal_copy

MAX_BYTES = 4 << 30  # of all files; those that were not used for the longest time go first
_HEAD_BYTES = len("sha256:") + 64 + 1
_CHUNK_BYTES = 1 << 20
_log = logging.getLogger(__name__)


def key_of(*facts: str) -> str:
    """What a graph was made of and for: its file's digest, the runtime, the machine, the settings."""
    return digest_of("\n".join(facts).encode()).removeprefix("sha256:")


class Compiled:
    """The files of one directory, which any number of processes may share: each is written whole beside its name, then given it."""

    def __init__(self, directory: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self._copies = Copies(directory if _is_ours(directory) else None, max_blob_bytes=max_bytes)

    def find(self, key: str) -> SealedFile | None:
        """The graph, in memory that nobody can change; the caller closes it. None where there is none, or one that is not whole."""
        fd = self._copies.open(_place(key))
        if fd is None:
            return None
        try:
            head = os.pread(fd, _HEAD_BYTES, 0)
            sealed = seal_copy(fd, name="optimized", start=_HEAD_BYTES)
        except OSError:
            return None
        finally:
            os.close(fd)
        if head == f"{sealed.digest}\n".encode():
            return sealed
        sealed.close()
        self.forget(key)
        _log.warning("an optimised graph is damaged and is made again: %s", key)
        return None

    def keep(self, key: str, graph: SealedFile) -> None:
        """For the next time."""
        self._copies.keep(_place(key), _content(graph))

    def forget(self, key: str) -> None:
        """It is of no use."""
        self._copies.forget(_place(key))


def _place(key: str) -> str:
    return f"blobs/{key}"


def _content(graph: SealedFile) -> Iterator[bytes]:
    yield f"{graph.digest}\n".encode()
    for offset in range(0, graph.size_bytes, _CHUNK_BYTES):
        yield os.pread(graph.fd, _CHUNK_BYTES, offset)


def _is_ours(directory: Path) -> bool:
    """Whether the directory can be had for ourselves; it is made where it is absent."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = directory.stat()
    except OSError as error:
        _log.warning("optimised graphs are not kept: %s: %s", directory, error.strerror)
        return False
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o022:
        _log.warning("optimised graphs are not kept: %s belongs to another user, or others may write there", directory)
        return False
    return True
