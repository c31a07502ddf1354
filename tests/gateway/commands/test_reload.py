"""`tidegate reload` finds the server that it is meant for, and no other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.commands.output import Exit
from registry.state_directory import StateDirectory
from tests.gateway.commands.console import done, failed, parsed


@pytest.fixture
def hangs_up() -> Iterator[list[int]]:
    """Signals that this process got, as the server would."""
    got: list[int] = []
    before = signal.signal(signal.SIGHUP, lambda number, frame: got.append(number))
    yield got
    signal.signal(signal.SIGHUP, before)


def test_the_holder_of_a_state_directory_is_asked(tmp_path: Path, hangs_up: list[int]) -> None:
    """By the directory, or by the settings file that names it."""
    settings = tmp_path / "tidegate.yaml"
    settings.write_text("repository: {path: r}\nprocesses: {state: state}\n")
    held = StateDirectory.hold(tmp_path / "state", now_s=1e9)
    assert f"process {os.getpid()} reloads" in done("reload", "--state", tmp_path / "state")
    assert {"pid": os.getpid()} == parsed("reload", "--config", settings)
    held.close()
    assert [signal.SIGHUP] * 2 == hangs_up


def test_a_process_may_be_named(hangs_up: list[int]) -> None:
    """Where the server has no state directory."""
    done("reload", "--pid", os.getpid())
    assert [signal.SIGHUP] == hangs_up


def test_nobody_is_signalled_by_guess(tmp_path: Path, hangs_up: list[int]) -> None:
    """A directory that nobody holds, one that is none, settings without one, a process that is gone."""
    StateDirectory.hold(tmp_path / "state", now_s=1e9).close()
    settings = tmp_path / "tidegate.yaml"
    settings.write_text("repository: {path: r}\n")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert "no server holds" in failed(Exit.UNREACHABLE, "reload", "--state", tmp_path / "state")
    assert "is no state directory" in failed(Exit.REGISTRY, "reload", "--state", tmp_path / "other")
    assert "which server?" in failed(Exit.USAGE, "reload", "--config", settings)
    assert "which server?" in failed(Exit.USAGE, "reload")
    assert f"there is no process {gone.pid}" in failed(Exit.UNREACHABLE, "reload", "--pid", gone.pid)
    assert [] == hangs_up
