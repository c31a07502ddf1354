"""Optimised graphs on this machine: whole or not at all, and only where nobody else can write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from registry.compiled import Compiled, key_of
from registry.sealed import SealedFile, seal_copy

KEY = key_of("sha256:a", "1.2", "cpu")


def graph(content: bytes) -> SealedFile:
    fd = os.memfd_create("graph")
    try:
        os.write(fd, content)
        return seal_copy(fd, name="graph")
    finally:
        os.close(fd)


def keep(compiled: Compiled, content: bytes, key: str = KEY) -> None:
    sealed = graph(content)
    with sealed.file:
        compiled.keep(key, sealed)


def found(compiled: Compiled, key: str = KEY) -> bytes | None:
    sealed = compiled.find(key)
    if sealed is None:
        return None
    with sealed.file:
        return os.pread(sealed.fd, sealed.size_bytes, 0)


@pytest.fixture
def compiled(tmp_path: Path) -> Compiled:
    return Compiled(tmp_path / "compiled")


@pytest.mark.parametrize("content", [b"", b"x", b"y" * (3 << 20)])
def test_what_was_kept_is_found(compiled: Compiled, tmp_path: Path, content: bytes) -> None:
    """By another process as well; another key has nothing."""
    assert found(compiled) is None
    keep(compiled, content)
    assert content == found(Compiled(tmp_path / "compiled"))
    assert found(compiled, key_of("sha256:a", "1.3", "cpu")) is None


@pytest.mark.parametrize("damage", [lambda held: held[:-1], lambda held: held + b"x", lambda held: b"x" + held[1:], lambda held: b""])
def test_what_is_damaged_is_gone(compiled: Compiled, tmp_path: Path, damage, caplog: pytest.LogCaptureFixture) -> None:
    """It is not loaded, and made again."""
    keep(compiled, b"graph")
    (path,) = (tmp_path / "compiled" / "blobs").iterdir()
    path.write_bytes(damage(path.read_bytes()))
    assert found(compiled) is None
    assert not path.exists()
    assert "damaged" in caplog.text
    keep(compiled, b"graph")
    assert b"graph" == found(compiled)


def test_where_others_can_write_nothing_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A graph is code, more or less."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    compiled = Compiled(tmp_path / "open")
    keep(compiled, b"graph")
    assert found(compiled) is None
    assert [] == list((tmp_path / "open").iterdir())
    assert "others may write there" in caplog.text


def test_a_directory_that_cannot_be_made_is_no_reason_not_to_serve(tmp_path: Path) -> None:
    """Nothing is kept."""
    (tmp_path / "file").touch()
    compiled = Compiled(tmp_path / "file" / "compiled")
    keep(compiled, b"graph")
    assert found(compiled) is None


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    """Past the bound."""
    compiled = Compiled(tmp_path / "compiled", max_bytes=8_000)
    keys = [key_of(str(number)) for number in range(8)]
    for number, key in enumerate(keys):
        keep(compiled, bytes(2_000), key)
        os.utime(tmp_path / "compiled" / "blobs" / key, (number, number))
    assert sum(path.stat().st_size for path in (tmp_path / "compiled" / "blobs").iterdir()) <= 8_000
    assert [None, bytes(2_000)] == [found(compiled, key) for key in (keys[0], keys[-1])]


def test_keys_tell_facts_apart() -> None:
    """Each of them."""
    assert 3 == len({key_of("a", "b"), key_of("ab", ""), key_of("a", "c")})
