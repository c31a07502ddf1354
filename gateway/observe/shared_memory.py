"""Anonymous memory files that processes count into: made with one size for good, because a map of a file that shrank kills its reader."""

from __future__ import annotations

import fcntl
import mmap
import os

_SEALS = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


def create(name: str, size: int) -> tuple[int, mmap.mmap]:
    """The descriptor and the map of a new file of `size` bytes, all 0 and sparse. Raises `OSError`."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, size)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        return fd, mmap.mmap(fd, size)
    except BaseException:
        os.close(fd)
        raise


def attach(fd: int, refusal: type[Exception], lacks: str) -> mmap.mmap:
    """The map of such a file of a page or more; its size is the file's.

    Raises `refusal`, whose text says that the descriptor is no memory file, or, with `lacks`, that it is none of ours.
    """
    try:
        size, seals = os.fstat(fd).st_size, fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError as error:
        raise refusal(f"descriptor {fd} is no memory file: {error.strerror}") from None
    if size < mmap.PAGESIZE or seals & _SEALS != _SEALS:
        raise refusal(f"descriptor {fd} {lacks}: {size} bytes, seals {seals:#x}")
    return mmap.mmap(fd, size)
