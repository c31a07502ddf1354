"""A peer that opens its HTTP/2 window late: what it does not take waits, and nothing else does. Uses the h2 package as the client."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable

import h2.config
import h2.connection
import h2.events
from outcome import equal
from servers import Gateway

PAUSE_S = 3.0  # longer than a server's sweep for connections that have waited too long may come round, far below any time limit
HEAD = [(":method", "POST"), (":scheme", "http"), (":path", "/v2/models/ramp/infer"), ("content-type", "application/json")]
BODY = json.dumps({"inputs": [{"name": "START", "datatype": "FP32", "shape": [1, 1], "data": [5]}]}).encode()
LIVE = [(":method", "GET"), (":scheme", "http"), (":path", "/v2/health/live")]


class Reader:
    """An HTTP/2 client that acknowledges no data by itself."""

    def __init__(self, address: str) -> None:
        host, _, port = address.partition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=10)
        self.connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.connection.initiate_connection()
        self.address = address
        self.received: dict[int, bytes] = {}
        self.ended: set[int] = set()

    def request(self, head: list[tuple[str, str]], body: bytes = b"") -> int:
        """Send one request whole. Returns its stream."""
        stream = self.connection.get_next_available_stream_id()
        self.connection.send_headers(stream, [(":authority", self.address), *head], not body)
        if body:
            self.connection.send_data(stream, body, end_stream=True)
        self.received[stream] = b""
        self.flush()
        return stream

    def flush(self) -> None:
        """Write what the connection wants written."""
        self.socket.sendall(self.connection.data_to_send())

    def read_until(self, done: Callable[[], bool]) -> None:
        """Read events until `done()`; any early end of the connection or a stream is an error."""
        while not done():
            data = self.socket.recv(65_536)
            equal(True, data != b"", "the connection was closed")
            for event in self.connection.receive_data(data):
                match event:
                    case h2.events.DataReceived():
                        self.received[event.stream_id] += event.data
                    case h2.events.StreamEnded():
                        self.ended.add(event.stream_id)
                    case h2.events.ConnectionTerminated() | h2.events.StreamReset():
                        raise AssertionError(f"{event}")
            self.flush()

    def total(self) -> int:
        """Bytes of all bodies."""
        return sum(map(len, self.received.values()))

    def open(self, stream: int, size: int) -> None:
        """Let the peer send so many bytes more."""
        self.connection.increment_flow_control_window(size)
        self.connection.increment_flow_control_window(size, stream)
        self.flush()


def late_window(gateway: Gateway) -> None:
    """64 KiB are taken, then nothing for a while; another connection is served meanwhile; then the rest comes, whole."""
    reader = Reader(gateway.http)
    large = reader.request(HEAD, BODY)
    reader.read_until(lambda: len(reader.received[large]) == 65_535)
    time.sleep(PAUSE_S)
    other = Reader(gateway.http)
    live = other.request(LIVE)
    other.read_until(lambda: live in other.ended)
    reader.open(large, 1 << 24)
    reader.read_until(lambda: large in reader.ended)
    equal(True, json.loads(reader.received[large])["outputs"][0]["data"] == [5.0 + i for i in range(65_536)])


def window_by_window(gateway: Gateway) -> None:
    """The window opens by 10,000 bytes at a time, for two answers in turn."""
    reader = Reader(gateway.http)
    streams = [reader.request(HEAD, BODY) for _ in range(2)]
    reader.read_until(lambda: reader.total() == 65_535)
    while len(reader.ended) < 2:
        for stream in streams:
            if stream not in reader.ended:
                reader.open(stream, 10_000)
        taken = reader.total()
        reader.read_until(lambda taken=taken: len(reader.ended) == 2 or reader.total() > taken)
    for stream in streams:
        equal(True, json.loads(reader.received[stream])["outputs"][0]["data"][-1] == 65_540.0)


CHECKS = [late_window, window_by_window]
