"""The program of `registry/trials_child.py`, with models that do to it what real ones might: their names begin with `fault:`."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable

from registry import trials_child
from registry.trial import Task

FAULT = b"fault:"
state = {"poisoned": False, "say": b"", "close": False}
real_session_of, real_send_frame = trials_child.session_of, trials_child.send_frame


def session_of(task: Task) -> object:
    """A session, or whatever the model's name says."""
    content = os.pread(task.model_fd, 64, 0)
    if state["poisoned"]:
        ctypes.string_at(0)
    if not content.startswith(FAULT):
        return real_session_of(task)
    FAULTS[content.removeprefix(FAULT).decode()](task)
    return real_session_of(task)


def send_frame(peer: socket.socket, content: bytes) -> None:
    if state["say"]:
        peer.sendall(state["say"])
    elif state["close"]:
        peer.shutdown(socket.SHUT_RDWR)
        endless(None)
    else:
        real_send_frame(peer, content)


def endless(task: Task | None) -> None:
    while True:
        signal.pause()


def stubborn(task: Task) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    endless(task)


def orphan(task: Task) -> None:
    """Dies, and leaves a child that keeps the connection."""
    if os.fork() == 0:
        endless(task)
    os._exit(0)


def grow(task: Task) -> None:
    held = []
    while True:
        held.append(bytes(1 << 26))


def check(task: Task) -> None:
    """Raises where something is there that must not be."""
    assert (0, 0) == resource.getrlimit(resource.RLIMIT_FSIZE) == resource.getrlimit(resource.RLIMIT_CORE)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    assert task.memory_bytes == soft <= hard < task.memory_bytes + (2 << 30)
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    used = resource.getrusage(resource.RUSAGE_SELF)
    assert used.ru_utime + used.ru_stime + task.cpu_s - 1 <= soft <= hard
    kept = {
        "LD_LIBRARY_PATH",
        "PYTHONPATH",
        "PYTHONDONTWRITEBYTECODE",
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "ORT_DISABLE_TELEMETRY",
        "LC_CTYPE",
    }
    assert kept >= set(os.environ)
    with open("/proc/self/status") as file:
        assert "NoNewPrivs:\t1" in file.read()
    assert os.getcwd() == "/"
    links = {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")}
    assert not any("secret" in link for link in links)
    state["say"] = b"\x16\0\0\0" + b'{"verdict": "passed"}\n'


def say(content: bytes) -> Callable[[Task], None]:
    def fault(task: Task) -> None:
        state["say"] = content

    return fault


FAULTS: dict[str, Callable[[Task], None]] = {
    "segfault": lambda task: ctypes.string_at(0),
    "abort": lambda task: os.abort(),
    "killed": lambda task: os.kill(os.getpid(), signal.SIGKILL),
    "processor": lambda task: os.kill(os.getpid(), signal.SIGXCPU),
    "exit": lambda task: os._exit(3),
    "raise": lambda task: 1 / 0,
    "hang": endless,
    "stubborn": stubborn,
    "orphan": orphan,
    "grow": grow,
    "check": check,
    "close": lambda task: state.update(close=True),
    "poison": lambda task: state.update(poisoned=True),
    "noise": say(b"\x05\0\0\0noise"),
    "letters": say(b"noise without end"),
    "unknown": say(b"\x16\0\0\0" + b'{"verdict": "perhaps"}'),
    "more": say(b"\x1e\0\0\0" + b'{"verdict": "passed", "x": 12}'),
}

if __name__ == "__main__":
    trials_child.session_of = session_of
    trials_child.send_frame = send_frame
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        trials_child.main(connection)
