"""A disk that fails, for a server of the bench `benchmarks.conserve`: Python loads this by its name where the bench puts it in the path.

Writes to files below a directory, and syncs of them, raise EIO for so many of a hundred as a mapped byte says. Nothing of the product is
changed: it asks its operating system through the module `os`, and this is that module telling it what a broken disk would.
"""

from __future__ import annotations

import errno
import mmap
import os
import random
from typing import Any

_ROOT, _CONTROL = os.environ.get("TIDEGATE_BENCH_LOG", ""), os.environ.get("TIDEGATE_BENCH_FAULTS", "")


def _install() -> None:
    fd = os.open(_CONTROL, os.O_RDONLY)
    percent = mmap.mmap(fd, 1, prot=mmap.PROT_READ)
    ours: set[int] = set()
    opened, closed, draw = os.open, os.close, random.Random(os.getpid()).random

    def open_(path: Any, *arguments: Any, **more: Any) -> int:
        found = opened(path, *arguments, **more)
        if str(path).startswith(_ROOT):
            ours.add(found)
        else:
            ours.discard(found)
        return found

    def close(number: int) -> None:
        ours.discard(number)
        closed(number)

    def failing(call: Any) -> Any:
        def called(number: Any, *arguments: Any, **more: Any) -> Any:
            if percent[0] and number in ours and draw() * 100 < percent[0]:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return call(number, *arguments, **more)

        return called

    os.open, os.close = open_, close
    for name in ("write", "fsync", "fdatasync", "ftruncate"):
        setattr(os, name, failing(getattr(os, name)))


if _CONTROL:
    _install()
