"""Bytes that cannot change any more: a copy in a sealed memory file, hashed after it was sealed.

What is hashed is therefore what is loaded, whatever happens to the file on disk meanwhile. Each holds its size in memory and one
descriptor.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import mmap
import os
from collections.abc import Iterable
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


def seal_copy(source_fd: int, *, name: str, start: int = 0, size_bytes: int | None = None) -> SealedFile:
    """Copy the file behind `source_fd`, or `size_bytes` of it from `start` on. `name` shows in /proc. Raises `OSError`."""
    file = _memory(name)
    try:
        offset, end = start, None if size_bytes is None else start + size_bytes
        while copied := os.sendfile(file.fileno(), source_fd, offset, _COPY_BYTES if end is None else min(end - offset, _COPY_BYTES)):
            offset += copied
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
        return _hashed(file, offset - start)
    except BaseException:
        file.close()
        raise


def seal_parts(parts: Iterable[bytes], *, name: str) -> io.FileIO:
    """One sealed file of these parts, which nobody has hashed. Raises `OSError`."""
    file = _memory(name)
    try:
        for part in parts:
            left = memoryview(part)
            while left:
                left = left[file.write(left) :]
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
        return file
    except BaseException:
        file.close()
        raise


def open_sealed(path: str, *, max_bytes: int) -> SealedFile:
    """A sealed file of another process, by its path in /proc. Raises `OSError`, also for one that can still change or is larger."""
    file = io.FileIO(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "r")
    try:
        if fcntl.fcntl(file, fcntl.F_GET_SEALS) & _SEALS != _SEALS:
            raise OSError(errno.EPERM, "it is not sealed")
        size_bytes = os.fstat(file.fileno()).st_size
        if size_bytes > max_bytes:
            raise OSError(errno.EFBIG, f"it has more than {max_bytes} bytes")
        return _hashed(file, size_bytes)
    except BaseException:
        file.close()
        raise


def _memory(name: str) -> io.FileIO:
    return io.FileIO(os.memfd_create(name, os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC), "r+")


def _hashed(file: io.FileIO, size_bytes: int) -> SealedFile:
    return SealedFile(file=file, size_bytes=size_bytes, digest="sha256:" + _hash_of(file.fileno(), size_bytes))


def _hash_of(fd: int, size_bytes: int) -> str:
    if size_bytes == 0:
        return hashlib.sha256().hexdigest()
    with mmap.mmap(fd, size_bytes, prot=mmap.PROT_READ) as content:
        return hashlib.sha256(content).hexdigest()
