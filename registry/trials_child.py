"""The program that tries one model after another, until its peer is gone. Its only caller is trials.py.

Limits come first, then the libraries, then the models. The limits of a task are soft ones below those of the process, counted from what
the process has used so far.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
from contextlib import suppress

import msgspec

from registry.errors import RegistryError
from registry.gate import DEFAULT_GATE
from registry.golden import MAX_GOLDEN_BYTES
from registry.trial import Task
from registry.trial_child import TooMuchMemoryError, answered, confine, examined_of, session_of, warmed
from registry.trials import DESCRIPTORS_AT_ONCE, Bounds, TrialAnswer, TrialTask, Verdict, read_frame, send_frame
from registry.warmup import MAX_FILES_BYTES

_TASK_BYTES = 2 * max(MAX_GOLDEN_BYTES, MAX_FILES_BYTES) + (2 << 20)  # base64 makes 4 bytes of 3; a version has one or the other


def main(peer: socket.socket) -> None:
    """Answer tasks until there are no more. Raises what the peer's own mistakes raise."""
    first = read_frame(peer, max_bytes=_TASK_BYTES)
    if first is None:
        return
    bounds = msgspec.json.decode(first, type=Bounds)
    confine(memory_bytes=bounds.memory_bytes, cpu_s=bounds.cpu_s, descriptors=bounds.descriptors)
    while (content := read_frame(peer, max_bytes=_TASK_BYTES)) is not None:
        task = msgspec.json.decode(content, type=TrialTask)
        fds = _descriptors(peer, 1 + len(task.data))
        try:
            answer = answer_to(task, fds)
        finally:
            for fd in fds:
                os.close(fd)
        send_frame(peer, msgspec.json.encode(answer))


def _descriptors(peer: socket.socket, count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        said, some, _, _ = socket.recv_fds(peer, 1, DESCRIPTORS_AT_ONCE)
        if not said or not some:
            raise EOFError("the descriptors of a task are missing")
        found += some
    return found


def answer_to(task: TrialTask, fds: list[int]) -> TrialAnswer:
    """Try one model, within the bounds of its task."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _soften(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + task.cpu_s)
    _soften(resource.RLIMIT_AS, task.memory_bytes)
    trial = Task(
        model_fd=fds[0],
        data_fds=dict(zip(task.data, fds[1:], strict=True)),
        memory_bytes=task.memory_bytes,
        cpu_s=task.cpu_s,
        descriptors=0,
        gate=task.gate or DEFAULT_GATE,
        golden=task.golden,
        warmup=task.warmup,
    )
    try:
        return _staged(trial, examine=task.gate is not None)
    except (MemoryError, TooMuchMemoryError):
        with suppress(ValueError):  # room for the answer; the process is given up after it
            _soften(resource.RLIMIT_AS, resource.getrlimit(resource.RLIMIT_AS)[1])
        return TrialAnswer(verdict=Verdict.MEMORY, reason=TooMuchMemoryError(task.memory_bytes).message)


def _soften(name: int, bound: int) -> None:
    _, hard = resource.getrlimit(name)
    resource.setrlimit(name, (bound if hard == resource.RLIM_INFINITY else min(bound, hard), hard))


def _staged(task: Task, *, examine: bool) -> TrialAnswer:
    """The first stage that says no gives the verdict. Raises `TooMuchMemoryError`, `MemoryError`."""
    contract, verdict = None, Verdict.REFUSED
    try:
        if examine:
            contract = examined_of(task).contract
        verdict = Verdict.NOT_LOADED
        session = session_of(task)
        verdict = Verdict.WRONG
        answered(session, task)
        warmed(session, task)
    except TooMuchMemoryError:
        raise
    except RegistryError as error:
        return TrialAnswer(verdict=verdict, reason=error.message, contract=contract)
    return TrialAnswer(verdict=Verdict.PASSED, contract=contract)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        main(connection)
