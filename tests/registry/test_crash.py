"""Whoever dies, or is refused by the system, at any call: readers see whole versions, and repeating the operation completes it."""

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
from tests.registry import crash_child

ROOT = Path(__file__).parents[2]


@pytest.fixture
def model(tmp_path: Path, gemm: Callable[..., ModelProto]) -> Path:
    """A model published before, and beside it `second.onnx`, whose publisher is refused."""
    (tmp_path / "submitted").mkdir()
    (tmp_path / "submitted" / "second.onnx").write_bytes(gemm(2.0).SerializeToString())
    (tmp_path / "submitted" / "first.onnx").write_bytes(gemm(1.0).SerializeToString())
    return tmp_path / "submitted" / "first.onnx"


def _kill_everywhere(tmp_path: Path, operation: str, staging: str) -> list[Path]:
    """The registries that the killed processes left: one for each call of an untouched run."""
    child = [sys.executable, Path(__file__).with_name("crash_child.py"), tmp_path / "killed", operation, staging]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    printed = subprocess.run(child, env=environment, capture_output=True, text=True, check=True, timeout=100).stdout
    killed, untouched = map(int, printed.split())
    assert untouched == killed
    return [tmp_path / "killed" / str(number) for number in range(1, killed + 1)]


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


def _state(store: Store) -> tuple[list[int], dict[str, int], list[str]]:
    """What the operations change: versions, aliases, and who has approved what."""
    head = store.versions_of("m").journal.read()
    return store.versions("m"), head.aliases, [f"{opinion.actor} {opinion.version}" for opinion in head.opinions]


@pytest.mark.parametrize("staging", ["unnamed", "named"])
@pytest.mark.parametrize("operation", ["publish", "alias", "approve", "delete", "gc", "empty", "lease"])
def test_killed(tmp_path: Path, operation: str, staging: str, hooked: Callable[..., Any]) -> None:
    """No damage, what was there before serves; the change is absent, then present, and changes once; repeating it completes it."""
    roots = _kill_everywhere(tmp_path, operation, staging)
    done = _state(Store.open(tmp_path / "killed/untouched"))
    assert len(roots) > 8
    seen = []
    for root in roots:
        store = Store.open(root, calls=hooked())
        assert [] == damages(verify(store)), root
        seen.append(_state(store))
        assert {1, 2} <= set(_readable(root)) | ({2} if operation == "delete" else set())
        crash_child.perform(root, operation, hooked())
        assert done == _state(store)
        usual = ("tmp/", "blobs/") if operation == "delete" else "tmp/"  # the files of a deleted version wait for a collection
        assert {"models/m/head.json"} >= {finding.key for finding in verify(store) if not finding.key.startswith(usual)}, root
        assert crash_child.put(store, b"after", "after") > 2
        assert [] == [finding for finding in verify(store) if not finding.key.startswith(usual)], root
    assert [state == done for state in seen] == sorted(state == done for state in seen)
    assert len({str(state) for state in seen}) == (1 if operation in {"gc", "empty", "lease"} else 2)


def test_killed_while_creating(tmp_path: Path, hooked: Callable[..., Any]) -> None:
    """Creating is repeated where it stopped; nothing that exists is refused."""
    roots = _kill_everywhere(tmp_path, "create", "unnamed")
    assert len(roots) > 10
    for root in roots:
        store = Store.create(root, calls=hooked())
        assert 1 == crash_child.put(store, b"first", "p")
        assert [] == verify(store)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
@pytest.mark.parametrize("operation", ["alias", "approve", "delete", "gc", "empty", "lease"])
def test_an_operation_refused_at_every_call(tmp_path: Path, operation: str, code: int, hooked: Callable[..., Any]) -> None:
    """As below, for what is not publishing: a storage error or success, no damage, and the repetition completes it."""
    crash_child.prepare(tmp_path / "untouched", operation)
    crash_child.perform(tmp_path / "untouched", operation, hooked())
    done = _state(Store.open(tmp_path / "untouched"))
    for last in range(1, 1000):
        root = tmp_path / str(last)
        crash_child.prepare(root, operation)
        left = last

        def fail(name: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise OSError(code, os.strerror(code))

        try:
            crash_child.perform(root, operation, hooked(fail))
        except RegistryError as error:
            assert (Kind.STORAGE, "cannot") == (error.kind, error.message.split()[0])  # noqa: PT017
        store = Store.open(root, calls=hooked())
        assert [] == damages(verify(store)), last
        crash_child.perform(root, operation, hooked())
        assert (done, []) == (_state(store), damages(verify(store)))
        if left > 0:
            assert last > 8
            return


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
