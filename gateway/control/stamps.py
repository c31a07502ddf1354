"""Whether files have changed since the last look: by inode, size and time of writing, behind links. Reads none of them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

Stamp = tuple[tuple[int, int, int] | None, ...]  # None for a file that is not there


def stamp(paths: Iterable[Path]) -> Stamp:
    """What the files look like now."""
    return tuple(_of(path) for path in paths)


def _of(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
