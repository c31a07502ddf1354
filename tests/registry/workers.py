"""Two processes that publish and move one alias at once, and what must be true afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from registry.entries import AliasMoved, VersionCreated
from registry.store import Store
from registry.verify import verify

ROOT = Path(__file__).parents[2]
Round = tuple[int, int | None]  # the version, and where the alias stood before it was moved there


def run_workers(where: str, *, rounds: int, options: Mapping[str, str]) -> list[Round]:
    """All rounds of both."""
    command = [sys.executable, str(ROOT / "tests/registry/worker_child.py"), where]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    children = []
    for name in ("a", "b"):
        child = subprocess.Popen(
            [*command, name, str(rounds)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert child.stdin is not None
        child.stdin.write(json.dumps(dict(options)).encode())
        child.stdin.close()
        child.stdin = None
        children.append(child)
    done: list[Round] = []
    for child in children:
        printed, complaint = child.communicate()
        assert (0, b"") == (child.returncode, complaint)
        done += [(version, stood) for version, stood in json.loads(printed)]
    return done


def check_workers(store: Store, done: list[Round]) -> None:
    """No number twice and none left out, each move from where the one before went, everything in the log once, the chain whole."""
    assert list(range(1, len(done) + 1)) == sorted(version for version, _ in done) == store.versions("m")
    history = list(store.history("m"))
    moves = [(entry.to, entry.from_version) for entry in history if isinstance(entry, AliasMoved)]
    assert sorted(done) == sorted(moves)
    assert [None, *(to for to, _ in moves)] == [*(stood for _, stood in moves), store.aliases("m").all()["champion"]]
    assert len(done) == sum(isinstance(entry, VersionCreated) for entry in history) == len(history) / 2
    assert [] == verify(store)
