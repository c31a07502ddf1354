"""A disk that loses power: what was not synced is lost, torn or there, each piece by itself.

`Recorder` makes real calls and writes down what they change under a root. `Trace.after_power_loss` says what a disk may hold after a
failure at one point of it. Content is durable up to the file's last sync, a name up to the last sync of its directory. Of what came later
any part may have arrived: of names any selection, in order; of a write nothing, all, or a beginning followed by zeros or noise.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NOISE = bytes(range(1, 256)) * 8


@dataclass(slots=True)
class File:
    """An inode."""

    synced: bytes = b""
    later: list[bytes] = field(default_factory=list)  # appended since

    def after_power_loss(self, chance: random.Random) -> bytes:
        """Its content, perhaps."""
        content = self.synced
        for piece in self.later:
            kept = chance.choice((0, len(piece), chance.randrange(len(piece) + 1), len(piece) // 512 * 512))
            content += piece[:kept] + chance.choice(
                (b"", bytes(len(piece) - kept), (NOISE * (len(piece) // len(NOISE) + 1))[: len(piece) - kept])
            )
        return content


@dataclass(slots=True)
class Directory:
    """Names by inode; None among the later ones says that a name was taken away."""

    synced: dict[str, File | Directory] = field(default_factory=dict)
    later: list[tuple[str, File | Directory | None]] = field(default_factory=list)

    def settle(self) -> None:
        """A sync."""
        self.synced = self.after(self.later)
        self.later = []

    def after(self, changes: list[tuple[str, File | Directory | None]]) -> dict[str, File | Directory]:
        """Names once these changes have arrived."""
        names = dict(self.synced)
        for name, target in changes:
            names.pop(name, None)
            if target is not None:
                names[name] = target
        return names

    def write(self, path: Path, chance: random.Random) -> None:
        """Make this directory at `path` as it may be after a power failure."""
        path.mkdir()
        kept = chance.random()
        for name, target in self.after([change for change in self.later if chance.random() < kept]).items():
            if isinstance(target, Directory):
                target.write(path / name, chance)
            else:
                (path / name).write_bytes(target.after_power_loss(chance))


Event = tuple[str, tuple[Any, ...]]


@dataclass(slots=True)
class Trace:
    """What was done, call by call, with marks where an operation was over."""

    events: list[Event] = field(default_factory=list)

    def after_power_loss(self, at: int, path: Path, chance: random.Random) -> int:
        """Make at `path` what a disk may hold after the first `at` events; the number of operations that were over."""
        disk = _Disk()
        for name, arguments in self.events[:at]:
            getattr(disk, name)(*arguments)
        disk.root.write(path, chance)
        return disk.over


class _Disk:
    """The state that a trace leads to."""

    def __init__(self) -> None:
        self.root = Directory()
        self.files: dict[int, File] = {}
        self.over = 0

    def find(self, path: str) -> Directory:
        found: Any = self.root
        for part in filter(None, path.split("/")):
            found = found.after(found.later)[part]
        return found

    def name(self, path: str, target: File | Directory | None) -> None:
        directory, _, name = path.rpartition("/")
        self.find(directory).later.append((name, target))

    def file(self, number: int) -> None:
        self.files[number] = File()

    def link(self, number: int, path: str) -> None:
        self.name(path, self.files[number])

    def unlink(self, path: str) -> None:
        self.name(path, None)

    def mkdir(self, path: str) -> None:
        self.name(path, Directory())

    def write(self, number: int, content: bytes) -> None:
        self.files[number].later.append(content)

    def sync(self, number: int) -> None:
        file = self.files[number]
        file.synced, file.later = file.synced + b"".join(file.later), []

    def sync_directory(self, path: str) -> None:
        self.find(path).settle()

    def done(self) -> None:
        self.over += 1


class Recorder:
    """File calls on a real directory, written into a trace. Nothing is really synced."""

    def __init__(self, root: Path) -> None:
        self.trace = Trace()
        self._root = root
        self._numbers: dict[str, int] = {}  # of files, by path
        self._open: dict[int, int | str] = {}  # descriptor → number of a file, or path of a directory
        self._next = 0

    def done(self) -> None:
        """Mark the end of an operation."""
        self._note("done")

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        fd = os.open(path, flags, mode)
        if flags & os.O_TMPFILE == os.O_TMPFILE or flags & os.O_CREAT:
            self._next += 1
            self._open[fd] = self._next
            self._note("file", self._next)
            if flags & os.O_CREAT:
                self._numbers[self._key(path)] = self._next
                self._note("link", self._next, self._key(path))
        else:
            self._open[fd] = self._key(path)
        return fd

    def write(self, fd: int, content: Any) -> int:
        written = os.write(fd, content)
        self._note("write", self._open[fd], bytes(content[:written]))
        return written

    def fsync(self, fd: int) -> None:
        target = self._open[fd]
        self._note("sync" if isinstance(target, int) else "sync_directory", target)

    def link(self, source: Any, target: Any, **options: Any) -> None:
        os.link(source, target, **options)
        self._numbers[self._key(target)] = self._open[options["src_dir_fd"]] if options else self._numbers[self._key(source)]
        self._note("link", self._numbers[self._key(target)], self._key(target))

    def unlink(self, path: Any) -> None:
        os.unlink(path)
        self._numbers.pop(self._key(path))
        self._note("unlink", self._key(path))

    def replace(self, source: Any, target: Any) -> None:
        os.replace(source, target)
        self._numbers[self._key(target)] = self._numbers.pop(self._key(source))
        self._note("link", self._numbers[self._key(target)], self._key(target))
        self._note("unlink", self._key(source))

    def mkdir(self, path: Any) -> None:
        os.mkdir(path)
        self._note("mkdir", self._key(path))

    def rmdir(self, path: Any) -> None:
        os.rmdir(path)
        self._note("unlink", self._key(path))

    def fchmod(self, fd: int, mode: int) -> None:
        os.fchmod(fd, mode)

    def close(self, fd: int) -> None:
        del self._open[fd]
        os.close(fd)

    def _key(self, path: Any) -> str:
        key = os.path.relpath(path, self._root)
        return "" if key == "." else key

    def _note(self, name: str, *arguments: Any) -> None:
        self.trace.events.append((name, arguments))
