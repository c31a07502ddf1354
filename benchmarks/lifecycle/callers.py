"""Raw callers that live through the end of their connections: what was open there is noted, a new connection takes the place.

Every good answer is kept whole, with when it was asked for and when it came. One group of callers is one compiled loop in a thread of its
own. A request counts as `unaccepted` where a server had said (GOAWAY) that it would not look at it, or never answered anything on a
connection that it had announced to close; as `closed` where the connection ended without a word, as it does when a process dies.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.load import http1, http2
from benchmarks.load import http2_frames as h2
from benchmarks.load.headers import CONSTANT, HeaderStyle, encode_blocks
from benchmarks.load.messages import Prepared, pack
from benchmarks.load.samples import FREE, WHOLE, Tally
from benchmarks.replayer import LOOPED_CONSTANT, NO_FILES, Http2, Load, LoadError, http1_state, http2_state, open_http2
from registry.niceness import give_way

_SO_MAX_PACING_RATE = 47  # of <asm-generic/socket.h>; Python does not name it
_PACED_BUFFER = 128 << 10  # bytes that the kernel takes of it at once: copying more keeps the core of the other callers
NOBODY = -1  # as a descriptor: poll looks at no such socket
ANSWER_BYTES = {"grpc": 192, "http": 448}
Address = tuple[str, int]


@dataclass(slots=True)
class Answers:
    """What one group of callers saw. Arrays go together: request index, bytes [n, width] and sizes, monotonic nanoseconds."""

    protocol: str
    asked: np.ndarray
    payloads: np.ndarray
    sizes: np.ndarray
    started_ns: np.ndarray
    ended_ns: np.ndarray
    ok: int  # good answers; as many as are kept, unless room was too small
    outcomes: Counter[str]  # everything else, by what a client would call it
    failures: list[str]
    seconds: float
    ended: int  # connections that ended and were opened again

    @property
    def failed(self) -> int:
        """Requests without a good answer."""
        return sum(self.outcomes.values())

    @property
    def latency_us(self) -> np.ndarray:
        """From when a request was due until its answer was there."""
        return (self.ended_ns - self.started_ns) / 1e3


@dataclass(slots=True, kw_only=True)
class Size:
    """How many callers, and how fast. `rate` is requests a second of all together; None: as fast as answers come."""

    connections: int
    streams: int = 1
    rate: float | None = None
    room: int = 1 << 18  # answers that are kept
    pace: int | None = None  # bytes a second that a connection sends at most, as a link would; None: whole bodies at once, as loopback does
    gives_way: bool = False  # to other callers on the same core, whose times are measured


class Callers:
    """One group of callers over one protocol. `start` and `finish` once."""

    def __init__(self, protocol: str, address: Address, requests: Sequence[Prepared], size: Size, *, style: HeaderStyle = CONSTANT) -> None:
        """`style`: of gRPC headers."""
        self.protocol = protocol
        self._address = address
        self._size = size
        self._outcomes: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run, name=f"callers-{protocol}")
        self._error: Exception | None = None
        self._ended = 0
        load = Load(
            connections=size.connections, streams=size.streams, samples=size.room, sample_every=1, answer_bytes=ANSWER_BYTES[protocol]
        )
        wires = [request.wire for request in requests]
        self._sockets: list[socket.socket | None] = [_connected(address, size.pace) for _ in range(size.connections)]
        files = np.array([each.fileno() for each in self._sockets if each is not None], np.int64)
        self._loop = _Grpc(address, wires, files, load, style) if protocol == "grpc" else _Http(wires, files, load)

    @property
    def tally(self) -> Tally:
        """What was counted until now."""
        return self._loop.tally

    @property
    def ok(self) -> int:
        """Good answers until now."""
        return int(self.tally.run[0]["ok"])

    @property
    def failed(self) -> int:
        """Requests without a good answer until now."""
        others = self.tally.statuses.copy()  # the loop goes on counting
        others[0 if self.protocol == "grpc" else 200] = 0
        return sum(self._outcomes.values()) + int(others.sum())

    def start(self, seconds: float) -> Callers:
        """Call for so long, or until `stop`."""
        run: Any = self.tally.run[0]
        self._began = time.monotonic_ns()
        run["begin"], run["end"] = self._began, self._began + int(seconds * 1e9)
        run["limit"], run["stall_ns"], run["progress"] = 2**62, int((seconds + 30) * 1e9), self._began
        run["origin"], run["interval_ns"] = self._began, 0 if self._size.rate is None else int(1e9 / self._size.rate)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Begin no more requests."""
        run: Any = self.tally.run[0]
        run["end"] = time.monotonic_ns()

    def finish(self) -> Answers:
        """Wait for the end. Raises `LoadError` where the server broke the protocol."""
        self._thread.join()
        for each in self._sockets:
            if each is not None:
                each.close()
        if self._error is not None:
            raise self._error
        return self._answers((min(time.monotonic_ns(), int(self.tally.run[0]["end"])) - self._began) / 1e9)

    def _run(self) -> None:
        if self._size.gives_way:
            give_way()
        try:
            while (code := self._loop.step()) != http2.DONE:
                c = int(self.tally.run[0]["exit_connection"])
                if code == http2.GOAWAY:
                    self._outcomes.update(self._loop.leave(c))
                elif code == http2.CLOSED:
                    self._outcomes.update(self._loop.lose(c))
                    self._reopen(c)
                else:
                    raise LoadError(f"{self.protocol}: exit {code} of connection {c}")
        except Exception as error:
            self._error = error

    def _reopen(self, c: int) -> None:
        """Another connection in place of one that has ended. Where nobody listens, that caller is done."""
        self._ended += 1
        old = self._sockets[c]
        if old is not None:
            old.close()
        try:
            sock = self._sockets[c] = _connected(self._address, self._size.pace)
        except OSError:
            self._sockets[c] = None
            self._outcomes["refused connection"] += 1
            self._loop.retire(c)
        else:
            self._loop.open(c, sock.fileno())

    def _answers(self, seconds: float) -> Answers:
        tally = self.tally
        kept = np.flatnonzero(tally.states == WHOLE)
        statuses = {int(status): int(tally.statuses[status]) for status in np.flatnonzero(tally.statuses)}
        outcomes = self._outcomes + Counter({name_of(self.protocol, status): count for status, count in statuses.items()})
        del outcomes["OK"]
        return Answers(
            self.protocol, tally.messages[kept], tally.payloads[kept], tally.sizes[kept], tally.started_ns[kept], tally.ended_ns[kept],
            ok=int(tally.run[0]["ok"]), outcomes=outcomes, failures=self._loop.failures, seconds=seconds,
            ended=self._ended,
        )  # fmt: skip


def name_of(protocol: str, status: int) -> str:
    """A gRPC or HTTP status as a word."""
    if protocol == "http":
        return "OK" if status == 200 else str(status)
    names = {0: "OK", 4: "DEADLINE_EXCEEDED", 8: "RESOURCE_EXHAUSTED", 13: "INTERNAL", 14: "UNAVAILABLE"}
    return names.get(status, f"status {status}")


def _connected(address: Address, pace: int | None) -> socket.socket:
    sock = socket.create_connection(address, timeout=5)
    if pace is not None:
        sock.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, pace)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _PACED_BUFFER)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setblocking(False)
    return sock


class _Grpc:
    """The HTTP/2 loop and what to do with its connections."""

    def __init__(self, address: Address, wires: Sequence[bytes], files: np.ndarray, load: Load, style: HeaderStyle) -> None:
        blocks = encode_blocks("{}:{}".format(*address), style=style, count=LOOPED_CONSTANT, seed=0)
        (body, body_at), (block, block_at) = pack(wires), pack(blocks)
        first = np.arange(load.connections) * (len(wires) // load.connections)
        self._plan = h2.Plan(body, body_at, block, block_at, first, np.zeros(load.connections, np.int64))
        http2.drive(http2_state(NO_FILES, load), self._plan)  # compiles the loop
        self._state = http2_state(files, load)
        self._driver = Http2(self._state, self._plan, load)
        self._last = np.full(load.connections, -1)  # stream ids that a server still answers, where it said so
        self.tally = self._state.tally
        self.failures = self._driver.failures

    def step(self) -> int:
        return self._driver.step()

    def leave(self, c: int) -> Counter[str]:
        """GOAWAY: nothing more begins here, and what the server does not look at is over."""
        connection, box = self._state.connections[c], self._state.inbox[c]
        at = int(connection["in_start"])
        size = int.from_bytes(box[at : at + 3].tobytes(), "big")
        last, code = (int.from_bytes(box[at + h2.FRAME + k : at + h2.FRAME + k + 4].tobytes(), "big") for k in (0, 4))
        connection["in_start"], connection["leaving"], self._last[c] = at + h2.FRAME + size, 1, last
        gone = self._drop(c, above=last)
        found = Counter({"unaccepted": gone})
        if code:
            found[f"GOAWAY {code}"] += 1
        return +found

    def lose(self, c: int) -> Counter[str]:
        """The connection ended. What the server had accepted before it said goodbye is owed."""
        promised = self._last[c] >= 0
        return +Counter({"accepted, not answered" if promised else "closed": self._drop(c, above=0)})

    def open(self, c: int, file: int) -> None:
        self._last[c] = -1
        self._plan.block_first[c] = -int(self._state.connections[c]["cursor"])  # a new table: the block that fills it comes first
        self._driver.forget(c)
        open_http2(self._state, c, file)

    def retire(self, c: int) -> None:
        self.open(c, NOBODY)
        self._state.connections[c]["out_end"] = 0

    def _drop(self, c: int, *, above: int) -> int:
        connection, dropped = self._state.connections[c], 0
        for slot in self._state.slots[c]:
            if slot["stream"] > above:
                if slot["sample"] >= 0:
                    self.tally.states[slot["sample"]] = FREE
                connection["pending"] -= int(slot["sent"] < slot["size"])
                slot["stream"] = 0
                dropped += 1
        connection["open"] -= dropped
        return dropped


class _Http:
    """The HTTP/1.1 loop and what to do with its connections."""

    def __init__(self, wires: Sequence[bytes], files: np.ndarray, load: Load) -> None:
        blob, offsets = pack(wires)
        http1.drive(http1_state(NO_FILES, blob, offsets, len(wires), load))  # compiles the loop
        self._state = http1_state(files, blob, offsets, len(wires), load)
        self.tally = self._state.tally
        self.failures: list[str] = []

    def step(self) -> int:
        return http1.drive(self._state)

    def leave(self, c: int) -> Counter[str]:
        raise AssertionError("HTTP/1.1 has no GOAWAY")

    def lose(self, c: int) -> Counter[str]:
        """The connection ended. A request that the server had read is answered before, so an open one has not been looked at, or the
        process has died: which of the two, only the server's counts can tell. Half an answer is worse than none."""
        connection = self._state.connections[c]
        if not connection["busy"]:
            return Counter()
        if connection["sample"] >= 0:
            self.tally.states[connection["sample"]] = FREE
        return Counter({"cut off" if connection["in_end"] else "closed": 1})

    def open(self, c: int, file: int) -> None:
        connection = self._state.connections[c]
        connection["fd"], connection["busy"], connection["leaving"], connection["in_end"] = file, 0, 0, 0
        self._state.polls[c]["fd"] = file

    def retire(self, c: int) -> None:
        self.open(c, NOBODY)
        self._state.connections[c]["leaving"] = 1
