"""`tidegate capture`: what a log holds, whether it is whole, and sealing what was left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from registry.log import Log
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


def test_payloads_are_erased_for_a_reason(tmp_path: Path) -> None:
    """Of a request, and then of all; at once, old files are gone. Who it was is in the chain."""
    root = str(filled(tmp_path / "log"))
    request = "00000000-0000-0000-0000-000000000001"
    found = RUN.invoke(app, ["capture", "erase", root, "--request-id", request, "-m", "asked", "--actor", "eva", "--json", "--now"])
    assert (1, 1) == ((said := json.loads(found.stdout))["files"], said["rows"])
    assert 1 == len(list((tmp_path / "log").rglob("*.parquet")))
    erasures = [commit.erasure for commit in Log(root).commits() if commit.erasure is not None]
    assert [("eva", "asked", said["id"])] == [(one.actor, one.reason, one.id) for one in erasures]
    rest = RUN.invoke(app, ["capture", "erase", root, "--before", "2026-01-01T00:00:00Z", "-m", "contract ended"])
    assert rest.stdout.startswith("2 payloads erased in 1 file, as ")
    assert "all is as it was committed\n" == RUN.invoke(app, ["capture", "verify", root]).stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-m", "asked"], "nothing is erased for nothing"),
        (["-m", " ", "--unit", "00" * 8], "a reason is needed"),
        (["-m", "asked", "--unit", "x"], "is not 16 hexadecimal digits"),
        (["-m", "asked", "--request-id", "x"], "is no UUID"),
        (["-m", "asked", "--before", "2026-01-01"], "has no zone"),
        (["-m", "asked", "--before", "soon"], "Invalid isoformat string"),
        (["--unit", "00" * 8], "--reason"),
    ],
)
def test_what_is_unclear_erases_nothing(tmp_path: Path, words: list[str], said: str) -> None:
    """And is told."""
    root = str(filled(tmp_path / "log"))
    found = RUN.invoke(app, ["capture", "erase", root, *words])
    assert 2 == found.exit_code
    assert said in " ".join(found.output.replace("│", " ").split())
    assert 0 == Log(root).state().seq
