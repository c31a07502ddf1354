"""What a process that holds a foreign model gives up: its parent's environment, more memory and files than it needs, the network.

Limits come before libraries. Where a kernel or container does not let the network be given up, the limits alone hold.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from collections.abc import Mapping

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h
_PR_SET_NO_NEW_PRIVS = 38  # linux/prctl.h


def bare_environment() -> dict[str, str]:
    """For such a process: where our packages are, and one thread for every library. It knows no secret and no setting of its parent."""
    paths = [os.path.abspath(path) for path in sys.path if path]
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return kept | {
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONDONTWRITEBYTECODE": "1",
        "ORT_DISABLE_TELEMETRY": "1",  # else ONNX Runtime opens a database in the home directory
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def limit(bounds: Mapping[int, int]) -> None:
    """Set limits of this process, by `resource.RLIMIT_*`; core files are always off. A limit that is lower already stays."""
    for name, bound in {**bounds, resource.RLIMIT_CORE: 0}.items():
        _, hard = resource.getrlimit(name)
        lower = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(name, (lower, lower))


def forsake_network() -> None:
    """No new privileges and no network, from this process of one thread."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.unshare(_CLONE_NEWNET) != 0:  # root's way; else in a user namespace
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
