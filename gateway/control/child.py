"""Child processes, watched and always ended; a gateway in one. Knows no protocol; whoever started it asks it whether it is ready.

What a gateway writes goes to one file, of which the last lines explain an early death. It dies with its parent: the
kernel sends it SIGTERM when the thread that started it ends, however that happens.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

STOP_TIMEOUT_S = 30.0  # the server's own grace, and some
_TAIL_BYTES = 16_384
# PR_SET_PDEATHSIG, asked for by a program in between rather than after a fork: where a channel is open, what gRPC does after forks lets a
# child abort now and then (19 of 400 at the worst), and without a function to call there nobody hears of the fork. The parent's number is
# held against the one that there is, for it may have ended before.
_LEASH = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


class Process:
    """A started process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Of the child."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Until it ends, or None where it has not after `timeout_s`."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Ask it to end, insist after `timeout_s`, and return its exit status."""
        if self.status is None:
            self._process.terminate()
        status = self.wait(timeout_s)
        if status is None:
            self._process.kill()
            status = self._process.wait()
        return status


class Child(Process):
    """`python -m gateway.cli <arguments>` with its output in `log`. Use it as a context manager."""

    def __init__(self, arguments: Sequence[str], *, log: Path) -> None:
        self._log = log
        with log.open("ab") as output:
            super().__init__(
                subprocess.Popen(
                    _leashed([sys.executable, "-P", "-m", "gateway.cli", *arguments]),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                )
            )

    def last_lines(self, count: int = 10) -> list[str]:
        """The end of what it has written."""
        with self._log.open("rb") as file:
            file.seek(max(0, self._log.stat().st_size - _TAIL_BYTES))
            return file.read().decode("utf-8", "replace").splitlines()[-count:]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def _leashed(command: Sequence[str]) -> list[str]:
    """The command, which begins with a Python, as one that ends with this process."""
    return [sys.executable, "-ISc", _LEASH, str(os.getpid()), *command] if sys.platform == "linux" else list(command)
