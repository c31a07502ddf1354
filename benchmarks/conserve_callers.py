"""Callers who keep a ledger: which requests were answered, when, by which arm, and under which id the answer says that they are logged.

Each connection sends bursts of requests over HTTP/1.1 and reads the answers in order; one that ends in the middle leaves its requests open.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from contextlib import suppress

import numpy as np

from benchmarks.processes import HOST

ARMS = ("stable", "canary")
USERS = 4_000
BURST, CONNECTIONS = 64, 4
FEATURES = 4
_HEAD = re.compile(rb"HTTP/1\.1 (\d{3})[^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n")
_LENGTH = re.compile(rb"content-length: (\d+)")
_NAME = re.compile(rb"tidegate-request-id: ([0-9a-f-]{36})")
_ARM = re.compile(rb"tidegate-arm: (\w+)")
_PATIENCE_S = 15.0


class Ledger:
    """Of `total` requests, each with a number. Request n is to model n % models, from user n % USERS."""

    def __init__(self, total: int, models: tuple[str, ...]) -> None:
        self.total, self.models = total, models
        self.answered_s = np.full(total, np.nan)  # NaN: nobody knows what became of it
        self.arms = np.full(total, -1, np.int8)
        self.names = np.zeros((total, 16), np.uint8)
        self.statuses: dict[int, int] = {}  # of answers that are not OK
        self.next = 0
        self._lock = threading.Lock()

    def take(self) -> range:
        """The numbers of the next burst; none at the end."""
        with self._lock:
            first, self.next = self.next, min(self.next + BURST, self.total)
            return range(first, self.next)

    def answer(self, number: int, status: int, head: bytes) -> None:
        """It was answered now."""
        if status != 200:
            with self._lock:
                self.statuses[status] = self.statuses.get(status, 0) + 1
            return
        arm, name = _ARM.search(head), _NAME.search(head)
        self.arms[number] = ARMS.index(arm[1].decode()) if arm else 0
        if name:
            self.names[number] = np.frombuffer(bytes.fromhex(name[1].replace(b"-", b"").decode()), np.uint8)
        self.answered_s[number] = time.monotonic()


class Caller(threading.Thread):
    """One connection after the other, until the ledger is full."""

    def __init__(self, ledger: Ledger, port: int) -> None:
        super().__init__(daemon=True)
        self._ledger, self._port = ledger, port

    def run(self) -> None:
        """See `threading.Thread`."""
        while self._ledger.next < self._ledger.total:
            with suppress(OSError), socket.create_connection((HOST, self._port), timeout=_PATIENCE_S) as connection:
                while numbers := self._ledger.take():
                    connection.sendall(b"".join([request(self._ledger, number) for number in numbers]))
                    self._read(connection, numbers)

    def _read(self, connection: socket.socket, numbers: range) -> None:
        content, at = b"", 0
        for number in numbers:
            while (head := _HEAD.match(content, at)) is None or len(content) < (end := head.end() + _length(head[2])):
                more = connection.recv(1 << 18)
                if not more:
                    raise ConnectionResetError
                content, at = content[at:] + more, 0
            self._ledger.answer(number, int(head[1]), head[2])
            at = end


def _length(head: bytes) -> int:
    found = _LENGTH.search(head)
    return int(found[1]) if found else 0


def request(ledger: Ledger, number: int) -> bytes:
    """One row that holds the request's own number, under an id that is the number too."""
    body = b'{"id":"%d","inputs":[{"name":"input","shape":[1,%d],"datatype":"FP32","data":[%d,1,2,3]}]}' % (number, FEATURES, number)
    model = ledger.models[number % len(ledger.models)].encode()
    head = b"POST /v2/models/%b/infer HTTP/1.1\r\nhost: x\r\nx-user: %d\r\ncontent-length: %d\r\n\r\n"
    return head % (model, number % USERS, len(body)) + body
