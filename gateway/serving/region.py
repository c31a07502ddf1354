"""Shared memory in which one side writes large tensors and the other reads them: a memory file without a name, so that nothing can be left.

Its size is sealed, so that a reader is never cut short (SIGBUS), and writing to it is sealed for everybody but the map that its writer
has already. It is used again for every frame: a fresh sealed file each time costs three times what the socket itself does, its pages
are made and zeroed anew.
"""

from __future__ import annotations

import fcntl
import mmap
import os

import numpy as np

_F_SEAL_FUTURE_WRITE = 0x10  # linux/fcntl.h; Python 3.11 does not name it
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL | _F_SEAL_FUTURE_WRITE
_SMALLEST = 1 << 20


class RegionFault(Exception):
    """A descriptor that is no region of ours; the text says why."""


class Region:
    """The writer's end. `fd` goes to the reader once and is closed then."""

    def __init__(self, size: int) -> None:
        """At least `size` bytes. Raises OSError."""
        self.size = max(_SMALLEST, 1 << (size - 1).bit_length())
        self.fd = os.memfd_create("tensors", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        try:
            os.ftruncate(self.fd, self.size)
            self.octets = np.frombuffer(mmap.mmap(self.fd, self.size), np.uint8)
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, SEALS)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give up the descriptor; the memory goes with the last map."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def opened(fd: int, max_bytes: int) -> np.ndarray:
    """The reader's end: a region's bytes, read-only. The descriptor stays the caller's. Raises RegionFault."""
    try:
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError:
        raise RegionFault("the descriptor is no memory file") from None
    if not seals & fcntl.F_SEAL_SHRINK or not seals & fcntl.F_SEAL_GROW or not seals & (_F_SEAL_FUTURE_WRITE | fcntl.F_SEAL_WRITE):
        raise RegionFault("the memory file is not sealed")
    size = os.fstat(fd).st_size
    if not 0 < size <= max_bytes:
        raise RegionFault(f"the memory file has {size} bytes")
    return np.frombuffer(mmap.mmap(fd, size, prot=mmap.PROT_READ), np.uint8)
