"""The directory of one running server, held by it alone: what a server keeps for its next start lies there.

The lock is the kernel's, so it ends with the process that took it, whatever ended that. Its file says who holds it, for people.
"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from registry.directory import DirectoryMedium
from registry.errors import Kind, RegistryError, storage_errors

_LOCK = "lock"
_HOLDER = re.compile(rb"process ([0-9]+) on ")
_MAX_NOTE_BYTES = 512


class StateDirectory:
    """A directory that this process holds until `close`. `medium` reads and writes what is in it."""

    def __init__(self, medium: DirectoryMedium, lock_fd: int) -> None:
        self.medium = medium
        self._lock_fd = lock_fd

    @classmethod
    def hold(cls, root: Path, *, now_s: float) -> StateDirectory:
        """Make the directory where it is absent, and take it. `now_s` is in seconds since the Unix epoch.

        Raises `Kind.CONFLICT` where another process holds it, with what that one said of itself, and `Kind.STORAGE`.
        """
        medium = DirectoryMedium(root)
        medium.prepare()
        with storage_errors(f"open {root / _LOCK}"):
            fd = os.open(root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _lock(fd, root)
            with storage_errors(f"write {root / _LOCK}"):
                os.ftruncate(fd, 0)
                os.pwrite(fd, _note(now_s).encode(), 0)
            medium.make_directory("tmp")
            for name in medium.names("tmp"):  # of a holder that was killed while it wrote
                medium.remove(f"tmp/{name}")
        except BaseException:
            os.close(fd)
            raise
        return cls(medium, fd)

    def close(self) -> None:
        """Let go of the directory. Processes that were started meanwhile do not hold it."""
        with suppress(OSError):
            os.ftruncate(self._lock_fd, 0)
            fcntl.flock(self._lock_fd, fcntl.LOCK_UN)  # closing alone would wait for a child that is about to begin its program
        os.close(self._lock_fd)


def holder(root: Path) -> int | None:
    """The process that holds the directory now; None where none does. Raises `Kind.NOT_FOUND`, `Kind.STORAGE`."""
    if not (root / _LOCK).exists():
        raise RegistryError(Kind.NOT_FOUND, f"{root} is no state directory")
    with storage_errors(f"read {root / _LOCK}"), (root / _LOCK).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            found = _HOLDER.match(file.read(_MAX_NOTE_BYTES))
            return int(found[1]) if found else None
        fcntl.flock(file, fcntl.LOCK_UN)
        return None


def _lock(fd: int, root: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, _MAX_NOTE_BYTES, 0).decode(errors="replace")
        shown = "".join(letter for letter in holder if letter.isprintable()) or "another process"
        raise RegistryError(Kind.CONFLICT, f"the state directory {root} is held by {shown}") from None
    except OSError as error:
        raise RegistryError(Kind.STORAGE, f"cannot lock {root / _LOCK}: {error.strerror}") from error


def _note(now_s: float) -> str:
    since = datetime.fromtimestamp(now_s, UTC).isoformat(timespec="seconds")
    return f"process {os.getpid()} on {os.uname().nodename} since {since}"
