"""A checkpoint: whole or not at all, and what is no checkpoint is named and kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from registry.checkpoint import Checkpoint, CheckpointFile, Row, moment
from registry.errors import RegistryError
from registry.state_directory import StateDirectory

NOW_S = 1_700_000_000.0
SAVED = Checkpoint(
    saved=moment(NOW_S),
    edges={"rows": (1.0, 2.0)},
    rows=(Row(model="m", version="3", requests={"grpc/OK": (1 << 63) - 1}, counts={"rows": (1, 2, 3)}, sums={"rows": 0.1 + 0.2}),),
    overflow={"slots": 1},
    counters={},
)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[StateDirectory]:
    """A directory of this test alone."""
    held = StateDirectory.hold(tmp_path, now_s=NOW_S)
    yield held
    held.close()


def test_what_is_saved_is_loaded(directory: StateDirectory) -> None:
    """To the last bit; the last one saved is the one; at first there is none."""
    file = CheckpointFile(directory)
    assert (None, "") == file.load()
    for checkpoint in (SAVED, msgspec.structs.replace(SAVED, counters={"refused_connections": 5})):
        file.save(checkpoint)
        assert (checkpoint, "") == CheckpointFile(directory).load()
    assert [] == directory.medium.names("tmp")


def changed(content: bytes, **fields: Any) -> bytes:
    return json.dumps(json.loads(content) | fields, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda content: content[:-20], "totals.json is not a checkpoint"),
        (lambda content: b"", "totals.json is not a checkpoint"),
        (lambda content: b"\x00" * len(content), "totals.json is not a checkpoint"),
        (lambda content: content.replace(b"[1,2,3]", b"[1,2,4]"), "totals.json does not match its own digest"),
        (lambda content: content.replace(b"[1,2,3]", b"[1,2,-3]"), "totals.json is not a checkpoint"),
        (lambda content: changed(content, format=3), "totals.json has format 3; this release reads formats 1 to 2"),
        (lambda content: changed(content, more=1), "totals.json is not a checkpoint"),
    ],
)
def test_what_is_no_checkpoint_is_named_and_set_aside(directory: StateDirectory, damage: Callable[[bytes], bytes], text: str) -> None:
    """Its bytes stay; the next one is saved and loaded as ever; a second one gets another name."""
    file, root = CheckpointFile(directory), Path(directory.medium.root)
    for number in (1, 2):
        file.save(SAVED)
        content = damage((root / "totals.json").read_bytes())
        (root / "totals.json").unlink()
        (root / "totals.json").write_bytes(content)
        found, problem = CheckpointFile(directory).load()
        assert found is None
        assert problem.startswith(text)
        aside = root / f"set-aside-{number}-totals.json"
        assert problem.endswith(f"; set aside as {aside}")
        assert content == aside.read_bytes()
        assert (None, "") == file.load()


def test_every_cut_and_every_flipped_bit_is_noticed(directory: StateDirectory) -> None:
    """Totals are either what was saved or none."""
    file, path = CheckpointFile(directory), Path(directory.medium.root) / "totals.json"
    file.save(SAVED)
    content = path.read_bytes()
    for index in range(len(content)):
        for damaged in (content[:index], content[:index] + bytes([content[index] ^ 1]) + content[index + 1 :]):
            path.unlink(missing_ok=True)
            path.write_bytes(damaged)
            assert file.load()[0] is None


def test_what_cannot_be_set_aside_is_not_overwritten(directory: StateDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading says so and raises nothing; saving is refused with the reason."""
    file, path = CheckpointFile(directory), Path(directory.medium.root) / "totals.json"
    path.write_bytes(b"precious")

    def refuse(*arguments: Any, **options: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patched:
        patched.setattr(directory.medium._calls, "link", refuse)
        found, problem = file.load()
    assert found is None
    assert "it is in the way of new totals: cannot link set-aside-1-totals.json: Operation not permitted" in problem
    with pytest.raises(RegistryError, match="in the way"):
        file.save(SAVED)
    assert b"precious" == path.read_bytes()


def test_a_save_that_fails_leaves_the_one_before(directory: StateDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk costs what was counted since, nothing more."""
    file = CheckpointFile(directory)
    file.save(SAVED)

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(directory.medium._calls, "write", full)
        with pytest.raises(RegistryError, match="No space left"):
            file.save(msgspec.structs.replace(SAVED, overflow={}))
    assert (SAVED, "") == file.load()
    assert [] == directory.medium.names("tmp")
