"""The program that holds one model for a worker: runs that come as frames are answered as frames, one after another.

Limits come first, then ONNX Runtime, then the model. Its only caller is `isolated.py`, by way of whoever starts processes. It ends when
the worker closes the channel, and the kernel ends it, whatever it is doing, when the worker is gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import resource
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING

import msgspec

from gateway.serving.hosting import OUT_OF_MEMORY, Fault, Ready, Task
from registry.confinement import forsake_network, limit
from registry.niceness import Waits

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.serving.channel import Channel
    from gateway.serving.frames import Frame
    from gateway.serving.model import Model, RunOptions

_F_SETSIG = 10  # linux/fcntl.h; Python does not name it
_DESCRIPTORS = 64  # beside the inherited ones
_OOM_SCORE = 500  # whoever has to end something for lack of memory ends this before the gateway
_STOP_BYTES = 8
_FULL_SHARE = 0.9  # of the memory: from there the process gives itself back after the run
_SHORT_SHARE = 0.75  # from there a run that failed may have failed for want of memory


def confine(task: Task) -> None:
    """Give up what a model does not need, and end with the worker, whichever of its threads lives on."""
    fds = [task.frames_fd, task.stops_fd, task.life_fd, task.model_fd, *task.external_fds.values()]
    limit({
        resource.RLIMIT_DATA: task.memory_bytes,
        resource.RLIMIT_NOFILE: _DESCRIPTORS + max(fds),
        resource.RLIMIT_FSIZE: 2 * task.frame_bytes,  # memory files for large tensors count too
    })  # fmt: skip
    fcntl.fcntl(task.life_fd, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(task.life_fd, _F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(task.life_fd, fcntl.F_SETFL, os.O_RDONLY | os.O_ASYNC | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        if not os.read(task.life_fd, 1):  # it ended before the call above
            sys.exit(1)
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(_OOM_SCORE))
    forsake_network()


class Host:
    """The model, and the run that is under way."""

    def __init__(self, task: Task, channel: Channel, now: Callable[[], float]) -> None:
        self._task = task
        self._channel = channel
        self._stopped = 0  # runs up to this one are not waited for
        self._running: tuple[int, RunOptions] | None = None
        self._statm = os.open("/proc/self/statm", os.O_RDONLY)
        self._waits = Waits()
        self._now = now

    def serve(self) -> None:
        """Until the worker closes the channel, or the memory is used up."""
        try:
            self._serve()
        except MemoryError:
            os._exit(OUT_OF_MEMORY)

    def _serve(self) -> None:
        from gateway.serving.channel import Closed
        from gateway.serving.frames import Frame, Kind
        from gateway.serving.model import ModelFault

        try:
            model = self.load()
        except ModelFault as fault:
            self._channel.send(Frame(Kind.UNLOADABLE, text=str(fault).encode()))
            return
        self._channel.send(Frame(Kind.READY, text=msgspec.json.encode(Ready(signature=model.signature, placement=model.placement))))
        threading.Thread(target=self._watch, daemon=True).start()
        last = False
        while not last:
            try:
                request = self._channel.receive()
            except Closed:
                return
            last = self.answer(model, request)
        os._exit(0)  # at once: the worker waits for the end

    def load(self) -> Model:
        """The session, from inherited descriptors. Raises ModelFault."""
        from gateway.serving.model import Model, bound_memory

        task = self._task
        bound_memory(task.arena_bytes)
        external = {name: mmap.mmap(fd, 0, prot=mmap.PROT_READ) for name, fd in task.external_fds.items()}
        path = f"/proc/self/fd/{task.model_fd}"
        return Model(task.model, path, task.settings, external=external, schema=task.schema, ports=task.ports)

    def answer(self, model: Model, request: Frame) -> bool:
        """Run and answer. Whether that was the last one."""
        from gateway.serving.frames import TooLargeFault

        try:
            made = self.run(model, request)
            made.last = self._memory_share() > _FULL_SHARE
            self._channel.send(made)
        except TooLargeFault as fault:
            self._channel.send(_fault(request.number, 0, f"model '{self._task.model}' made outputs too large for its process: {fault}"))
            return False
        return made.last

    def run(self, model: Model, request: Frame) -> Frame:
        """The answer to a request."""
        from gateway.serving.frames import Frame, Kind
        from gateway.serving.model import RunFault, RunOptions, check_rows

        options = RunOptions()
        self._running = request.number, options
        if self._stopped >= request.number:
            options.terminate = True
        waited_s, began_s = self._waits.seconds(), self._now()
        try:
            outputs = model.run(request.tensors, options)
            took_s = self._now() - began_s - (self._waits.seconds() - waited_s)
            if model.signature.max_batch_size:
                check_rows(model.signature, outputs, len(request.tensors[0]))
        except RunFault as fault:
            if self._memory_share() > _SHORT_SHARE:
                raise MemoryError from None
            return _fault(request.number, fault.code, fault.message)
        finally:
            self._running = None
        datatypes = [spec.datatype for spec in model.signature.outputs]
        return Frame(Kind.OUTPUTS, request.number, seconds=max(took_s, 0.0), datatypes=datatypes, tensors=outputs)

    def _memory_share(self) -> float:
        """Of the limit, in use."""
        return int(os.pread(self._statm, 128, 0).split()[5]) * mmap.PAGESIZE / self._task.memory_bytes

    def _watch(self) -> None:
        """Stop the runs that are not waited for any more."""
        with socket.socket(fileno=self._task.stops_fd) as stops:
            while told := stops.recv(_STOP_BYTES):
                self._stopped = int.from_bytes(told, "little")
                running = self._running
                if running is not None and running[0] <= self._stopped:
                    running[1].terminate = True


def _fault(number: int, code: int, message: str) -> Frame:
    from gateway.errors import Code
    from gateway.serving.frames import Frame, Kind

    return Frame(Kind.FAULT, number, text=msgspec.json.encode(Fault(code=code or Code.INTERNAL, message=message)))


def main(argument: str, host: type[Host] = Host) -> None:
    """Hold the model of a task, which is JSON."""
    task = msgspec.json.decode(argument, type=Task)
    confine(task)
    from gateway.clock import SystemClock
    from gateway.serving.channel import Channel

    sock = socket.socket(fileno=task.frames_fd)
    channel = Channel(sock, max_bytes=task.frame_bytes, now=SystemClock.now, copy=False)
    host(task, channel, SystemClock.now).serve()


if __name__ == "__main__":
    main(sys.argv[1])
