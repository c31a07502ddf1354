"""A real Ray cluster on loopback, in an environment of its own: a head, nodes that join it, and the program that works on it."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gateway.clock import SystemClock
from tests.deploy.files import ROOT
from tests.e2e.server import free_ports

PATIENCE_S = 240.0
PYTHON = Path(os.environ["TIDEGATE_RAY"])


TOKEN = secrets.token_hex(32)  # of these clusters, for as long as the tests run


def environment(*before: Path) -> dict[str, str]:
    """Of a node or a program: this checkout's code, and packages of `before` that stand before all others."""
    return {
        "PATH": f"{PYTHON.parent}:{os.environ['PATH']}", "HOME": os.environ.get("HOME", "/"), "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN,
        "PYTHONPATH": os.pathsep.join(map(str, [*before, ROOT])), "RAY_DISABLE_IMPORT_WARNING": "1",
        "NUMBA_CACHE_DIR": os.environ.get("NUMBA_CACHE_DIR", str(ROOT / ".build" / "numba")),
    }  # fmt: skip


@contextmanager
def head(folder: Path, *, cores: int) -> Iterator[str]:
    """The address of a cluster with one node."""
    port, *_ = free_ports()
    words = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder / 'ray'}"]
    with _started(folder / "head.log", words, cores, environment()) as child:
        address = f"127.0.0.1:{port}"
        until(lambda: "Ray runtime started" in (folder / "head.log").read_text(errors="replace"), child)
        yield address


@contextmanager
def node(folder: Path, address: str, *, cores: int, packages: Path) -> Iterator[None]:
    """One more node, with other packages."""
    with _started(folder / "node.log", [f"--address={address}"], cores, environment(packages)) as child:
        until(lambda: "Ray runtime started" in (folder / "node.log").read_text(errors="replace"), child)
        yield


@contextmanager
def _started(log: Path, words: list[str], cores: int, own: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    command = [PYTHON.parent / "ray", "start", "--block", "--node-ip-address=127.0.0.1", f"--num-cpus={cores}", *words]
    with log.open("wb") as said:
        child = subprocess.Popen(
            [*command, "--object-store-memory=200000000"], env=dict(own), stdout=said, stderr=said, start_new_session=True
        )
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


@contextmanager
def program(*words: object, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """`tidegate` with these arguments, in a folder."""
    command = [str(PYTHON), "-m", "gateway.cli", *map(str, words)]
    pipe = subprocess.PIPE
    heeds = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731 - whatever started the tests may have it ignored
    child = subprocess.Popen(command, env=environment(), cwd=folder, stdout=pipe, stderr=pipe, text=True, preexec_fn=heeds)  # noqa: PLW1509
    try:
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.communicate()


def done(*words: object, folder: Path, code: int = 0) -> tuple[str, str]:
    """What it says on both streams, once it has ended so."""
    with program(*words, folder=folder) as child:
        said, complained = child.communicate(timeout=PATIENCE_S)
        assert code == child.returncode, f"{said}\n{complained}"
        return said, complained


def until(so: Callable[[], object], child: subprocess.Popen[bytes] | subprocess.Popen[str] | None = None) -> None:
    """It is so, while the child lives, where there is one."""
    clock = SystemClock()
    end = clock.now() + PATIENCE_S
    while not so():
        assert child is None or child.poll() is None, f"it ended: {child.communicate()}"
        assert clock.now() < end, "it takes too long"
        threading.Event().wait(0.1)


def workers(task: str) -> list[int]:
    """Processes of this machine that carry a task of this name out: Ray names them so."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                title = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if title.startswith("ray::") and task in title:
                found.append(int(entry.name))
    return found
