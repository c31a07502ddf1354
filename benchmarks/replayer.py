"""Replays requests that were encoded beforehand, keeping a fixed number in flight, and reports what came back.

The loops are compiled (`benchmarks.load`); this module opens sockets, decodes unknown header blocks, and turns a tally into a report.
Every answer is counted by its status; a random sample is kept whole for comparison. A server that stalls, closes or breaks the
protocol raises `LoadError`. Pins nothing: the caller does.

Run by itself it loads a server that is already up: `python -m benchmarks.replayer 127.0.0.1:8001 --connections 4 --streams 16`.
"""

from __future__ import annotations

import argparse
import socket
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from hpack import Decoder

from benchmarks.load import http1, http2
from benchmarks.load import http2_frames as h2
from benchmarks.load.answers import decode_grpc, wrong_answers
from benchmarks.load.headers import CONSTANT, HeaderStyle, encode_blocks, leaves_table_alone
from benchmarks.load.messages import Prepared, grpc_message, pack, request_id
from benchmarks.load.samples import LATENCIES, WHOLE, Tally, tally
from benchmarks.load.syscalls import POLLFD, POLLIN
from benchmarks.models import TABULAR, answers, rows, write_repository

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
BOX_BYTES = 512 << 10
STREAM_WINDOW, CONNECTION_WINDOW = 4 << 20, 16 << 20
DEFAULT_WINDOW = 65_535  # RFC 9113 §6.9.2
NO_FILES = np.zeros(0, np.int64)
MAX_STREAM_ID = 2**31 - 1
EXITS = {
    http2.STALLED: "stalled",
    http2.CLOSED: "closed the connection",
    http2.GOAWAY: "sent GOAWAY",
    http2.PROTOCOL: "sent what this loop does not read",
}
LOOPED_CONSTANT = 1 << 16  # the one block that fills the table comes again after so many; any order of these blocks decodes


class LoadError(Exception):
    """A server that did not see the load through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How much is sent and for how long. With `limit`, exactly so many requests are sent, none of them as warm-up."""

    connections: int
    streams: int = 1
    warmup_s: float = 0.5
    seconds: float = 3.0
    limit: int | None = None
    seed: int = 0
    samples: int = 256
    sample_every: int = 199
    answer_bytes: int = 4096  # the largest answer kept in a sample
    stall_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came back. `ok` counts all good answers; rate and latencies those that ended within the measured seconds."""

    ok: int
    counted: int
    seconds: float
    elapsed_s: float  # with warm-up and the last answers
    answer_bytes: int  # of the counted answers
    mean_us: float
    p50_us: float
    p99_us: float
    max_us: float
    load_cpu: float  # share of its core that the load took: near 1, the load is what was measured
    statuses: dict[int, int]
    failures: list[str] = field(default_factory=list)  # the first texts of failed calls
    samples: list[tuple[int, bytes]] = field(default_factory=list)  # request index, whole answer

    @property
    def rate(self) -> float:
        """Good answers per second."""
        return self.counted / self.seconds


def replay_grpc(address: tuple[str, int], bodies: Sequence[bytes], *, load: Load, style: HeaderStyle = CONSTANT) -> Report:
    """Send length-prefixed messages over HTTP/2 in turn, `load.streams` in flight on each of `load.connections`."""
    blocks = encode_blocks("{}:{}".format(*address), style=style, count=_block_count(bodies, style), seed=load.seed)
    (body, body_at), (block, block_at) = pack(bodies), pack(blocks)
    connections = load.connections
    body_first = np.arange(connections) * (len(bodies) // connections)
    plan = h2.Plan(body, body_at, block, block_at, body_first, np.zeros(connections, np.int64))
    http2.drive(http2_state(NO_FILES, load), plan)  # compiles the loop: a server need not wait so long for a connection's first bytes
    with _Sockets(address, connections) as sockets:
        state = http2_state(sockets.files, load)
        return _drive(Http2(state, plan, load), state.tally, load)


def replay_http(address: tuple[str, int], requests: Sequence[bytes], *, load: Load) -> Report:
    """Send whole HTTP/1.1 requests in turn, one in flight on each of `load.connections`."""
    blob, offsets = pack(requests)
    http1.drive(http1_state(NO_FILES, blob, offsets, len(requests), load))  # compiles the loop, as above
    with _Sockets(address, load.connections) as sockets:
        state = http1_state(sockets.files, blob, offsets, len(requests), load)
        return _drive(Http1(state), state.tally, load)


def _block_count(bodies: Sequence[bytes], style: HeaderStyle) -> int:
    return max(1024, min(len(bodies), 4096)) if style.varying else LOOPED_CONSTANT


class _Sockets:
    """Connected TCP sockets, closed at the end."""

    def __init__(self, address: tuple[str, int], count: int) -> None:
        self._sockets = [socket.create_connection(address, timeout=5) for _ in range(count)]
        for each in self._sockets:
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            each.setblocking(False)
        self.files = np.array([each.fileno() for each in self._sockets], np.int64)

    def __enter__(self) -> _Sockets:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._sockets:
            each.close()


def _polls(files: np.ndarray) -> np.ndarray:
    polls = np.zeros(files.size, POLLFD)
    polls["fd"], polls["events"] = files, POLLIN
    return polls


def _tally(load: Load) -> Tally:
    return tally(slots=load.samples, answer_bytes=load.answer_bytes, sample_every=load.sample_every, seed=load.seed)


def http1_state(files: np.ndarray, blob: np.ndarray, offsets: np.ndarray, requests: int, load: Load) -> http1.Http1State:
    connections = np.zeros(files.size, http1.CONNECTION)
    connections["fd"] = files
    connections["first"] = np.arange(files.size) * (requests // load.connections)
    inbox = np.zeros((files.size, BOX_BYTES), np.uint8)
    return http1.Http1State(connections, blob, offsets, inbox, _polls(files), np.zeros(2, np.int64), _tally(load))


def http2_state(files: np.ndarray, load: Load) -> h2.State:
    count = files.size
    known = np.zeros((count, h2.KNOWN, h2.KNOWN_BYTES), np.uint8)
    state = h2.State(
        np.zeros(count, h2.CONNECTION), np.zeros((count, load.streams), h2.SLOT), np.zeros((count, BOX_BYTES), np.uint8),
        np.zeros((count, BOX_BYTES), np.uint8), _polls(files), np.zeros(2, np.int64), known, np.zeros((count, h2.KNOWN), np.int64),
        np.zeros((count, h2.KNOWN), np.int64), CONNECTION_WINDOW // 2, _tally(load),
    )  # fmt: skip
    for c, file in enumerate(files):
        open_http2(state, c, int(file))
    return state


def open_http2(state: h2.State, c: int, file: int) -> None:
    """Let connection `c` begin on the socket `file`, with nothing sent yet. Which request comes next stays as it is."""
    connection, cursor, opening = state.connections[c], int(state.connections[c]["cursor"]), _opening()
    for name in h2.CONNECTION.names:
        connection[name] = 0
    connection["fd"], connection["cursor"], connection["next_stream"], connection["data_slot"] = file, cursor, 1, -1
    connection["window"] = connection["stream_window"] = DEFAULT_WINDOW
    connection["max_frame"], connection["out_end"] = 16_384, len(opening)
    state.outbox[c, : len(opening)] = np.frombuffer(opening, np.uint8)
    state.slots[c] = np.zeros_like(state.slots[c])
    state.polls[c]["fd"] = file


def _opening() -> bytes:
    """The preface, our SETTINGS (no push, stream window) and the connection's window."""
    settings = (2).to_bytes(2, "big") + bytes(4) + h2.SETTINGS_INITIAL_WINDOW.to_bytes(2, "big") + STREAM_WINDOW.to_bytes(4, "big")
    window = (CONNECTION_WINDOW - DEFAULT_WINDOW).to_bytes(4, "big")
    return PREFACE + _frame(h2.SETTINGS, settings) + _frame(h2.WINDOW_UPDATE, window)


def _frame(kind: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, 0, 0, 0, 0, 0)) + payload


class Http1:
    """Drives the HTTP/1.1 loop, which never needs its caller."""

    failures: list[str] = []

    def __init__(self, state: http1.Http1State) -> None:
        self._state = state

    def step(self) -> int:
        return http1.drive(self._state)


class Http2:
    """Drives the HTTP/2 loop and tells it what header blocks mean."""

    def __init__(self, state: h2.State, plan: h2.Plan, load: Load) -> None:
        self._state, self._plan = state, plan
        self._decoders = [Decoder() for _ in range(load.connections)]
        self.failures: list[str] = []

    def step(self) -> int:
        while (code := http2.drive(self._state, self._plan)) == http2.BLOCK:
            self.decode(int(self._state.tally.run[0]["exit_connection"]))
        return code

    def forget(self, c: int) -> None:
        """Connection `c` begins anew."""
        self._decoders[c] = Decoder()

    def decode(self, c: int) -> None:
        """Decode the frame at the front of connection `c`'s inbox, remember its meaning if bytes tell it, and act on it."""
        state, connection = self._state, self._state.connections[c]
        start = int(connection["in_start"])
        frame = state.inbox[c, start : start + h2.FRAME + 16_384].tobytes()
        size, ends, stream = int.from_bytes(frame[:3], "big"), frame[4] & h2.END_STREAM, int.from_bytes(frame[5:9], "big")
        block = frame[h2.FRAME : h2.FRAME + size]
        verdict = self._verdict(c, block)
        self._remember(c, block, verdict)
        connection["in_start"] = start + h2.FRAME + size
        if http2.settle(state, c, stream, verdict, ends, time.monotonic_ns()) != http2.DONE:
            raise LoadError("trailers that do not end their stream")

    def _verdict(self, c: int, block: bytes) -> int:
        headers = dict(self._decoders[c].decode(block))
        status = headers.get("grpc-status")
        if status is None:
            if headers.get(":status") != "200" or not headers.get("content-type", "").startswith("application/grpc"):
                raise LoadError(f"a response head that is not gRPC's: {headers}")
            return http2.VERDICT_HEAD
        if status != "0" and len(self.failures) < 10:
            self.failures.append(f"grpc-status {status}: {headers.get('grpc-message', '')}")
        return http2.VERDICT_END + int(status)

    def _remember(self, c: int, block: bytes, verdict: int) -> None:
        state, connection = self._state, self._state.connections[c]
        if not leaves_table_alone(block):
            connection["known"] = 0
        elif len(block) <= h2.KNOWN_BYTES and connection["known"] < h2.KNOWN:
            k = int(connection["known"])
            state.known[c, k, : len(block)] = np.frombuffer(block, np.uint8)
            state.known_size[c, k], state.known_verdict[c, k] = len(block), verdict
            connection["known"] = k + 1


def _drive(loop: Http1 | Http2, counts: Tally, load: Load) -> Report:
    run: Any = counts.run[0]
    start = time.monotonic_ns()
    run["begin"] = start + (0 if load.limit else int(load.warmup_s * 1e9))
    run["end"] = 2**62 if load.limit else run["begin"] + int(load.seconds * 1e9)
    run["limit"], run["stall_ns"], run["progress"] = load.limit or 2**62, int(load.stall_s * 1e9), start
    cpu = time.thread_time_ns()
    code = loop.step()
    cpu, elapsed = time.thread_time_ns() - cpu, time.monotonic_ns() - start
    if code != http2.DONE:
        raise LoadError(f"the server {EXITS[code]} after {run['ok']} good answers; statuses {_statuses(counts)}; {loop.failures}")
    seconds = (elapsed / 1e9) if load.limit else load.seconds
    return _report(counts, seconds=seconds, elapsed_s=elapsed / 1e9, load_cpu=cpu / elapsed, failures=loop.failures)


def _statuses(counts: Tally) -> dict[int, int]:
    return {int(status): int(counts.statuses[status]) for status in np.flatnonzero(counts.statuses)}


def _report(counts: Tally, *, seconds: float, elapsed_s: float, load_cpu: float, failures: list[str]) -> Report:
    run: Any = counts.run[0]
    latencies = counts.latency_ns[: min(int(run["latencies"]), LATENCIES)] / 1e3
    p50, p99 = np.percentile(latencies, (50, 99)) if latencies.size else (0.0, 0.0)
    whole = np.flatnonzero(counts.states == WHOLE)
    samples = [(int(counts.messages[i]), counts.payloads[i, : counts.sizes[i]].tobytes()) for i in whole]
    return Report(
        ok=int(run["ok"]), counted=int(run["counted"]), seconds=seconds, elapsed_s=elapsed_s, answer_bytes=int(run["counted_bytes"]),
        mean_us=float(run["latency_sum"]) / max(1, int(run["latencies"])) / 1e3, p50_us=float(p50), p99_us=float(p99),
        max_us=float(latencies.max(initial=0.0)),
        load_cpu=load_cpu, statuses=_statuses(counts), failures=failures, samples=samples,
    )  # fmt: skip


def main() -> None:
    """Load a running server with one-row requests to the model `tabular` of `benchmarks.models`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("address")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--headers", choices=("constant", "varying"), default="constant")
    parser.add_argument("--huffman", action="store_true")
    parser.add_argument("--indexed", action="store_true")
    options = parser.parse_args()
    host, port = options.address.rsplit(":", 1)
    inputs = rows(TABULAR, 4096, options.seed)
    requests: list[Prepared] = [grpc_message(TABULAR, request_id(i), row) for i, row in enumerate(inputs)]
    load = Load(connections=options.connections, streams=options.streams, seconds=options.seconds, seed=options.seed)
    style = HeaderStyle(varying=options.headers == "varying", huffman=options.huffman, indexed=options.indexed)
    report = replay_grpc((host, int(port)), [request.wire for request in requests], load=load, style=style)
    with tempfile.TemporaryDirectory() as folder:
        expected = answers(write_repository(Path(folder), names=["tabular"]), TABULAR, inputs)
    asked = [requests[index] for index, _ in report.samples]
    truth = {request.request_id: answer for request, answer in zip(requests, expected, strict=True)}
    wrong = wrong_answers([payload for _, payload in report.samples], asked, decode=decode_grpc, expected=lambda p: truth[p.request_id])
    print(f"{report.rate:,.0f}/s, mean {report.mean_us:.1f} µs, p50 {report.p50_us:.1f} µs, p99 {report.p99_us:.1f} µs")
    print(f"statuses {report.statuses}, {len(report.samples)} answers compared, {len(wrong)} wrong, load {report.load_cpu:.0%} of a core")
    for text in (report.failures + wrong)[:10]:
        print(text)


if __name__ == "__main__":
    main()
