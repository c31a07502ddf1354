"""The kernel kills or refuses at every system call that an operation makes under the registry's root."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from registry.discovery import open_source
from registry.store import Store
from registry.verify import damages, verify
from tests.faults.traced import CHANGES, Call, calls_under, run
from tests.registry import crash_child


@pytest.fixture(params=["publish", "alias", "approve", "gc", "empty"])
def operation(request: pytest.FixtureRequest) -> str:
    """Each operation in turn."""
    name: str = request.param
    return name


@pytest.fixture
def calls(tmp_path: Path, operation: str) -> list[Call]:
    """What it does under the root when nobody interferes."""
    crash_child.prepare(tmp_path / "root", operation)
    shutil.copytree(tmp_path / "root", tmp_path / "before")
    found = calls_under(tmp_path / "root", operation, tmp_path / "trace")
    assert len(found) > 30
    return found


def _again(tmp_path: Path) -> Path:
    """The registry as it was before, at the same path."""
    shutil.rmtree(tmp_path / "root")
    shutil.copytree(tmp_path / "before", tmp_path / "root")
    return tmp_path / "root"


def _completes(root: Path, operation: str) -> None:
    """No damage; what was there serves; repeating the operation completes it."""
    store = Store.open(root)
    assert [] == damages(verify(store))
    for ref in open_source(root).listing().versions:
        ref.open().close()
    crash_child.perform(root, operation, os)
    assert [] == damages(verify(store))
    assert {1, 2} <= set(store.versions("m"))


@pytest.mark.timeout(7200)
def test_killed_at_every_call(tmp_path: Path, operation: str, calls: list[Call]) -> None:
    """As many kills as calls, each a death by the signal."""
    kills = 0
    for call in calls:
        root = _again(tmp_path)
        status = run(root, operation, tmp_path / "log", f"{call.name}:signal=KILL:when={call.number}")
        kills += status in {-9, 137}
        _completes(root, operation)
    assert len(calls) == kills


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_refused_at_every_change(tmp_path: Path, operation: str, calls: list[Call], error: str) -> None:
    """The disk fails or is full: a storage error or, where only a cache was concerned, success; never damage."""
    for call in calls:
        if call.name not in {*CHANGES, "openat"}:
            continue
        root = _again(tmp_path)
        assert run(root, operation, tmp_path / "log", f"{call.name}:error={error}:when={call.number}") in {0, 3}, call
        _completes(root, operation)
