"""Where a registry is and how a command ends: paths and URLs, progress bars, closed pipes and Ctrl-C."""

from __future__ import annotations

import functools
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from obstore.store import MemoryStore
from rich.progress import Progress

from gateway.commands.output import Exit, printable, size
from gateway.commands.watching import watched
from registry import objects
from registry.store import Store
from tests.gateway.commands.console import done, failed, parsed

PROGRAM = [sys.executable, "-m", "gateway.cli"]


@pytest.mark.parametrize(
    "command",
    [
        ["models"],
        ["inspect", "m"],
        ["verify"],
        ["alias", "m", "champion", "1"],
        ["approve", "m", "champion", "1"],
        ["reject", "m", "champion", "1"],
        ["log", "m"],
        ["delete", "m", "1"],
        ["hold", "m", "1", "h"],
        ["release", "m", "h"],
        ["gc"],
        ["export", "m", "--to", "b"],
        ["backup", "--to", "b"],
        ["sign", "m", "1", "--attach", "e"],
    ],
    ids=lambda command: command[0],
)
def test_a_place_that_is_no_registry_is_named(tmp_path: Path, command: list[str]) -> None:
    """Whatever is asked of it."""
    stderr = failed(Exit.REGISTRY, *command, "-r", tmp_path / "none")
    assert f"tidegate: not_found: {tmp_path / 'none'}: there is no " in stderr
    assert "http://h/r: not a path, and no URL that begins with s3://" in failed(Exit.USAGE, *command, "-r", "http://h/r?secret")
    assert "--option: expected KEY=VALUE\n" in failed(Exit.USAGE, *command, "-r", "s3://b/r", "--option", "secret")
    stderr = failed(Exit.REGISTRY, *command, "-r", "s3://b/r?secret", "--option", "nope=secret")
    assert "unsupported: s3://b/r: the address or an option of the object store is not understood" in stderr
    assert "secret" not in stderr


def test_a_registry_may_be_in_an_object_store(tmp_path: Path, onnx_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step of promoting a version, and a backup of it; the options reach the store."""
    stores: dict[str, MemoryStore] = {}
    seen: list[dict[str, str]] = []

    def from_url(url: str, *, config: dict[str, str], **_options: object) -> MemoryStore:
        seen.append(config)
        return stores.setdefault(url, MemoryStore())

    monkeypatch.setattr(objects, "from_url", from_url)
    place = ["-r", "s3://bucket/r", "--option", "aws_region=eu-west-1", "--option", "aws_token=a=b"]
    assert "champion: none -> 1\n" in done("publish", onnx_file(), "-n", "m", *place, "--alias", "champion")
    done("publish", onnx_file(2), "-n", "m", *place)
    assert "champion: 1 -> 2\n" == done("alias", "m", "champion", 2, *place)
    assert [[], ["champion"]] == [row["aliases"] for row in parsed("models", *place)["models"]]
    assert 2 == parsed("inspect", "m", "champion", *place)["version"]
    assert "all is as it was published\n" == done("verify", *place)
    assert "alias.moved" == parsed("log", "m", *place)[-1]["op"]
    assert "gs://copy holds 1 models, 2 versions, 4 log entries" in done("backup", *place, "--to", "gs://copy", "--to-option", "x=y")
    assert "copy holds" in done("backup", "-r", "gs://copy", "--to", tmp_path / "copy")
    assert {"aws_region": "eu-west-1", "aws_token": "a=b"} == seen[0]
    assert {"x": "y"} in seen
    assert {"m"} == set(Store.open(tmp_path / "copy").models())


# progress


def on_a_terminal(arguments: list[str]) -> tuple[str, int]:
    """What a command writes to standard error, which is a terminal, and its exit code."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "60"}
    with subprocess.Popen([*PROGRAM, *arguments], stdout=subprocess.DEVNULL, stderr=theirs, env=environment) as child:
        os.close(theirs)
        found = b""
        while chunk := _read(ours):
            found += chunk
    os.close(ours)
    return found.decode(), child.returncode


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # the other side is closed
        return b""


def test_long_work_shows_a_bar_on_a_terminal_only(registry: Path) -> None:
    """It disappears at the end; with --json there is none, and elsewhere standard error stays empty."""
    shown, code = on_a_terminal(["verify", "-r", str(registry)])
    assert Exit.DONE == code
    assert "hashing" in shown
    assert shown.endswith("\x1b[2K")  # the line is cleared
    assert ("", 0) == on_a_terminal(["verify", "-r", str(registry), "--json"])


def test_a_bar_counts_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of as many as there are, which are counted only for it."""
    advanced: list[float] = []
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr(Progress, "advance", lambda bar, task, count: advanced.append((bar.tasks[0].total, count)))
    with watched("copying", as_json=False, total_bytes=lambda: 7) as progress:
        progress(3)
    assert [(7, 3)] == advanced
    with watched("copying", as_json=True, total_bytes=lambda: 1 // 0) as progress:
        progress(3)


# endings


@pytest.mark.parametrize(
    "command", [["models", "-r", "R"], ["models", "-r", "R", "--json"], ["log", "ages", "-r", "R"], ["inspect", "ages", "-r", "R"]]
)
def test_a_closed_pipe_is_no_failure(registry: Path, command: list[str]) -> None:
    """As under `| head`."""
    ours, theirs = os.pipe()
    os.close(ours)
    arguments = [str(registry) if argument == "R" else argument for argument in command]
    found = subprocess.run([*PROGRAM, *arguments], stdout=theirs, stderr=subprocess.PIPE, check=False)
    os.close(theirs)
    assert (Exit.DONE, b"") == (found.returncode, found.stderr)


def test_ctrl_c_ends_a_command_without_a_traceback(tmp_path: Path) -> None:
    """Here while it waits for a file that never ends; nothing was stored."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    arguments = ["publish", str(tmp_path / "m.onnx"), "-n", "m", "-r", str(tmp_path / "r"), "--card", str(pipe)]
    # Started from a job in the background, this process may ignore SIGINT, and what it starts would too.
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*PROGRAM, *arguments], **pipes, preexec_fn=heed) as child, pipe.open("wb"):  # type: ignore[call-overload]  # noqa: PLW1509
        child.send_signal(signal.SIGINT)  # the pipe was opened once the command reads it
        stdout, stderr = child.communicate()
    assert (Exit.INTERRUPTED, b"", b"") == (child.returncode, stdout, stderr)
    assert not (tmp_path / "r").exists()


def test_sizes_are_for_people() -> None:
    """Powers of 1024."""
    assert ["0 B", "1023 B", "1.0 KiB", "1.5 MiB", "2.0 GiB", "4,096.0 TiB"] == [
        size(count) for count in (0, 1023, 1024, 3 << 19, 2 << 30, 4 << 50)
    ]


def test_json_holds_no_control_character(registry: Path) -> None:
    """DEL and C1 controls, which JSON would allow, are escaped."""
    (registry / "tmp" / "a\x7f\x9bé").write_bytes(b"")
    text = done("verify", "-r", registry, "--json")
    assert r"tmp/a\u007f\u009bé" in text.replace("\x7f", "DEL")
    assert "tmp/a\x7f\x9bé" == json.loads(text)["findings"][0]["key"]
    assert "tmp/a\\x7f\\x9bé" in done("verify", "-r", registry)
    assert "é" == printable("é")
