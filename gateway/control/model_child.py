"""Starts the processes of isolated models: a fresh interpreter with a bare environment, the descriptors that it is given and no others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from gateway.control.child import Process
from registry.confinement import bare_environment
from registry.niceness import give_way

_PROGRAM = ("-m", "gateway.serving.isolated_child")


def start_model_child(argument: str, fds: Sequence[int], *, program: Sequence[str] = _PROGRAM) -> Process:
    """`program` with one argument, told nothing else, in a process group of its own: no terminal's signal reaches it. Raises OSError.

    It is not tied to the thread that calls this: the program itself asks the kernel to be ended with its worker.
    """
    return Process(
        subprocess.Popen(
            [sys.executable, "-P", "-X", "utf8", *program, argument],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=bare_environment(),
            pass_fds=fds,
            cwd="/",
            process_group=0,  # a session would be a group of its own for the scheduler, which may keep callers waiting for a slice
        )
    )


def start_model_child_behind(argument: str, fds: Sequence[int], *, program: Sequence[str] = _PROGRAM) -> Process:
    """One that gives way to whatever else runs, from before it loads anything, with all the threads that it will have. Raises OSError."""
    process = start_model_child(argument, fds, program=program)
    give_way(process.pid)
    return process
