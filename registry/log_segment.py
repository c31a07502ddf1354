"""The file that one worker appends to: frames, whole or not there, and durable when they were synced. Blocks; used by one thread.

A write that the system refuses is taken back, so that nothing torn stands between frames. Where that fails too, or a sync does, the file is
given up: what a failed sync has lost nobody knows, and a second one may say that all is well (Rebello et al., 2020).
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from registry.log_layout import RAW, SEGMENT, TMP, raw_key
from registry.medium import FileCalls


class SegmentFile:
    """One segment, from its making to its end. Every method may raise `OSError`."""

    def __init__(self, path: Path, fd: int, size: int, calls: FileCalls) -> None:
        self.path = path
        self.size = size  # bytes of whole frames
        self.synced = size  # of these, durable
        self.given_up = False  # nothing more may be appended
        self._fd, self._calls = fd, calls

    @classmethod
    def create(cls, root: Path, segment: str, head: bytes, *, calls: FileCalls = os) -> SegmentFile:
        """A new one that begins with `head`, a frame. It has its name only when it is locked: who can lock it finds no writer."""
        temporary, path = root / TMP / f"{segment}{SEGMENT}", root / raw_key(segment, SEGMENT)
        fd = calls.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file = cls(path, fd, 0, calls)
            file.append(head)
            file.sync()
            calls.replace(temporary, path)
            _sync_directory(root / RAW, calls)
        except BaseException:
            os.close(fd)
            for left in (temporary, path):
                left.unlink(missing_ok=True)
            raise
        return file

    def append(self, content: bytes) -> None:
        """Write one frame after the others, or leave all as it was."""
        rest = memoryview(content)
        try:
            while rest:
                rest = rest[self._calls.write(self._fd, rest) :]
        except OSError:
            self._take_back()
            raise
        self.size += len(content)

    def _take_back(self) -> None:
        try:
            self._calls.ftruncate(self._fd, self.size)
            os.lseek(self._fd, self.size, os.SEEK_SET)
        except OSError:
            self.given_up = True

    def sync(self) -> None:
        """Make all that was appended durable. After a failure the file is given up."""
        if self.synced == self.size:
            return
        try:
            self._calls.fdatasync(self._fd)
        except OSError:
            self.given_up = True
            raise
        self.synced = self.size

    def close(self) -> None:
        """Let go of it: whoever seals may take it now."""
        self._calls.close(self._fd)


def _sync_directory(path: Path, calls: FileCalls) -> None:
    fd = calls.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        calls.fsync(fd)
    finally:
        calls.close(fd)
