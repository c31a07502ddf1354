"""strace around an operation of a registry: which system calls it makes under a directory, and the same run with one tampered with."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Every call that changes a file system, and those that open, name or look: the trace shows which of them concern the registry.
CHANGES = {"write", "pwrite64", "fsync", "fdatasync", "fchmod", "ftruncate", "link", "linkat", "unlink", "unlinkat", "rename", "renameat2"}
CHANGES |= {"mkdir", "mkdirat", "rmdir"}
CALLS = sorted(CHANGES | {"openat", "stat", "newfstatat", "statx", "getdents64", "read", "close"})
_LINE = re.compile(r"^(?:\d+ +)?(\w+)\((.*)$")


@dataclass(frozen=True, slots=True)
class Call:
    """The `number`th call of this name in the process."""

    name: str
    number: int


def calls_under(root: Path, operation: str, log: Path) -> list[Call]:
    """Calls that an untouched run of `operation` makes under `root`, in order."""
    run(root, operation, log, None)
    counts: Counter[str] = Counter()
    found = []
    for line in log.read_text(errors="replace").splitlines():
        match = _LINE.match(line)
        if match is None or match[1] not in CALLS:
            continue
        counts[match[1]] += 1
        if str(root) in match[2] or "/proc/self/fd/" in match[2]:
            found.append(Call(match[1], counts[match[1]]))
    return found


def run(root: Path, operation: str, log: Path, inject: str | None) -> int:
    """The exit status of one run; `inject` is what strace does to a call, such as "fsync:signal=KILL:when=3"."""
    # -y shows the path of every descriptor; without address randomisation and hash seeds two runs make the same calls.
    command = ["strace", "-y", "-s", "0", "-o", str(log), "-e", f"trace={','.join(CALLS)}"]
    command += ["-e", f"inject={inject}"] if inject else []
    environment = {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ["PATH"]}
    child = [sys.executable, str(Path(__file__).with_name("operation_child.py")), str(root), operation]
    return subprocess.run([*command, *child], env=environment, capture_output=True, timeout=900, check=False).returncode
