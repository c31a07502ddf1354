"""Copies on this machine of what an object store holds, by key. Nothing here is trusted: who reads a copy knows how to check it.

Best effort: a copy that is gone or cannot be written costs a download, never an error. Any number of processes may share the directory.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_ABSENT = ".absent"


class Copies:
    """The files under `directory`; without one, nothing is kept."""

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory

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
                return os.open(self.directory / key, os.O_RDONLY | os.O_CLOEXEC)
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

    def saw_nothing(self, key: str) -> bool:
        """Whether the last thing that was seen of `key` is that there was nothing."""
        return self.read(key + _ABSENT) is not None
