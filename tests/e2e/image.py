"""What the image holds, put together from this checkout and its environment without a container engine, and run as the image is run.

The Dockerfile says what the program is, who runs it, what it finds in its environment and where it may write; the environment is the one
that runs the tests, in its own place, instead of a copy in /opt/tidegate.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from gateway.control.child import Process
from tests.deploy import dockerfile
from tests.deploy.files import DEPLOY, ROOT, USER
from tests.e2e import contained
from tests.e2e.contained import Cell
from tests.e2e.server import Server, free_ports

BUILD, IMAGE = dockerfile.stages(dockerfile.parse((DEPLOY / "docker/Dockerfile").read_text()))
PROGRAM = dockerfile.only(IMAGE, "ENTRYPOINT").words
TMP, STATE = dockerfile.only(IMAGE, "VOLUME").words
BAKED = dockerfile.environment(IMAGE)
KERNELS = ROOT / ".build/image"  # their object code, compiled as the image is built; kept, because that takes a while
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")
_TAIL = 20


def compile_kernels() -> None:
    """The last step of the build."""
    environment = {name: value for name, value in dockerfile.environment(BUILD).items() if name.startswith("NUMBA_")}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "kernels.jit"],
        env={**os.environ, **environment, "NUMBA_CACHE_DIR": str(KERNELS)}, cwd="/", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr


def cell(folder: Path, models: str, command: list[str]) -> Cell:
    """The image with the directory `folder / "models"` mounted at `models`."""
    root, state = folder / "root", folder / "state"
    root.mkdir()
    state.mkdir()
    if os.geteuid() == 0:
        os.chown(state, USER, USER)
    base = os.path.realpath(sys.executable) if sys.base_prefix == "/usr" else sys.base_prefix  # without that one's other programs
    python = [base, sys.prefix, *(str(ROOT / name) for name in ("kernels", "registry", "gateway", "retrain"))]
    here = [place for place in (*_LIBRARIES, *python) if Path(place).exists()]
    return Cell(
        root=str(root),
        shown=[
            *((place, place) for place in here),
            (str(KERNELS), BAKED["NUMBA_CACHE_DIR"]),
            (str(DEPLOY / "docker/tidegate.yaml"), PROGRAM[-1]),
            (str(folder / "models"), models),
        ],
        written=[("", TMP), (str(state), STATE)],
        user=USER,
        environment={**BAKED, "PATH": f"{sys.prefix}/bin"},
        command=command,
    )


class Container(Process):
    """A program in its cell, with its output in `log`. Use it as a context manager."""

    def __init__(self, cell: Cell, log: Path) -> None:
        self._log = log
        with log.open("ab") as output:
            program = [sys.executable, "-I", "-S", contained.__file__, cell.encoded()]
            super().__init__(subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=output, stderr=output))

    def last_lines(self, count: int = _TAIL) -> list[str]:
        """The end of what it has written."""
        return self._log.read_text("utf-8", "replace").splitlines()[-count:]

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def ran(cell: Cell, command: list[str]) -> subprocess.CompletedProcess[str]:
    """A program that comes to its end in a cell."""
    program = [sys.executable, "-I", "-S", contained.__file__, replace(cell, command=command).encoded()]
    return subprocess.run(program, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)


@contextmanager
def running(folder: Path, arguments: list[str], models: str = "/models") -> Iterator[Server]:
    """The image's own program with these arguments, on free ports and without waiting for balancers; ready."""
    ports = free_ports()
    names = ("--http-port", "--grpc-port", "--metrics-port")
    flags = [word for name, port in zip(names, ports, strict=True) for word in (name, str(port))]
    command = [*PROGRAM, *arguments, *flags, "--admin-port", "0", "--set", "processes.drain_delay_s=0"]
    log = folder / "server.log"
    with Container(cell(folder, models, command), log) as container:
        server = Server(container, ports, log)
        server.wait_ready()
        yield server
