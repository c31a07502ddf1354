"""Segments on a disk that fails: what was appended whole stays, what was refused leaves nothing behind."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.frames import framed, frames
from registry.log_layout import SEGMENT, TMP, ids_of, segment_id
from registry.log_segment import SegmentFile
from tests.registry.logged import medium_of

ID = segment_id("ab" * 12, 0)


class Short:
    """`os` whose writes take few bytes at a time, and fail after so many; `broken` calls fail always."""

    def __init__(self, room: int, code: int = errno.ENOSPC, broken: tuple[str, ...] = ()) -> None:
        self.room, self._code, self._broken = room, code, broken

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            if name in self._broken:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return getattr(os, name)(*arguments, **options)

        return self._write if name == "write" else call

    def _write(self, fd: int, content: memoryview) -> int:
        if not self.room:
            raise OSError(self._code, os.strerror(self._code))
        written = os.write(fd, content[: min(7, self.room)])
        self.room -= written
        return written


def payloads(path: Path) -> list[bytes]:
    return [bytes(frame.payload) for frame in frames(path.read_bytes())]


@pytest.mark.parametrize("room", range(0, 40, 3))
def test_a_disk_that_fills_up_leaves_whole_frames(tmp_path: Path, room: int) -> None:
    """However far a write came, and as soon as there is room all goes on in the same file."""
    medium_of(tmp_path)
    calls = Short(10_000)
    file = SegmentFile.create(tmp_path, ID, framed(1, b"head"), calls=calls)
    calls.room = room
    with pytest.raises(OSError, match="No space left"):
        file.append(framed(2, b"x" * 30))
    assert not file.given_up
    calls.room = 10_000
    file.append(framed(3, b"after"))
    file.sync()
    assert [b"head", b"after"] == payloads(file.path)


def test_a_write_that_cannot_be_taken_back_ends_the_file(tmp_path: Path) -> None:
    """What stands before the tear is read."""
    medium_of(tmp_path)
    calls = Short(10_000, errno.EIO, broken=("ftruncate",))
    file = SegmentFile.create(tmp_path, ID, framed(1, b"head"), calls=calls)
    calls.room = 20
    with pytest.raises(OSError, match="Input/output"):
        file.append(framed(2, b"x" * 30))
    assert file.given_up
    assert [b"head"] == payloads(file.path)


def test_a_failed_sync_is_not_tried_again(tmp_path: Path) -> None:
    """The file is given up: a second sync could say that all is well when it is not."""
    medium_of(tmp_path)
    calls = Short(10_000)
    file = SegmentFile.create(tmp_path, ID, framed(1, b"head"), calls=calls)
    calls._broken = ("fdatasync",)
    file.append(framed(2, b"x"))
    with pytest.raises(OSError, match="Input/output"):
        file.sync()
    assert file.given_up


@pytest.mark.parametrize("broken", ["open", "fdatasync", "replace", "fsync"])
def test_a_segment_that_cannot_be_made_leaves_nothing(tmp_path: Path, broken: str) -> None:
    """Neither a name nor a file without one."""
    medium = medium_of(tmp_path)
    with pytest.raises(OSError, match="Input/output"):
        SegmentFile.create(tmp_path, ID, framed(1, b"head"), calls=Short(10_000, broken=(broken,)))
    assert ([], []) == (ids_of(medium, SEGMENT), medium.names(TMP))


def test_whoever_finds_a_segment_finds_it_locked(tmp_path: Path, hooked: Callable[..., Any]) -> None:
    """It has its name only with the lock on it."""
    medium_of(tmp_path)
    seen = []

    def look(name: str, arguments: tuple[Any, ...]) -> None:
        if name == "replace":
            with Path(arguments[0]).open("rb") as file, pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            seen.append(Path(arguments[0]).parent.name)

    file = SegmentFile.create(tmp_path, ID, framed(1, b"head"), calls=hooked(look))
    file.close()
    assert [TMP] == seen
    with file.path.open("rb") as again:
        fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
