"""Keys and bytes on a file system that may fail."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.directory import DirectoryMedium
from registry.errors import Kind, RegistryError
from registry.limits import RegistryLimits
from registry.medium import Medium

Hooked = Callable[[Callable[[str, tuple[Any, ...]], None]], Any]


def _medium(root: Path, calls: Any = os) -> Medium:
    medium = DirectoryMedium(root, calls=calls, limits=RegistryLimits(max_state_bytes=100))
    medium.make_directory("tmp")
    return medium


def _refuse_tmpfile(name: str, arguments: tuple[Any, ...]) -> None:
    """As a file system without O_TMPFILE does."""
    if name == "open" and arguments[1] & os.O_TMPFILE == os.O_TMPFILE:
        raise OSError(errno.EOPNOTSUPP, "no O_TMPFILE here")


@pytest.fixture(params=["unnamed", "named"])
def medium(request: pytest.FixtureRequest, tmp_path: Path, hooked: Hooked) -> Medium:
    """Both ways to stage a file."""
    return _medium(tmp_path, os if request.param == "unnamed" else hooked(_refuse_tmpfile))


def test_create_if_absent(medium: Medium, tmp_path: Path) -> None:
    """The first content stays, the same content is as good as ours, other content is reported."""
    assert [True, True, False] == [medium.create("a/b/c.json", content) for content in (b"one", b"one", b"two")]
    assert b"one" == medium.read("a/b/c.json")
    assert 0o444 == stat.S_IMODE((tmp_path / "a/b/c.json").stat().st_mode)
    assert [] == medium.names("tmp")


def test_replace(medium: Medium) -> None:
    """A cache is swapped as a whole."""
    medium.replace("head.json", b"one")
    medium.replace("head.json", b"two")
    assert b"two" == medium.read("head.json")
    assert [] == medium.names("tmp")


def test_nothing_is_there(medium: Medium) -> None:
    """An absent key has no content, an absent prefix no names."""
    assert medium.read("a/b") is None
    assert medium.open("a/b") is None
    assert [] == medium.names("a")


def test_a_large_state_file_is_not_read(medium: Medium, kind_of: Callable[..., str]) -> None:
    """`max_state_bytes` bounds what one read takes into memory."""
    medium.create("large", b"x" * 101)
    assert "damaged: large is larger than 100 bytes" == kind_of(lambda: medium.read("large"))


def test_an_abandoned_stage_leaves_nothing(medium: Medium, tmp_path: Path) -> None:
    """Content without a key disappears."""
    with medium.stage() as staged:
        staged.write(b"x" * 10)
        assert 10 == staged.size_bytes
    assert [tmp_path / "tmp"] == list(tmp_path.rglob("*"))


def test_short_writes_are_continued(tmp_path: Path) -> None:
    """The kernel may take less than was offered."""

    class Short:
        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

        def write(self, fd: int, content: memoryview) -> int:
            return os.write(fd, content[:7])

    medium = _medium(tmp_path, Short())
    assert medium.create("key", bytes(range(100)))
    assert bytes(range(100)) == medium.read("key")


def test_a_lost_acknowledgement_counts_as_success(tmp_path: Path) -> None:
    """The link was made, but the call reports a failure: reading back finds our own content."""

    class Lossy:
        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

        def link(self, *arguments: Any, **options: Any) -> None:
            os.link(*arguments, **options)
            raise OSError(errno.EIO, "lost")

    medium = _medium(tmp_path, Lossy())
    assert medium.create("key", b"ours")
    assert b"ours" == medium.read("key")


@pytest.mark.parametrize("call", ["open", "write", "fchmod", "fsync", "link", "mkdir"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_failing_call_is_a_storage_error(tmp_path: Path, hooked: Hooked, call: str, code: int) -> None:
    """Whatever the system refuses, the key does not appear, the reason is named and nothing is left."""
    _medium(tmp_path)

    def fail(name: str, arguments: tuple[Any, ...]) -> None:
        if name == call:
            raise OSError(code, os.strerror(code))

    medium = DirectoryMedium(tmp_path, calls=hooked(fail))
    with pytest.raises(RegistryError, match=os.strerror(code)) as caught:
        medium.create("a/key", b"content")
    assert Kind.STORAGE == caught.value.kind
    assert medium.read("a/key") is None or call == "fsync"
    assert [] == medium.names("tmp")


@pytest.mark.parametrize("call", ["open", "write", "replace"])
def test_a_failing_replace_keeps_the_old_content(tmp_path: Path, hooked: Hooked, call: str) -> None:
    """A cache is old or new, and the temporary file goes."""
    _medium(tmp_path).replace("head.json", b"old")

    def fail(name: str, arguments: tuple[Any, ...]) -> None:
        if name == call:
            raise OSError(errno.ENOSPC, "full")

    medium = DirectoryMedium(tmp_path, calls=hooked(fail))
    with pytest.raises(RegistryError, match=r"cannot write head.json: full"):
        medium.replace("head.json", b"new")
    assert b"old" == medium.read("head.json")
    assert [] == medium.names("tmp")


def test_order_of_syncs(tmp_path: Path, hooked: Hooked) -> None:
    """Content is durable before it has a name, the name before the call returns, each new directory before what is in it."""
    _medium(tmp_path)
    calls: list[str] = []

    def note(name: str, arguments: tuple[Any, ...]) -> None:
        if name in {"write", "fsync", "link", "mkdir"}:
            where = os.readlink(f"/proc/self/fd/{arguments[0]}") if isinstance(arguments[0], int) else str(arguments[-1])
            calls.append(f"{name} {os.path.relpath(where.partition(' ')[0], tmp_path).partition('#')[0]}")

    medium = DirectoryMedium(tmp_path, calls=hooked(note))
    medium.create("a/b/key", b"content")
    medium.create("a/b/other", b"content")
    made = ["mkdir a", "fsync .", "mkdir a/b", "fsync a"]
    assert ["write tmp/", *made, "fsync tmp/", "link a/b/key", "fsync a/b"] == calls[:8]
    assert ["write tmp/", "fsync tmp/", "link a/b/other", "fsync a/b"] == calls[8:]


def test_what_cannot_be_read_is_not_absent(medium: Medium, kind_of: Callable[..., str]) -> None:
    """A file in the place of a directory is a storage error."""
    medium.create("key", b"")
    assert "storage: cannot list key: Not a directory" == kind_of(lambda: medium.names("key"))
    assert "storage: cannot open key/below: Not a directory" == kind_of(lambda: medium.read("key/below"))
