"""The worker's side of one process that holds a model: its channels, how a run in it is stopped, how it is ended. Knows no model."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Protocol, Self

import msgspec

from gateway.serving.channel import Channel
from gateway.serving.hosting import Task

_log = logging.getLogger(__name__)


class Process(Protocol):
    """A child process."""

    @property
    def pid(self) -> int:
        """Of the child."""
        ...

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Its exit status, negative for a signal, or None where it runs on."""
        ...

    def stop(self, timeout_s: float) -> int:
        """SIGTERM, after the timeout SIGKILL; the exit status."""
        ...


Starter = Callable[[str, Sequence[int]], Process]  # (argument of the program, descriptors that it inherits); raises OSError


class Host:
    """One process with its channels."""

    def __init__(self, process: Process, channel: Channel, stops: socket.socket, life_fd: int, until: float) -> None:
        self.process = process
        self.channel = channel
        self.until = until  # it has to be ready
        self.ready = False
        self._stops = stops
        self._life_fd = life_fd
        self._lock = threading.Lock()
        self._open = True

    @classmethod
    def started(
        cls, start: Starter, task_of: Callable[[int, int, int], Task], max_bytes: int, *, now: Callable[[], float], until: float
    ) -> Self:
        """A process that begins to load, with the ends of all channels that are ours. Raises OSError."""
        ours, theirs = socket.socketpair()
        stops, their_stops = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        their_life, life = os.pipe()
        try:
            task = task_of(theirs.fileno(), their_stops.fileno(), their_life)
            fds = (task.frames_fd, task.stops_fd, task.life_fd, task.model_fd, *task.external_fds.values())
            process = start(msgspec.json.encode(task).decode(), fds)
        except BaseException:
            ours.close()
            stops.close()
            os.close(life)
            raise
        finally:
            theirs.close()
            their_stops.close()
            os.close(their_life)
        return cls(process, Channel(ours, max_bytes=max_bytes, now=now, copy=True), stops, life, until)

    def stop_run(self, number: int) -> None:
        """Nobody waits for the run any more. From any thread, never waits; the run's time limit covers a word that got lost."""
        with self._lock:
            if self._open:
                try:
                    self._stops.send(number.to_bytes(8, "little"), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
                except OSError:
                    _log.debug("run %d goes on", number)

    def end(self, grace_s: float, *, at_once: bool) -> int:
        """The exit status, once the process is gone and nothing of it is left."""
        status = None if at_once else self.process.wait(grace_s)
        if status is None:
            status = self.process.stop(grace_s)
        self._close()
        return status

    def _close(self) -> None:
        with self._lock:
            if self._open:
                self._open = False
                self._stops.close()
                self.channel.close()
                os.close(self._life_fd)


class RunHandle:
    """One run. Setting `terminate` reaches the process."""

    def __init__(self) -> None:
        self._run: tuple[Host, int] | None = None
        self._terminate = False

    @property
    def terminate(self) -> bool:
        """Whether nobody waits for it."""
        return self._terminate

    @terminate.setter
    def terminate(self, value: bool) -> None:
        self._terminate = value
        run = self._run
        if value and run is not None:
            run[0].stop_run(run[1])

    def begin(self, host: Host, number: int) -> bool:
        """The run is about to be sent; whether it still should. A `terminate` from here on is told to the process, which may be early."""
        self._run = host, number
        return not self._terminate

    def end(self) -> None:
        """The run is over."""
        self._run = None
