"""Totals over a restart: by names, so that what another release counted is read or set aside, never misread."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from gateway.limits import ObserveLimits
from gateway.observe import saved
from gateway.observe.arena import Arena
from gateway.observe.slabs import SUMS, Slab
from gateway.observe.totals import OVERFLOW_SLOT, UNKNOWN_SLOT, Totals
from registry.checkpoint import Checkpoint, CheckpointFile
from registry.state_directory import StateDirectory

NOW_S = 1_700_000_000.0


@pytest.fixture
def file(tmp_path: Path) -> Iterator[CheckpointFile]:
    """A checkpoint of this test alone."""
    held = StateDirectory.hold(tmp_path, now_s=NOW_S)
    yield CheckpointFile(held)
    held.close()


def totals_of(slots: int = 8) -> tuple[Arena, Totals]:
    arena = Arena.create(workers=2, slots=slots)
    arena.close()
    return arena, Totals(arena, ObserveLimits())


def counted() -> Totals:
    """A server's totals after some work of everything."""
    arena, totals = totals_of(slots=4)
    rng = np.random.default_rng(2)
    slots = [totals.open((name, "1")) for name in ("a", 'b"\n', "without a slot")]
    for worker in (0, 1):
        arena.region(worker)["refused_connections"] = 3
        for slot in (UNKNOWN_SLOT, *slots):
            slab = arena.region(worker).slab(slot)
            slab.requests[...] = rng.integers(0, 1 << 60, slab.requests.shape) * (rng.random(slab.requests.shape) < 0.3)
            slab.counts[...] = rng.integers(0, 1 << 60, slab.counts.shape)
            slab.counts[3, 12:] = 0
            slab.shadow[...] = rng.integers(0, 1 << 60, slab.shadow.shape)
            slab.sums[...] = rng.random(len(SUMS))
    assert OVERFLOW_SLOT == slots[-1]
    return totals


def same(one: Totals, other: Totals) -> bool:
    first, second = dict(one.snapshot().items()), dict(other.snapshot().items())
    assert list(first) == list(second)
    for key, slab in first.items():
        for name in Slab.__slots__:
            assert (getattr(slab, name) == getattr(second[key], name)).all()
    return (one.overflow, one.counters()) == (other.overflow, other.counters())


def test_a_restart_goes_on_from_what_was_saved(file: CheckpointFile) -> None:
    """Every number, to the last bit; what is counted afterwards is added."""
    before = counted()
    file.save(saved.checkpoint(before, now_s=NOW_S))
    arena, after = totals_of()
    assert "" == saved.restore(after, file)
    assert same(before, after)
    arena.region(1).slab(after.open(("a", "1"))).requests[0, 0] += 5
    rows = [dict(totals.snapshot().items())["a", "1"] for totals in (before, after)]
    assert 5 == rows[1].requests.sum() - rows[0].requests.sum()


def test_a_first_start_finds_nothing(file: CheckpointFile) -> None:
    """Which is nothing wrong."""
    _, totals = totals_of()
    assert "" == saved.restore(totals, file)
    assert same(totals_of()[1], totals)


def other_row(checkpoint: Checkpoint, **fields: Any) -> Checkpoint:
    *rows, last = checkpoint.rows
    return msgspec.structs.replace(checkpoint, rows=(*rows, msgspec.structs.replace(last, **fields)))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda whole: msgspec.structs.replace(whole, edges=whole.edges | {"rows": (1.0,)}), "has buckets of another release"),
        (lambda whole: other_row(whole, requests={"grpc/BORED": 1}), "does not know: 'grpc/BORED'"),
        (lambda whole: other_row(whole, counts=whole.rows[0].counts | {"rows": (1,)}), "does not know: 1 buckets of rows"),
        (lambda whole: other_row(whole, counts={}), "does not know: 'request'"),
        (lambda whole: other_row(whole, sums={}), "does not know: 'request'"),
    ],
)
def test_what_another_release_counted_is_set_aside_whole(file: CheckpointFile, tmp_path: Path, change: Any, text: str) -> None:
    """Nothing of it is added, not even the rows before; it stays in the directory, and new totals are saved."""
    file.save(change(saved.checkpoint(counted(), now_s=NOW_S)))
    content = (tmp_path / "totals.json").read_bytes()
    _, totals = totals_of()
    problem = saved.restore(totals, file)
    assert text in problem
    assert problem.endswith("; set aside as " + str(tmp_path / "set-aside-1-totals.json"))
    assert content == (tmp_path / "set-aside-1-totals.json").read_bytes()
    assert same(totals_of()[1], totals)
    file.save(saved.checkpoint(totals, now_s=NOW_S))
    assert "" == saved.restore(totals, file)


def test_a_damaged_file_does_not_keep_a_server_from_counting(file: CheckpointFile, tmp_path: Path) -> None:
    """It is told what was wrong and where the file is."""
    (tmp_path / "totals.json").write_bytes(b"{")
    _, totals = totals_of()
    assert saved.restore(totals, file).startswith("totals.json is not a checkpoint")
    assert same(totals_of()[1], totals)


def test_a_checkpoint_says_when_it_was_made(file: CheckpointFile) -> None:
    """By the clock that was passed in."""
    assert NOW_S == saved.checkpoint(counted(), now_s=NOW_S).saved.timestamp()
