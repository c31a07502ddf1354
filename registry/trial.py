"""A submitted model, tried in a child process: may it become a version, can the runtime load it, are its golden answers right?

The child is `trial_child.py` run as a program. This process never parses what was submitted: a model that crashes, hangs or exhausts a
parser or the runtime costs a child. The child has limits on memory, processor time, descriptors and written bytes, no network where the
kernel lets it give that up, and none of the parent's environment.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from registry.confinement import bare_environment
from registry.contract import Contract
from registry.errors import refused
from registry.gate import DEFAULT_GATE, Gate
from registry.golden import MAX_GOLDEN_BYTES, Golden, Tensor
from registry.limits import RegistryLimits
from registry.packed import Packed
from registry.warmup import Sample

_CHILD = Path(__file__).with_name("trial_child.py")
_REASON_CHARACTERS = 600  # of the child's own text
_ANSWER_BYTES = 2 * MAX_GOLDEN_BYTES + (8 << 20)  # answers to all golden requests, and the contract
_GRACE_S = 2.0  # between SIGTERM and SIGKILL
_DESCRIPTORS = 64  # beside those of the submitted files
ASKED_BYTES = 32 << 20  # of answers to rows, after which a child has done enough


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that the model is asked about, from one of them on, as many as a child can in its time."""

    fd: int  # of their memory
    packed: Packed
    start: int
    rows_per_run: int
    outputs: tuple[str, ...]
    max_elements: int  # of a row of an output; larger outputs are left out, and so are those that are not one row for each


@dataclass(frozen=True, slots=True)
class Submitted:
    """Open descriptors of the files to try, their sizes together, and what else the trial has to know."""

    model_fd: int
    data_fds: Mapping[str, int]  # external data, by file name
    size_bytes: int
    gate: Gate = DEFAULT_GATE
    golden: Golden | None = None
    asked: Asked | None = None

    @property
    def fds(self) -> tuple[int, ...]:
        """Of everything that the child reads."""
        return (self.model_fd, *self.data_fds.values(), *((self.asked.fd,) if self.asked else ()))


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What the child reads."""

    model_fd: int
    data_fds: dict[str, int]
    memory_bytes: int
    cpu_s: int
    descriptors: int
    gate: Gate
    golden: Golden | None
    warmup: tuple[Sample, ...] = ()  # with the shapes of the graph
    asked: Asked | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the child writes. Either a reason, or files that it needs to go on, or all that was found."""

    reason: str | None = None
    contract: Contract | None = None
    needs: dict[str, int] = {}  # external files that the model refers to → bytes needed of each at least
    loaded: bool = False
    golden: Golden | None = None  # with the outputs that the model gave where none were asked for
    answered: tuple[dict[str, Tensor], ...] = ()  # the outputs of each run over rows that were asked about


def load_in_child(files: Submitted, limits: RegistryLimits) -> Answer:
    """Examine the model, and load it and ask its golden requests once all files that it needs are there.

    Raises `Kind.INVALID_MODEL` with the reason of the scanner, the checker or the runtime, or with what became of the child.
    """
    task = Task(
        model_fd=files.model_fd,
        data_fds=dict(files.data_fds),
        memory_bytes=limits.trial_memory_bytes + 4 * files.size_bytes,
        cpu_s=int(limits.trial_timeout_s) + 1,
        descriptors=_DESCRIPTORS + len(files.fds),
        gate=files.gate,
        golden=files.golden,
        asked=files.asked,
    )
    returncode, printed, late = _run(msgspec.json.encode(task), files.fds, timeout_s=limits.trial_timeout_s, max_bytes=_max_bytes(task))
    if late:
        raise refused(f"the model hangs: the trial took more than {limits.trial_timeout_s:g} s and was ended")
    return _judged(returncode, printed, task)


def _max_bytes(task: Task) -> int:
    """Of its answer: base64 makes 4 bytes of 3, and the last run may go past the bound."""
    return _ANSWER_BYTES + (4 * ASKED_BYTES if task.asked else 0)


def _run(task: bytes, fds: tuple[int, ...], *, timeout_s: float, max_bytes: int) -> tuple[int, bytes, bool]:
    """(status, what was printed, whether time was up). At most `max_bytes` and one more are read, whatever the child prints."""
    with os.fdopen(os.memfd_create("task", os.MFD_CLOEXEC), "w+b") as file:
        file.write(task)
        file.seek(0)
        child = subprocess.Popen(
            [sys.executable, "-P", "-X", "utf8", str(_CHILD)],
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=bare_environment(),
            pass_fds=fds,
            cwd="/",
            start_new_session=True,
        )
    late = threading.Event()
    timers = [
        threading.Timer(timeout_s, _end, (child, signal.SIGTERM, late)),
        threading.Timer(timeout_s + _GRACE_S, _end, (child, signal.SIGKILL, late)),
    ]
    for timer in timers:
        timer.daemon = True
        timer.start()
    try:
        with child, child.stdout as stdout:  # type: ignore[union-attr]
            printed = stdout.read(max_bytes + 1)
            if len(printed) > max_bytes:
                child.kill()
    except BaseException:
        child.kill()
        raise
    finally:
        for timer in timers:
            timer.cancel()
    return child.returncode, printed, late.is_set()


def _end(child: subprocess.Popen[bytes], number: signal.Signals, late: threading.Event) -> None:
    late.set()
    child.send_signal(number)  # does nothing once the child is gone


def _judged(returncode: int, printed: bytes, task: Task) -> Answer:
    """Raises `Kind.INVALID_MODEL` unless the child gave a whole answer and ended well."""
    if len(printed) > _max_bytes(task):
        raise refused(f"the model's {'answers' if task.asked else 'golden answers'} have more than {_max_bytes(task)} bytes")
    if returncode == -signal.SIGXCPU or (returncode == -signal.SIGKILL and not printed):
        what = (
            f"used more than {task.cpu_s} s of processor time"
            if returncode == -signal.SIGXCPU
            else "was killed from outside, probably for its memory"
        )
        raise refused(f"the model's trial {what}")
    if returncode < 0:
        raise refused(f"the model crashed the runtime: it died of {signal_name(-returncode)}")
    try:
        answer = msgspec.json.decode(printed, type=Answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise refused(f"the model ended its trial with status {returncode} and without an answer") from error
    if answer.reason is not None:
        raise refused(" ".join(answer.reason.split())[:_REASON_CHARACTERS])
    if answer.contract is None or (not answer.loaded and (task.data_fds or not answer.needs)):
        raise refused(f"the model ended its trial with status {returncode} and half an answer")
    return answer


def signal_name(number: int) -> str:
    """As the manual writes it."""
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
