"""A model tried in a child process: can the installed ONNX Runtime load it at all?

The child is `trial_child.py` run as a program. It has limits on memory, CPU time and written bytes and none of the parent's secrets in its
environment, so a model that crashes or exhausts the runtime costs a child.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from registry.errors import refused
from registry.limits import RegistryLimits

_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV")  # what an interpreter needs to start
_CHILD = Path(__file__).with_name("trial_child.py")
_REASON_CHARACTERS = 600  # of the runtime's own text


@dataclass(frozen=True, slots=True)
class Submitted:
    """Open descriptors of the files to try, and their sizes together."""

    model_fd: int
    data_fds: Mapping[str, int]  # external data, by file name
    size_bytes: int


def load_in_child(files: Submitted, limits: RegistryLimits) -> None:
    """Create a session of the model once. Raises `Kind.INVALID_MODEL` with the runtime's reason, its signal, or the timeout."""
    request = {
        "model_fd": files.model_fd,
        "data_fds": dict(files.data_fds),
        "memory_bytes": limits.trial_memory_bytes + 4 * files.size_bytes,
        "cpu_s": int(limits.trial_timeout_s) + 1,
    }
    try:
        child = subprocess.run(
            [sys.executable, "-P", str(_CHILD)],
            input=json.dumps(request).encode(),
            capture_output=True,
            check=False,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            pass_fds=(files.model_fd, *files.data_fds.values()),
            timeout=limits.trial_timeout_s,
        )
    except subprocess.TimeoutExpired as error:
        raise refused(f"the model did not load within {limits.trial_timeout_s:g} s") from error
    _judge(child.returncode, child.stdout)


def _judge(returncode: int, stdout: bytes) -> None:
    """Raises `Kind.INVALID_MODEL` unless the child said that it loaded the model."""
    if returncode < 0:
        raise refused(f"the runtime died of {signal.Signals(-returncode).name} while loading the model")
    try:
        answer = json.loads(stdout.splitlines()[-1])
    except (IndexError, ValueError) as error:
        raise refused(f"the runtime ended with status {returncode} while loading the model") from error
    if answer != {"loaded": True}:
        raise refused(f"the installed ONNX Runtime cannot load the model: {str(answer.get('reason'))[:_REASON_CHARACTERS]}")
