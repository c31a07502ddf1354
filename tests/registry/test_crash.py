"""A publisher that dies, or is refused by the system, at any call: readers see whole versions, and the next publisher goes on."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from onnx import ModelProto

from registry.discovery import open_source
from registry.errors import Kind, RegistryError
from registry.publish import Published, publish
from registry.store import Store
from registry.verify import damages, verify

ROOT = Path(__file__).parents[2]


@pytest.fixture
def model(tmp_path: Path, gemm: Callable[..., ModelProto]) -> Path:
    """A model published before, and beside it `second.onnx`, whose publisher dies."""
    (tmp_path / "submitted").mkdir()
    (tmp_path / "submitted" / "second.onnx").write_bytes(gemm(2.0).SerializeToString())
    (tmp_path / "submitted" / "first.onnx").write_bytes(gemm(1.0).SerializeToString())
    return tmp_path / "submitted" / "first.onnx"


def _kill_everywhere(tmp_path: Path, model: Path, operation: str, staging: str) -> list[Path]:
    """The registries that the killed processes left."""
    child = [sys.executable, Path(__file__).with_name("crash_child.py"), tmp_path / "killed", model, operation, staging]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    printed = subprocess.run(child, env=environment, capture_output=True, text=True, check=True, timeout=100).stdout
    return [tmp_path / "killed" / str(number) for number in range(1, int(printed) + 1)]


def _put(store: Store, path: Path, publish_id: str) -> Published:
    return publish(store, path, name="m", publisher="ann", now_s=1e9, publish_id=publish_id, trial=lambda files, limits: None)


def _failure(store: Store, path: Path) -> RegistryError | None:
    try:
        _put(store, path, "p")
    except RegistryError as error:
        return error
    return None


def _readable(root: Path) -> list[int]:
    """Versions, each opened and verified."""
    refs = open_source(root).listing().versions
    for ref in refs:
        ref.open().close()
    return [ref.version for ref in refs]


@pytest.mark.parametrize("staging", ["unnamed", "named"])
def test_killed_while_publishing(tmp_path: Path, model: Path, staging: str, hooked: Callable[..., Any]) -> None:
    """No damage, no half version, the earlier one serves; repeating the publish gives version 2 and the next one version 3."""
    roots = _kill_everywhere(tmp_path, model, "publish", staging)
    assert len(roots) > 30
    seen = []
    for root in roots:
        store = Store.open(root, calls=hooked())
        seen.append(len(_readable(root)))
        assert [] == damages(verify(store)), root
        assert 2 == _put(store, model.with_name("second.onnx"), "killed").version
        assert 3 == _put(store, model, "after").version
        assert [1, 2, 3] == _readable(root)
        assert [] == [finding for finding in verify(store) if not finding.key.startswith("tmp/")], root
        assert len(store.medium.names("tmp")) <= 2  # the model and what was written beside it
    # The version is absent, then present, and changes once.
    assert sorted(seen) == seen
    assert {1, 2} == set(seen)


def test_killed_while_creating(tmp_path: Path, model: Path, hooked: Callable[..., Any]) -> None:
    """Creating is repeated where it stopped; nothing that exists is refused."""
    roots = _kill_everywhere(tmp_path, model, "create", "unnamed")
    assert len(roots) > 10
    for root in roots:
        store = Store.create(root, calls=hooked())
        assert 1 == _put(store, model, "p").version
        assert [] == verify(store)


def test_refused_at_every_call(tmp_path: Path, model: Path, hooked: Callable[..., Any]) -> None:
    """The system refuses one call, as when a disk is full: a typed error or success, no damage, and the repetition completes it."""
    for last in range(1, 1000):
        root = tmp_path / str(last)
        _put(Store.create(root, calls=hooked()), model, "before")
        left = last

        def fail(name: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                code = errno.EIO if name in {"fsync", "close"} else errno.ENOSPC
                raise OSError(code, os.strerror(code))

        failure = _failure(Store.open(root, calls=hooked(fail)), model.with_name("second.onnx"))
        assert failure is None or (Kind.STORAGE, True) == (failure.kind, failure.message.startswith(("cannot ", "version 2 of")))
        store = Store.open(root, calls=hooked())
        assert [] == damages(verify(store)), last
        assert failure is not None or [1, 2] == _readable(root)
        assert 2 == _put(store, model.with_name("second.onnx"), "p").version
        assert [1, 2] == _readable(root)
        assert [] == store.medium.names("tmp")
        if left > 0:
            assert last > 30
            return
