"""Bytes that cannot change any more: a copy in a sealed memory file, hashed after it was sealed.

What is hashed is therefore what is loaded, whatever happens to the file on disk meanwhile. Each holds its size in memory and one
descriptor.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import mmap
import os
from dataclasses import dataclass

_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
_COPY_BYTES = 1 << 30  # one sendfile; the kernel stops a little below 2 GiB


@dataclass(frozen=True, slots=True)
class SealedFile:
    """A copy that neither this process nor another can write, grow or shrink. The owner calls `close`."""

    file: io.FileIO
    size_bytes: int
    digest: str

    @property
    def fd(self) -> int:
        """For passing on to a child process."""
        return self.file.fileno()

    @property
    def path(self) -> str:
        """Opens the same bytes in this process, as long as `close` was not called."""
        return f"/proc/self/fd/{self.fd}"

    def map(self) -> mmap.mmap:
        """The bytes as a read-only map, which outlives `close`. Raises `ValueError` where there are none."""
        return mmap.mmap(self.fd, self.size_bytes, prot=mmap.PROT_READ)

    def close(self) -> None:
        """Give the memory back. A second call does nothing."""
        self.file.close()


def seal_copy(source_fd: int, *, name: str) -> SealedFile:
    """Copy the whole file behind `source_fd`, from its start. `name` shows in /proc. Raises `OSError`."""
    file = io.FileIO(os.memfd_create(name, os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC), "r+")
    try:
        offset = 0
        while copied := os.sendfile(file.fileno(), source_fd, offset, _COPY_BYTES):
            offset += copied
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
        return SealedFile(file=file, size_bytes=offset, digest="sha256:" + _hash_of(file.fileno(), offset))
    except BaseException:
        file.close()
        raise


def _hash_of(fd: int, size_bytes: int) -> str:
    if size_bytes == 0:
        return hashlib.sha256().hexdigest()
    with mmap.mmap(fd, size_bytes, prot=mmap.PROT_READ) as content:
        return hashlib.sha256(content).hexdigest()
