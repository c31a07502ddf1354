"""Several processes publish into one registry at once, while another reads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from registry.discovery import open_source
from registry.names import digest_of
from registry.store import Store
from registry.verify import verify
from tests.registry.workers import check_workers, run_workers

ROOT = Path(__file__).parents[2]


def _start(root: Path, publish_ids: list[str]) -> subprocess.Popen[str]:
    child = [sys.executable, str(Path(__file__).with_name("publisher_child.py")), str(root), *publish_ids]
    return subprocess.Popen(child, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True)


def _numbers(child: subprocess.Popen[str]) -> list[int]:
    printed, _ = child.communicate(timeout=60)
    assert 0 == child.returncode
    numbers: list[int] = json.loads(printed)
    return numbers


def _open_new(root: Path, seen: dict[int, str | None]) -> None:
    """Open and check every version that was not there before; none of those seen may change."""
    for ref in open_source(root).listing().versions:
        if ref.version not in seen:
            seen[ref.version] = ref.digest
            ref.open().close()
        assert seen[ref.version] == ref.digest


def test_nothing_is_lost(tmp_path: Path) -> None:
    """Two processes, 60 publishes each, begun before the registry exists: 120 versions, one log entry each, whole at any moment."""
    root = tmp_path / "registry"
    children = [_start(root, [f"{name}-{number}" for number in range(60)]) for name in ("a", "b")]
    seen: dict[int, str | None] = {}
    while any(child.poll() is None for child in children):
        if (root / "tidegate-registry.json").exists():
            _open_new(root, seen)
    first, second = (_numbers(child) for child in children)
    assert list(range(1, 121)) == sorted(first + second)
    assert sorted(first) == first
    assert sorted(second) == second
    _open_new(root, seen)
    store = Store.open(root)
    assert list(range(1, 121)) == sorted(entry.version for entry in store.history("m"))
    assert digest_of(b"a-7") == store.manifest("m", first[7]).model.digest
    assert [] == verify(store)


def test_repeated_attempts_at_once(tmp_path: Path) -> None:
    """Three processes publish under the same 30 ids: 30 versions, and all three learn the same numbers."""
    publish_ids = [f"p-{number}" for number in range(30)]
    results = [_numbers(child) for child in [_start(tmp_path, publish_ids) for _ in range(3)]]
    assert results[0] == results[1] == results[2]
    assert list(range(1, 31)) == results[0]
    assert [] == verify(Store.open(tmp_path))


def test_versions_and_aliases_at_once(tmp_path: Path) -> None:
    """Two processes, 25 publishes and alias moves each; `make faults` does 1,000 and `make integration` 100 on S3."""
    check_workers(Store.create(tmp_path), run_workers(str(tmp_path), rounds=25, options={}))
