"""A directory whose writes are counted, where each may be the last one of a process, or the moment in which another gets the processor."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from registry.directory import DirectoryMedium
from registry.medium import Staged


class KilledError(BaseException):
    """The process is gone."""


class _Unsynced:
    """`os` without waiting for the disk: nobody loses power here."""

    def __getattr__(self, name: str) -> Any:
        return (lambda fd: None) if name == "fsync" else getattr(os, name)


class Watched(DirectoryMedium):
    """Calls `hook(write, done)` before and after each write, with its number from 0."""

    def __init__(self, root: Path, hook: Callable[[int, bool], None] = lambda write, done: None) -> None:
        super().__init__(root, calls=_Unsynced())
        self.hook = hook
        self.writes = 0

    def commit(self, staged: Staged, key: str) -> bool:
        return self._around(lambda: super(Watched, self).commit(staged, key))

    def replace(self, key: str, content: bytes, *, durable: bool = False) -> None:
        self._around(lambda: super(Watched, self).replace(key, content, durable=durable))

    def copy(self, key: str, to: str) -> bool:
        return self._around(lambda: super(Watched, self).copy(key, to))

    def remove(self, key: str) -> bool:
        return self._around(lambda: super(Watched, self).remove(key))

    def _around(self, write: Callable[[], Any]) -> Any:
        number, self.writes = self.writes, self.writes + 1
        self.hook(number, False)
        found = write()
        self.hook(number, True)
        return found


def killed_at(write: int, *, done: bool) -> Callable[[int, bool], None]:
    """A hook that ends the process before or after one write."""

    def hook(number: int, is_done: bool) -> None:
        if (number, is_done) == (write, done):
            raise KilledError

    return hook
