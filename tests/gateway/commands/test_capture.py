"""`tidegate capture`: what a log holds, whether it is whole, and sealing what was left."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from gateway.cli import app
from tests.registry.logged import Worker, medium_of

RUN = CliRunner()


def filled(root: Path) -> Path:
    """Three rows that a worker left, and two that it lost."""
    medium_of(root)
    worker = Worker(root, 1)
    worker.write(3)
    worker.accept(2)
    worker.die()
    return root


def test_a_log_is_sealed_shown_and_verified(tmp_path: Path) -> None:
    """In words, and as JSON."""
    root = str(filled(tmp_path / "log"))
    before = json.loads(RUN.invoke(app, ["capture", "status", root, "--json"]).stdout)
    assert (1, 1, []) == (before["unsealed_segments"], before["unsettled_workers"], before["models"])
    assert "1 segment sealed, 1 commits" in RUN.invoke(app, ["capture", "seal", root]).stdout
    after = json.loads(RUN.invoke(app, ["capture", "status", root, "--json"]).stdout)
    assert [{"model": "m", "arm": "stable", "accepted": 5, "rows": 3, "dropped": {"worker_lost": 2}}] == after["models"]
    shown = RUN.invoke(app, ["capture", "status", root]).stdout
    assert "2 worker_lost" in shown
    assert "3 rows in 1 files" in shown
    verified = RUN.invoke(app, ["capture", "verify", root])
    assert (0, "all is as it was committed\n") == (verified.exit_code, verified.stdout)


def test_damage_fails_the_command(tmp_path: Path) -> None:
    """With the file's name."""
    root = filled(tmp_path / "log")
    RUN.invoke(app, ["capture", "seal", str(root)])
    (file,) = root.rglob("*.parquet")
    file.unlink()
    found = RUN.invoke(app, ["capture", "verify", str(root), "--json"])
    problems = json.loads(found.stdout)["problems"]
    assert (1, [(str(file.relative_to(root)), "it is missing")]) == (found.exit_code, [(one["key"], one["message"]) for one in problems])


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    """As the registry refuses."""
    for command in ("status", "verify", "seal"):
        found = RUN.invoke(app, ["capture", command, str(tmp_path)])
        assert 5 == found.exit_code
        assert "there is no inference log" in found.output
