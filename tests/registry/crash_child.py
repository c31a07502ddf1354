"""Kill a process at each call with which it changes a registry. Run by test_crash.py.

Arguments: a directory, an ONNX file, `create` or `publish`, and `unnamed` or `named` (without O_TMPFILE). A process that dies in a write
has written half of the bytes. Leaves one registry per killed process, `<directory>/<number>`, and prints how many there are.
"""

from __future__ import annotations

import errno
import itertools
import os
import signal
import sys
from pathlib import Path
from typing import Any

from registry.publish import publish
from registry.store import Store


class DyingCalls:
    """`os` until call number `last`, which does not return. Nothing waits for the disk: a killed process loses nothing it had written."""

    def __init__(self, last: int, *, unnamed: bool) -> None:
        self._left = last
        self._unnamed = unnamed

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                if name == "write":
                    os.write(arguments[0], arguments[1][: len(arguments[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            if name == "open" and not self._unnamed and arguments[1] & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(errno.EOPNOTSUPP, "no O_TMPFILE here")
            return None if name == "fsync" else getattr(os, name)(*arguments, **options)

        return call


def put(store: Store, model: Path, publish_id: str) -> None:
    """One publish without the trial, which writes nothing."""
    publish(store, model, name="m", publisher="ann", now_s=1e9, publish_id=publish_id, trial=lambda files, limits: None)


def survives(root: Path, model: Path, operation: str, calls: DyingCalls) -> bool:
    """Run `operation` in a child of this process. Whether it came to its end."""
    if operation == "publish":
        put(Store.create(root, calls=DyingCalls(0, unnamed=True)), model, "before")
    child = os.fork()
    if child == 0:
        if operation == "publish":
            put(Store.open(root, calls=calls), model.with_name("second.onnx"), "killed")
        else:
            Store.create(root, calls=calls)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in {0, -signal.SIGKILL}, status
    return status == 0


def main(directory: Path, model: Path, operation: str, staging: str) -> None:
    """Kill at the first call, the second, and so on, until one run is over before its turn comes."""
    for last in itertools.count(1):
        calls = DyingCalls(last, unnamed=staging == "unnamed")
        if survives(directory / str(last), model, operation, calls):
            sys.stdout.write(str(last - 1))
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
