"""Copies on this machine of what an object store holds, by key. Nothing here is trusted: who reads a copy knows how to check it.

Best effort: a copy that is gone or cannot be written costs a download, never an error. Any number of processes may share the directory.

Copies of blobs have a bound; past it, those that were not used for the longest time go first. When a copy was used is its file's time,
which is set here; a clock that was wrong costs downloads. Small state files, without which nothing loads while the store is away, stay.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_ABSENT = ".absent"
_BOUNDED = ("blobs", "trash")  # where blobs lie, and what writers that were killed left among them
_LOOKS = 16  # the files are counted again each time that a sixteenth of the bound was added


class Copies:
    """The files under `directory`; without one, nothing is kept. At most `max_blob_bytes` of blobs, or the last one if that is larger.

    Processes that share a directory each count anew after they have added a sixteenth of the bound, so together they may be past it by
    as many sixteenths.
    """

    def __init__(self, directory: Path | None, *, max_blob_bytes: int) -> None:
        self.directory = directory
        self._max_blob_bytes = max_blob_bytes
        self._unlooked_bytes = 0  # that may be added before the files are counted

    def room(self) -> Path | None:
        """Where files may lie that become copies; None for wherever temporary files lie. Raises `OSError`."""
        if self.directory is not None:
            self.directory.mkdir(parents=True, exist_ok=True)
        return self.directory

    def read(self, key: str) -> bytes | None:
        """The copy of `key`, or None."""
        if self.directory is not None:
            with suppress(OSError):
                return (self.directory / key).read_bytes()
        return None

    def open(self, key: str) -> int | None:
        """A descriptor of the copy of `key`, which the caller closes, or None."""
        if self.directory is not None:
            with suppress(OSError):
                fd = os.open(self.directory / key, os.O_RDONLY | os.O_CLOEXEC)
                self._use(key)
                return fd
        return None

    def keep(self, key: str, chunks: Iterable[bytes]) -> None:
        """Copy content: whole or not at all."""
        if self.directory is None:
            return
        with suppress(OSError):
            path = self.directory / key
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{uuid.uuid4().hex}")
            try:
                with temporary.open("wb") as file:
                    file.writelines(chunks)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
            if key.startswith(tuple(f"{name}/" for name in _BOUNDED)):
                self._make_room(path)

    def forget(self, key: str) -> bool:
        """Drop the copy of `key`. False where there is none."""
        if self.directory is not None:
            with suppress(OSError):
                (self.directory / key).unlink()
                return True
        return False

    def see(self, key: str, content: bytes | None) -> None:
        """Keep what was read, also that there was nothing."""
        if content is None:
            self.forget(key)
            if not self.saw_nothing(key):
                self.keep(key + _ABSENT, [])
        elif self.read(key) != content:
            self.forget(key + _ABSENT)
            self.keep(key, [content])
        else:
            self._use(key)

    def saw_nothing(self, key: str) -> bool:
        """Whether the last thing that was seen of `key` is that there was nothing."""
        return self.read(key + _ABSENT) is not None

    def _use(self, key: str) -> None:
        assert self.directory is not None
        with suppress(OSError):  # it may be gone, or somebody else's
            os.utime(self.directory / key)

    def _make_room(self, newest: Path) -> None:
        """Remove what was used longest ago, once the bound is passed, down to where some may be added before the next look; never `newest`.

        Whoever reads a file that goes has it open.
        """
        self._unlooked_bytes -= newest.stat().st_size
        if self._unlooked_bytes >= 0:
            return
        found = self._blobs()
        total, step = sum(size for _, _, size in found), self._max_blob_bytes // _LOOKS
        if total > self._max_blob_bytes:
            for _, path, size in found:
                if total <= self._max_blob_bytes - step:
                    break
                if path != str(newest) and _is_gone(path):
                    total -= size
        self._unlooked_bytes = min(step, max(self._max_blob_bytes - total, 0))

    def _blobs(self) -> list[tuple[int, str, int]]:
        """(time of the last use in ns, path, bytes), least recently used first. What goes away meanwhile is left out."""
        assert self.directory is not None
        found = []
        for name in _BOUNDED:
            for directory, _, files in os.walk(self.directory / name):
                for file in files:
                    with suppress(OSError):
                        status = os.stat(f"{directory}/{file}")
                        found.append((status.st_mtime_ns, f"{directory}/{file}", status.st_size))
        return sorted(found)


def _is_gone(path: str) -> bool:
    """Removed here or by somebody else; False where it cannot be."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
