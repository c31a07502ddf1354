"""What is known of traffic, on disk: replaced whole, told from damage, never in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.drift_files import DriftFiles, write_learned
from registry.errors import Kind, RegistryError


def files(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "drift").iterdir())


def test_what_was_saved_last_is_loaded(tmp_path: Path) -> None:
    """By any name, also after a restart."""
    first = DriftFiles(tmp_path)
    assert (None, "") == first.load("m/1/sha")
    for content in (b"one", b"", b"two"):
        first.save("m/1/sha", content)
        assert (content, "") == DriftFiles(tmp_path).load("m/1/sha")
    first.save("../../../etc/passwd", b"x")
    assert 2 == len(files(tmp_path))


@pytest.mark.parametrize(
    "damage", [lambda content: content[:-1], lambda content: content[:10], lambda _: b"", lambda content: content + b"x"]
)
def test_what_is_damaged_is_set_aside_and_never_overwritten(tmp_path: Path, damage) -> None:  # type: ignore[no-untyped-def]
    """Each time under another name; the next one starts anew."""
    drift = DriftFiles(tmp_path)
    for time in (1, 2):
        drift.save("m", b"content")
        (path,) = [path for path in (tmp_path / "drift").iterdir() if not path.name.startswith("set-aside")]
        path.write_bytes(damage(path.read_bytes()))
        damaged = path.read_bytes()
        content, problem = drift.load("m")
        assert content is None
        assert f"set-aside-{time}-" in problem
        assert damaged == Path(problem.rpartition("set aside as ")[2]).read_bytes()
        assert (None, "") == drift.load("m")


def test_a_disk_that_does_not_take_it_says_so(tmp_path: Path) -> None:
    """What was there stays."""
    drift = DriftFiles(tmp_path)
    drift.save("m", b"one")
    for path in (tmp_path / "tmp").iterdir():
        path.unlink()
    (tmp_path / "tmp").rmdir()
    (tmp_path / "tmp").write_bytes(b"in the way")
    with pytest.raises(RegistryError) as raised:
        drift.save("m", b"two")
    assert Kind.STORAGE == raised.value.kind
    assert (b"one", "") == drift.load("m")


def test_a_learned_profile_is_replaced_whole(tmp_path: Path) -> None:
    """In a directory that it makes."""
    for content in (b"one", b"two"):
        write_learned(tmp_path / "learned" / "m.json", content)
        assert content == (tmp_path / "learned" / "m.json").read_bytes()
