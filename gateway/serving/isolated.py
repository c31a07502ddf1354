"""A model in a process of its own, which may crash, hang or fill its memory without costing more than the run that did it.

Looks like `Model` to batches and versions. Its runs wait in the version's thread; whoever starts processes is passed in. What the
process sends is believed only where it fits the run and the signature; a process that sends anything else is ended as a dead one is.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from gateway.errors import Code
from gateway.protocol.tensors import DATATYPES, Signature
from gateway.serving.channel import Broken, ChannelFault, Closed
from gateway.serving.frames import Frame, Kind, TooLargeFault
from gateway.serving.host import Host, RunHandle, Starter
from gateway.serving.hosting import FAULTS, OUT_OF_MEMORY, Fault, Ready, Task
from gateway.serving.model import Arrays, ModelFault, RunFault, RunLost, Terminable, zeros
from gateway.serving.quarantine import Quarantine
from gateway.serving.restarts import Restarts
from gateway.serving.sessions import Placement, SessionSettings
from registry.ports import Ports
from registry.schema import Schema

_log = logging.getLogger(__name__)
_SHOWN_CHARACTERS = 600  # of a text that the process wrote


@dataclass(frozen=True, slots=True)
class IsolationSettings:
    """Bounds of the process of one model."""

    memory_bytes: int = 2 << 30  # all of it, weights and libraries included; shared memory aside
    arena_bytes: int = 256 << 20  # of it, for runs: `limits.serving.max_arena_bytes`
    frame_bytes: int = 256 << 20  # the inputs or outputs of one run
    run_timeout_s: float = 30.0
    load_timeout_s: float = 60.0
    grace_s: float = 2.0  # between SIGTERM and SIGKILL, and for a process that closed its channel to end


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Open descriptors of the sealed model file and its external data, by file name. They stay the caller's."""

    model_fd: int
    external_fds: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class HostStatus:
    """What can be seen of the process."""

    pid: int | None  # None while there is none
    starts: int  # of processes, the first included
    last_end: str  # why the last one ended; empty before the first end
    wait_s: float  # until a new one may be started; 0 where nothing stands against it
    quarantined: int  # requests that are refused now
    refused: int  # how often one was


class IsolatedModel:
    """One model in one process at a time. Runs of several threads wait for each other; everything may be called from any."""

    never_inline = True  # whatever the graph holds: a process can always take its time
    options = staticmethod(RunHandle)

    def __init__(
        self,
        name: str,
        number: int,
        files: ModelFiles,
        settings: SessionSettings,
        bounds: IsolationSettings,
        *,
        start: Starter,
        now: Callable[[], float],
        schema: Schema | None = None,
        ports: Ports | None = None,
    ) -> None:
        """Start the process and wait until the model is loaded. Raises ModelFault."""
        self.quarantine = Quarantine(f"{name}/{number}", now)
        self.signature = Signature(name, (), (), 0)  # until the process has told it
        self.placement = Placement()
        self._schema = schema
        self._ports = ports
        self._settings = settings
        self._bounds = bounds
        self._start = start
        self._now = now
        self._restarts = Restarts()
        self._host: Host | None = None
        self._runs = self._starts = 0
        self._last_end = ""
        self._closed = False
        self._changing = threading.Lock()  # which process there is
        self._running = threading.Lock()  # held for a run
        self._model_fd = os.dup(files.model_fd)
        self._external_fds = {file: os.dup(fd) for file, fd in files.external_fds.items()}
        try:
            self._host = self._spawned()
            self.signature, self.placement = self._awaited(self._host)
        except (ModelFault, OSError, RunFault) as fault:
            self.close()
            raise ModelFault(getattr(fault, "message", str(fault))) from None

    @property
    def status(self) -> HostStatus:
        """For metrics and whoever wonders."""
        host = self._host
        return HostStatus(
            pid=host.process.pid if host is not None else None,
            starts=self._starts,
            last_end=self._last_end,
            wait_s=self._restarts.wait_s(self._now()),
            quarantined=len(self.quarantine),
            refused=self.quarantine.refused,
        )

    def run(self, arrays: Sequence[np.ndarray], options: Terminable | None = None) -> Arrays:
        """All outputs for inputs in the signature's order. Raises RunFault.

        RunLost where the process ended with the run, UNAVAILABLE while there is none.
        """
        return self.timed(arrays, options)[0]

    def timed(self, arrays: Sequence[np.ndarray], options: Terminable | None = None) -> tuple[Arrays, float]:
        """As `run`, and the seconds that the run took in the process, without the way there and back and without waiting for a core.

        The process says so itself; it is not believed beyond what passed here.
        """
        with self._running:
            began_s = self._now()
            answer = self._answer(arrays, options)
            return answer.tensors, min(answer.seconds, self._now() - began_s)

    def _answer(self, arrays: Sequence[np.ndarray], options: Terminable | None) -> Frame:
        host = self._serving()
        self._runs += 1
        handle = options if isinstance(options, RunHandle) else RunHandle()
        try:
            if not handle.begin(host, self._runs):
                raise RunFault(Code.CANCELLED, f"model '{self.signature.model}': nobody waits for this run")
            answer = self._exchanged(host, arrays)
        finally:
            handle.end()
        self._restarts.answered()
        if answer.last:
            self._ended(host, "gave its memory back", at_once=False)
        if answer.kind == Kind.FAULT:
            raise _run_fault(answer)
        return answer

    def zeros(self, rows: int) -> Arrays:
        """Inputs of zeros (empty strings) with free dimensions set to 1 and `rows` rows."""
        return zeros(self.signature, rows)

    def close(self) -> None:
        """End the process and give everything back. A run that is under way is lost. A second call does nothing."""
        with self._changing:
            if self._closed:
                return
            self._closed = True
            host, self._host = self._host, None
        if host is not None:
            host.end(self._bounds.grace_s, at_once=True)
        for fd in (self._model_fd, *self._external_fds.values()):
            os.close(fd)

    # --- runs ------------------------------------------------------------------------------------------------------------------

    def _exchanged(self, host: Host, arrays: Sequence[np.ndarray]) -> Frame:
        """The process's answer to the current run, held against what it must be."""
        until = self._now() + self._bounds.run_timeout_s
        datatypes = [spec.datatype for spec in self.signature.inputs]
        try:
            host.channel.send(Frame(Kind.RUN, self._runs, datatypes=datatypes, tensors=list(arrays)), until)
            answer = host.channel.receive(until)
            self._check(answer, arrays)
            return answer
        except TooLargeFault as fault:
            text = f"model '{self.signature.model}' runs in a process that does not take so much: {fault}"
            raise RunFault(Code.TOO_LARGE, text) from None
        except ChannelFault as fault:  # the frame that it holds on to has to go with it
            reason, closed = str(fault), isinstance(fault, Closed)
        self._ended(host, reason, at_once=not closed)
        raise RunLost(Code.INTERNAL, f"model '{self.signature.model}' failed on this input: its process ended")

    def _check(self, answer: Frame, arrays: Sequence[np.ndarray]) -> None:
        """Raises Broken for what is no answer to this run. Whether rows are right was looked at by the process: here they must be."""
        signature = self.signature
        if answer.number != self._runs or answer.kind not in (Kind.OUTPUTS, Kind.FAULT):
            raise Broken("answered another run")
        if answer.kind == Kind.FAULT:
            _run_fault(answer)
            return
        if [spec.datatype for spec in signature.outputs] != list(answer.datatypes):
            raise Broken("answered with other outputs than the signature's")
        if signature.max_batch_size and any([output.shape[:1] != arrays[0].shape[:1] for output in answer.tensors]):
            raise Broken("answered with another number of rows")

    # --- processes -------------------------------------------------------------------------------------------------------------

    def _serving(self) -> Host:
        """The process, a new one where the last has ended. Raises RunFault."""
        host = self._host
        if host is not None and host.ready and not host.channel.idle():
            self._ended(host, "ended while nothing ran", at_once=False)
            host = self._host
        if host is None:
            host = self._respawned()
        if not host.ready:
            self._await_again(host)
        return host

    def _refuse_early(self) -> None:
        wait_s = self._restarts.wait_s(self._now())
        if self._closed or wait_s > 0:
            raise RunFault(Code.UNAVAILABLE, f"model '{self.signature.model}' has no process now: {self._last_end or 'it is closed'}")

    def _await_again(self, host: Host) -> None:
        """A new process must load what the first one did."""
        try:
            signature, placement = self._awaited(host)
            if signature == self.signature:
                self._moved(placement)
                return
            self._failed(host, "loaded another model")
        except ModelFault as fault:
            self._last_end = str(fault)
        raise RunFault(Code.UNAVAILABLE, f"model '{self.signature.model}' has no process now: {self._last_end}")

    def _respawned(self) -> Host:
        try:
            with self._changing:
                self._refuse_early()
                self._host = host = self._spawned()
                return host
        except OSError as error:
            self._restarts.failed(self._now())
            self._last_end = f"cannot be started ({error.strerror})"
            raise RunFault(Code.UNAVAILABLE, f"model '{self.signature.model}' has no process now: it {self._last_end}") from None

    def _spawned(self) -> Host:
        """A process that begins to load. Raises OSError."""
        bounds = self._bounds
        host = Host.started(self._start, self._task, bounds.frame_bytes, now=self._now, until=self._now() + bounds.load_timeout_s)
        self._starts += 1
        return host

    def _task(self, frames_fd: int, stops_fd: int, life_fd: int) -> Task:
        return Task(
            frames_fd=frames_fd,
            stops_fd=stops_fd,
            life_fd=life_fd,
            model_fd=self._model_fd,
            external_fds=self._external_fds,
            schema=self._schema,
            ports=self._ports,
            model=self.signature.model,
            settings=self._settings,
            memory_bytes=self._bounds.memory_bytes,
            arena_bytes=self._bounds.arena_bytes,
            frame_bytes=self._bounds.frame_bytes,
        )

    def _moved(self, placement: Placement) -> None:
        """A new process may have found another device, or none."""
        if placement != self.placement:
            subject, before = self.signature.model, self.placement.provider
            _log.warning("model process of '%s' runs on provider '%s', the one before ran on '%s'", subject, placement.provider, before)
            self.placement = placement

    def _awaited(self, host: Host) -> tuple[Signature, Placement]:
        """What the process has loaded. Raises ModelFault where that is nothing; the process is ended then."""
        try:
            frame = host.channel.receive(host.until)
            if frame.kind == Kind.READY:
                ready = _ready(frame, self.signature.model, self._settings)
                host.ready = True
                return ready.signature, ready.placement
            reason = (
                _text(frame.text.decode("utf-8", "replace"))
                if frame.kind == Kind.UNLOADABLE
                else "the model's process began with an answer"
            )
        except ChannelFault as fault:
            reason = ""
            self._failed(host, f"{fault} while it loaded the model")
        else:
            self._failed(host, reason)
        raise ModelFault(reason or f"the model's process {self._last_end}")

    def _failed(self, host: Host, reason: str) -> None:
        """The process did not become ready."""
        self._bury(host, reason, at_once=False)
        self._restarts.failed(self._now())

    def _ended(self, host: Host, reason: str, *, at_once: bool) -> None:
        """The process is of no more use. The next one starts to load, where that is allowed."""
        self._bury(host, reason, at_once=at_once)
        self._restarts.lost(self._now())
        try:
            self._respawned()
        except RunFault as fault:
            _log.error("%s", fault.message)

    def _bury(self, host: Host, reason: str, *, at_once: bool) -> None:
        status = host.end(self._bounds.grace_s, at_once=at_once)
        if self._host is host:
            self._host = None
        self._last_end = f"{reason}, {_end_text(status)}"
        _log.warning("model process %d of '%s' %s", host.process.pid, self.signature.model, self._last_end)


def _ready(frame: Frame, model: str, settings: SessionSettings) -> Ready:
    """Raises Broken for what cannot be."""
    try:
        ready = msgspec.json.decode(frame.text, type=Ready)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Broken("described no model") from None
    signature = ready.signature
    if ready.placement.provider not in settings.providers:
        raise Broken("runs where it was not asked to")
    if signature.model != model or any([spec.datatype not in DATATYPES for spec in (*signature.inputs, *signature.outputs)]):
        raise Broken("described another model")
    return ready


def _run_fault(frame: Frame) -> RunFault:
    """Raises Broken for a text that is none."""
    try:
        fault = msgspec.json.decode(frame.text, type=Fault)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Broken("failed in no known way") from None
    if fault.code not in FAULTS:
        raise Broken("failed in no known way")
    return RunFault(Code(fault.code), _text(fault.message))


def _text(text: str) -> str:
    """A text of the process on one line, cut."""
    return "".join([c if c.isprintable() else " " for c in text[:_SHOWN_CHARACTERS]])


def _end_text(status: int) -> str:
    if status == OUT_OF_MEMORY:
        return "it had no memory left"
    return f"it died of signal {-status}" if status < 0 else f"it ended with status {status}"
