"""Many versions tried one after another in one confined child process: what serving does before it loads them. For publishing, where
strangers' files come in, `trial.py` takes a process for each.

The child is `trials_child.py` run as a program, confined as a trial is. Tasks go to it as frames over a socket pair, files as descriptors.
A version that crashes it, hangs it, takes too much or makes it talk nonsense costs this child only: the next version gets a new one. So
that no version is blamed for what one before it did to the process, such a verdict counts only from a child that had tried nothing else;
otherwise the version is tried again in a new one. Only a hang is not repeated, for the time that it takes.
"""

from __future__ import annotations

import enum
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from registry.confinement import bare_environment
from registry.contract import Contract
from registry.gate import DEFAULT_GATE, Gate
from registry.golden import Golden
from registry.limits import DEFAULT_LIMITS, GIB, RegistryLimits
from registry.niceness import give_way, kept_waiting_s
from registry.trial import signal_name
from registry.verified import VerifiedModel
from registry.warmup import Sample, in_graph

TASKS = 256  # of one child: what a runtime does not give back stays bounded, and a start of half a second is 2 ms of each
DESCRIPTORS_AT_ONCE = 128  # in one message; the kernel takes 253
MAX_ANSWER_BYTES = 8 << 20  # a contract, or a reason
_CHILD = Path(__file__).with_name("trials_child.py")
_PREFIX_BYTES = 4
_REASON_CHARACTERS = 600  # of the child's own text
_GRACE_S = 2.0  # between SIGTERM and SIGKILL
_LITTLE = 0.01  # of a time limit, for which nobody waits any more
_STARVED = 20.0  # time limits after which a trial is over although the child hardly ever had a core
_DESCRIPTORS = 64  # beside those of the files


class Verdict(enum.Enum):
    """What became of a trial. All but the first are reasons not to serve."""

    PASSED = "passed"
    REFUSED = "refused"  # by the scanner; nothing was loaded. Whether that counts is for the caller to say
    NOT_LOADED = "not_loaded"  # the runtime cannot load it
    WRONG = "wrong"  # a golden request fails or is answered otherwise, or a sample of its warm-up fails
    MEMORY = "memory"
    PROCESSOR = "processor"
    HUNG = "hung"
    CRASHED = "crashed"
    NONSENSE = "nonsense"  # the child ended or wrote something without giving an answer


@dataclass(frozen=True, slots=True)
class Tried:
    """The result of one trial."""

    verdict: Verdict
    reason: str | None = None  # one sentence; None where it passed
    contract: Contract | None = None  # where it was examined and not refused


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What a child may never exceed, whatever its tasks say. The first frame that it reads."""

    memory_bytes: int
    cpu_s: int
    descriptors: int


class TrialTask(msgspec.Struct, frozen=True, kw_only=True):
    """One trial. The descriptors of the model and of `data`, in this order, follow the frame."""

    data: tuple[str, ...]  # names of external data
    memory_bytes: int
    cpu_s: int
    gate: Gate | None  # None: it is not examined
    golden: Golden | None
    warmup: tuple[Sample, ...] = ()


class TrialAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the child says of one trial."""

    verdict: Verdict
    reason: str | None = None
    contract: Contract | None = None


def send_frame(peer: socket.socket, content: bytes) -> None:
    """A length and so many bytes. Raises `OSError`."""
    peer.sendall(len(content).to_bytes(_PREFIX_BYTES, "little") + content)


def read_frame(peer: socket.socket, *, max_bytes: int) -> bytes | None:
    """The content of the next frame, or None where the peer is gone. Raises `ValueError` for one that is too long, `OSError`."""
    prefix = _read(peer, _PREFIX_BYTES)
    if prefix is None:
        return None
    length = int.from_bytes(prefix, "little")
    if length > max_bytes:
        raise ValueError(f"a frame of {length} bytes, where {max_bytes} are allowed")
    return _read(peer, length)


def _read(peer: socket.socket, count: int) -> bytes | None:
    content = bytearray()
    while len(content) < count:
        chunk = peer.recv(min(count - len(content), 1 << 20))
        if not chunk:
            return None
        content += chunk
    return bytes(content)


class TrialChild:
    """Use it as a context manager and from one thread, with which the child ends. It is started by the first trial."""

    def __init__(self, limits: RegistryLimits = DEFAULT_LIMITS, *, tasks: int = TASKS, program: Path = _CHILD) -> None:
        """`tasks` are tried in one child. `program` is for tests."""
        self._limits = limits
        self._tasks = tasks
        self._program = program
        self._child: _Child | None = None

    def tried(self, model: VerifiedModel, *, golden: Golden | None = None, examine: bool = False, gate: Gate = DEFAULT_GATE) -> Tried:
        """Load a version, ask its golden requests and each sample of its warm-up once. Blocks, at most for about twice the time limit,
        in which the child has a core: it takes what serving leaves.

        `examine` for what did not come through `publish`: the scanner looks at it first, by `gate`. Raises `OSError` where no process
        can be started, `Kind.INVALID_MODEL` for a sample that does not fit what its config.pbtxt says of inputs.
        """
        sealed = (model.file, *model.external_data.values())
        task = TrialTask(
            data=tuple(model.external_data),
            memory_bytes=self._limits.trial_memory_bytes + 4 * sum(file.size_bytes for file in sealed),
            cpu_s=int(self._limits.trial_timeout_s) + 1,
            gate=gate if examine else None,
            golden=golden,
            warmup=tuple(in_graph(sample, model.ports) for sample in model.warmup),
        )
        fds = [file.fd for file in sealed]
        while True:
            child = self._ready(task)
            fresh = child.tasks == 0
            tried = child.tried(task, fds, timeout_s=self._limits.trial_timeout_s)
            if not child.usable:
                self.close()
            if fresh or child.usable or tried.verdict is Verdict.HUNG:
                return tried

    def _ready(self, task: TrialTask) -> _Child:
        """The child, or a new one where it has done its part or is bound too narrowly for this task."""
        child = self._child
        if child is not None and (not child.usable or child.tasks >= self._tasks or child.memory_bytes < task.memory_bytes):
            self.close()
        if self._child is None:
            memory_bytes = max(task.memory_bytes, self._limits.trial_memory_bytes + GIB)
            self._child = _Child(
                self._program,
                Bounds(
                    memory_bytes=memory_bytes,
                    cpu_s=self._tasks * task.cpu_s,
                    descriptors=_DESCRIPTORS + 2 * self._limits.max_files,  # a map has one of its own
                ),
            )
        return self._child

    @property
    def pid(self) -> int | None:
        """Of the child, where there is one."""
        return None if self._child is None else self._child.pid

    def close(self) -> None:
        """End the child. The next trial starts another."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class _Child:
    """One process. `usable` becomes False with the first trial that it does not survive as it was."""

    def __init__(self, program: Path, bounds: Bounds) -> None:
        self.memory_bytes = bounds.memory_bytes
        self.tasks = 0
        self.usable = True
        self._socket, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-X", "utf8", str(program), str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=bare_environment(),
                    pass_fds=(theirs.fileno(),),
                    cwd="/",
                    start_new_session=True,
                )
        except BaseException:
            self._socket.close()
            raise
        give_way(self.pid)
        self._bounds: Bounds | None = bounds

    @property
    def pid(self) -> int:
        return self._process.pid

    def tried(self, task: TrialTask, fds: Sequence[int], *, timeout_s: float) -> Tried:
        """One trial, within `timeout_s` seconds and the time that ending the child takes."""
        with self._ended_after(timeout_s) as late:
            try:
                content = self._asked(msgspec.json.encode(task), fds)
                answer = None if content is None else msgspec.json.decode(content, type=TrialAnswer)
            except OSError:  # the child is gone
                answer = None
            except (ValueError, UnicodeDecodeError):  # msgspec's errors are ValueErrors
                return self._lost(Tried(Verdict.NONSENSE, "the trial of the model gave something that is no answer"))
            except BaseException:
                self.close()
                raise
        if late.is_set():
            return self._lost(Tried(Verdict.HUNG, f"the model hangs: the trial took more than {timeout_s:g} s and was ended"))
        if answer is None:
            return self._lost(_obituary(self._status(), task))
        self.tasks += 1
        if answer.verdict is Verdict.MEMORY:
            self.usable = False
        reason = None if answer.reason is None else " ".join(answer.reason.split())[:_REASON_CHARACTERS]
        return Tried(answer.verdict, reason, answer.contract)

    def _asked(self, content: bytes, fds: Sequence[int]) -> bytes | None:
        if self._bounds is not None:
            send_frame(self._socket, msgspec.json.encode(self._bounds))
            self._bounds = None
        send_frame(self._socket, content)
        for start in range(0, len(fds), DESCRIPTORS_AT_ONCE):
            socket.send_fds(self._socket, [b"\0"], fds[start : start + DESCRIPTORS_AT_ONCE])
        return read_frame(self._socket, max_bytes=MAX_ANSWER_BYTES)

    @contextmanager
    def _ended_after(self, timeout_s: float) -> Iterator[threading.Event]:
        """Ends the child once time is up, unless the block is left before. The event says whether time was up."""
        late, done = threading.Event(), threading.Event()
        guard = threading.Thread(target=self._guard, args=(timeout_s, late, done), daemon=True)
        guard.start()
        try:
            yield late
        finally:
            done.set()
            guard.join()

    def _guard(self, timeout_s: float, late: threading.Event, done: threading.Event) -> None:
        """SIGTERM; then the end of the connection, of which there may be other holders, whereupon `close` kills what is left."""
        if done_within(done, timeout_s, lambda: kept_waiting_s(self.pid)):
            return
        late.set()
        self._process.terminate()
        if not done.wait(_GRACE_S):
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _lost(self, tried: Tried) -> Tried:
        self.usable = False
        return tried

    def _status(self) -> int | None:
        """How it ended; None where it closed the connection and lives."""
        try:
            return self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            return None

    def close(self) -> None:
        """Kill it and whatever it started."""
        self.usable = False
        self._socket.close()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def done_within(done: threading.Event, limit_s: float, kept_waiting: Callable[[], float]) -> bool:
    """Wait for `done` for so many seconds, of which those do not count for which the child was kept waiting for a core."""
    before, passed, left = kept_waiting(), 0.0, limit_s
    while left > _LITTLE * limit_s:
        if done.wait(left):
            return True
        passed += left
        left = min(limit_s - passed + kept_waiting() - before, _STARVED * limit_s - passed)
    return False


def _obituary(status: int | None, task: TrialTask) -> Tried:
    """The verdict on a model whose trial ended without an answer."""
    if status == -signal.SIGXCPU:
        return Tried(Verdict.PROCESSOR, f"the model's trial used more than {task.cpu_s} s of processor time")
    if status == -signal.SIGKILL:
        return Tried(Verdict.MEMORY, "the model's trial was killed from outside, probably for its memory")
    if status is not None and status < 0:
        return Tried(Verdict.CRASHED, f"the model crashed the runtime: it died of {signal_name(-status)}")
    how = "went on" if status is None else f"ended with status {status}"
    return Tried(Verdict.NONSENSE, f"the model's trial {how} without an answer")
