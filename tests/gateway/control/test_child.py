"""A gateway in a child process: whatever happens, it ends."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.control.child import Child
from gateway.control.ports import choose, is_free


def test_a_child_that_ends_leaves_its_status_and_last_words(tmp_path: Path) -> None:
    """The log explains an early death."""
    with Child(["serve", "--repository", str(tmp_path / "none"), "--http-port", "no"], log=tmp_path / "log") as child:
        assert 2 == child.wait(30)
        assert 2 == child.status
        assert any("--http-port" in line for line in child.last_lines())


def test_nobody_hears_of_a_fork(tmp_path: Path) -> None:
    """What libraries do after forks, such as gRPC with its threads, would be done in a child whose files are closed already."""
    heard: list[str] = []
    watching = True
    os.register_at_fork(before=lambda: heard.append("fork") if watching else None)
    with Child(["--version"], log=tmp_path / "log") as child:
        assert 0 == child.wait(30)
    watching = False
    assert [] == heard


def test_leaving_the_block_ends_the_child(tmp_path: Path) -> None:
    """Also when the block fails."""
    with pytest.raises(ZeroDivisionError), Child(["infer", "m", "--url", "127.0.0.1:1"], log=tmp_path / "log") as child:
        raise ZeroDivisionError
    assert child.status is not None


def test_a_child_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    """SIGTERM, and after the timeout SIGKILL."""
    child = Child(["--version"], log=tmp_path / "log")
    os.kill(child.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)  # a stopped process handles no SIGTERM
    assert -signal.SIGKILL == child.stop(timeout_s=0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's request is Linux's")
def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    """Even a parent that is killed leaves no server behind."""
    program = (
        "import sys, pathlib; from gateway.control.child import Child\n"
        "child = Child(['infer', 'm', '--http', '--url', sys.argv[1], '--timeout', '600'], log=pathlib.Path(sys.argv[2]))\n"
        "print(child.pid, flush=True); child.wait()\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        with subprocess.Popen([sys.executable, "-c", program, target, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout
            watched = os.pidfd_open(int(parent.stdout.readline()))
            asked, _ = silent.accept()  # the child waits for its answer now
            parent.kill()
        with asked:
            ended, _, _ = select.select([watched], [], [], 30)
            os.close(watched)
    assert [watched] == ended


def test_the_last_lines_are_cut_and_readable(tmp_path: Path) -> None:
    """A long log with broken UTF-8 is shown from its end."""
    log = tmp_path / "log"
    log.write_bytes(b"x\n" * 50_000 + b"\xff end\n")
    with Child(["--version"], log=log) as child:
        child.wait(30)
        lines = child.last_lines(2)
    assert 2 == len(lines)
    assert lines[0] == "\ufffd end"


def test_taken_ports_are_replaced() -> None:
    """By free ones, all different; a free port stays."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert not is_free("127.0.0.1", port)
        first, second = choose("127.0.0.1", [port, port])
        assert len({port, first, second}) == 3
    assert [port] == choose("127.0.0.1", [port])


def test_a_host_of_another_machine_is_an_error() -> None:
    """Not the same as a port that is taken."""
    with pytest.raises(OSError, match="assign requested address"):
        is_free("203.0.113.1", 8000)
