"""Copies of objects on this machine: bounded, least recently used first, shared by processes, never in a reader's way."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from registry.copies import Copies
from registry.names import blob_key, digest_of

BOUND = 160  # its sixteenth is 10


def key(number: int) -> str:
    """Of a blob."""
    return blob_key(digest_of(b"%d" % number))


@pytest.fixture
def copies(tmp_path: Path) -> Copies:
    """An empty directory."""
    return Copies(tmp_path / "cache", max_blob_bytes=BOUND)


def _pass_time(copies: Copies) -> None:
    """Everything that is there becomes a second older."""
    assert copies.directory is not None
    for path in copies.directory.rglob("*"):
        if path.is_file():
            past_ns = path.stat().st_mtime_ns - 10**9
            os.utime(path, ns=(past_ns, past_ns))


def _kept(copies: Copies, numbers: range) -> list[int]:
    return [number for number in numbers if copies.read(key(number)) is not None]


def test_least_recently_used_first(copies: Copies) -> None:
    """Being opened and being seen again are uses; what is in the cache for its own sake is read and not used."""
    for number in range(4):
        copies.keep(key(number), [b"x" * 40])
        _pass_time(copies)
    os.close(copies.open(key(0)) or -1)
    copies.see(key(1), b"x" * 40)
    _pass_time(copies)
    copies.keep(key(4), [b"x" * 40])
    assert [0, 1, 4] == _kept(copies, range(5))


def test_the_newest_stays(copies: Copies) -> None:
    """Also where it alone is past the bound, and where a clock that went back makes it the oldest."""
    copies.keep(key(0), [b"x"])
    future_ns = 4 * 10**18
    assert copies.directory is not None
    os.utime(copies.directory / key(0), ns=(future_ns, future_ns))
    copies.keep(key(1), [b"x" * BOUND])
    assert [1] == _kept(copies, range(2))
    copies.keep(key(2), [b"x" * (BOUND + 1)])
    assert [2] == _kept(copies, range(3))
    copies.keep(key(3), [b"x"])
    assert [3] == _kept(copies, range(4))


def test_small_files_stay(copies: Copies) -> None:
    """Records, policy, signatures and notes; what killed writers left among the blobs goes, and so does what was in the trash."""
    state = ["policy.yaml", "models/m/versions/00000001.json", f"signatures/{'0' * 64}/.names", "desired.json", "blobs.json"]
    for name in state:
        copies.keep(name, [b"x" * 1000])
    assert copies.directory is not None
    left = (copies.directory / key(0)).with_name(f".{'0' * 32}")
    left.parent.mkdir(parents=True)
    left.write_bytes(b"x" * 150)
    copies.keep("trash/1/file", [b"x"])
    _pass_time(copies)
    copies.keep(key(1), [b"x" * 150])
    assert ([1], False, None) == (_kept(copies, range(2)), left.exists(), copies.read("trash/1/file"))
    assert [1000] * 5 == [len(copies.read(name) or b"") for name in state]


def test_a_reader_is_not_disturbed(copies: Copies) -> None:
    """It has the file open, which then has no name any more."""
    copies.keep(key(0), [b"x" * 100])
    fd = copies.open(key(0))
    assert fd is not None
    _pass_time(copies)
    copies.keep(key(1), [b"x" * 100])
    assert copies.read(key(0)) is None
    with os.fdopen(fd, "rb") as file:
        assert b"x" * 100 == file.read()


def test_counting_is_rare(copies: Copies, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files are looked at once for each sixteenth of the bound that was added, not once for each copy."""
    looks: list[Any] = []
    walk = os.walk
    monkeypatch.setattr("registry.copies.os.walk", lambda path: looks.append(path) or walk(path))
    for number in range(1000):
        copies.keep(key(number), [b"x"])
    assert 1000 / 11 * 2 <= len(looks) <= 1000 / 10 * 2 + 10


@pytest.mark.parametrize("call", ["stat", "unlink"])
def test_another_process_is_faster(copies: Copies, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """It removes the same files a moment before: no error, and the bound holds."""
    for number in range(3):
        copies.keep(key(number), [b"x" * 50])
    _pass_time(copies)
    real, gone = getattr(os, call), tuple(key(number) for number in range(3))

    def late(path: Any, *arguments: Any, **options: Any) -> Any:
        if str(path).endswith(gone):
            with suppress(FileNotFoundError):
                os.remove(path)
        return real(path, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(f"registry.copies.os.{call}", late)
        copies.keep(key(3), [b"x" * 50])
    kept = _kept(copies, range(4))
    assert (3 in kept, {"stat": 1, "unlink": 3}[call]) == (True, len(kept))


def test_what_cannot_be_removed_counts(copies: Copies, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's file stays, and others go in its place."""
    for number in range(3):
        copies.keep(key(number), [b"x" * 50])
        _pass_time(copies)
    real = os.unlink

    def refuse(path: Any) -> None:
        if str(path).endswith(key(0)):
            raise PermissionError
        real(path)

    monkeypatch.setattr("registry.copies.os.unlink", refuse)
    copies.keep(key(3), [b"x" * 50])
    assert [0, 2, 3] == _kept(copies, range(4))


def test_shared_by_many(tmp_path: Path) -> None:
    """Each keeps, reads and forgets at random: what is read is whole, nothing fails, and together they are near the bound."""
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        own, draw = Copies(tmp_path / "cache", max_blob_bytes=BOUND), random.Random(seed)
        try:
            for _ in range(300):
                number = draw.randrange(12)
                draw.choice(_DEEDS)(own, number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == failures
    sizes = [path.stat().st_size for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert 0 < sum(sizes) <= BOUND + 4 * (BOUND // 16 + 30)


def _keep(copies: Copies, number: int) -> None:
    copies.keep(key(number), [b"%d" % number] * 15)


def _read(copies: Copies, number: int) -> None:
    fd = copies.open(key(number))
    if fd is not None:
        with os.fdopen(fd, "rb") as file:
            assert file.read() == b"%d" % number * 15


def _forget(copies: Copies, number: int) -> None:
    copies.forget(key(number))


_DEEDS: list[Callable[[Copies, int], None]] = [_keep, _keep, _read, _forget]


def test_no_directory() -> None:
    """Nothing is kept and nothing fails."""
    copies = Copies(None, max_blob_bytes=BOUND)
    copies.keep(key(0), [b"x"])
    copies.see("policy.yaml", None)
    assert (None, None) == (copies.read(key(0)), copies.open(key(0)))
    assert not copies.forget(key(0))
    assert not copies.saw_nothing("policy.yaml")
