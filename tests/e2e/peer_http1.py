"""An HTTP/1.1 peer over a socket that sends any bytes at all, and reads answers as strictly as RFC 9112 writes them."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass

TIMEOUT_S = 10.0
INFER = "/v2/models/{}/infer"


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """One answer. `text` is the message of an error body."""

    status: int
    headers: dict[str, str]
    body: bytes
    closes: bool

    @property
    def text(self) -> str:
        return str(json.loads(self.body)["error"])


def request(method: str, target: str | bytes, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
    """A request as an ordinary client writes it; a header named `host` or `content-length` replaces the usual one."""
    usual = {"host": "localhost"} | ({"content-length": str(len(body))} if body or method == "POST" else {})
    if body:
        usual["content-type"] = "application/json"
    lines = [f"{name}: {value}" for name, value in (usual | (headers or {})).items()]
    raw_target = target if isinstance(target, bytes) else target.encode()
    return method.encode() + b" " + raw_target + b" HTTP/1.1\r\n" + "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Http1Peer:
    """One connection."""

    def __init__(self, port: int, *, receive_buffer_bytes: int = 0) -> None:
        self.socket = socket.socket()
        if receive_buffer_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.socket.settimeout(TIMEOUT_S)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        self.over = False  # the server has closed

    def send(self, data: bytes) -> None:
        """Send; a server that has closed meanwhile is found out by reading."""
        try:
            self.socket.sendall(data)
        except OSError:
            return

    def _more(self) -> bool:
        try:
            data = self.socket.recv(1 << 20)
        except ConnectionError:
            data = b""
        self._buffer += data
        self.over = not data
        return bool(data)

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            if not self._more():
                raise EOFError(f"closed inside an answer: {bytes(self._buffer[:80])!r}")
        piece, _, rest = bytes(self._buffer).partition(mark)
        self._buffer[:] = rest
        return piece

    def answer(self, *, is_head: bool = False) -> HttpAnswer:
        """The next answer that is not 1xx. EOFError where the connection ends before it."""
        head = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status, _ = head[0].split(" ", 2)
        assert "HTTP/1.1" == version
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        if status[0] == "1":
            return self.answer(is_head=is_head)
        size = 0 if is_head or status in {"204", "304"} else int(headers["content-length"])
        while len(self._buffer) < size:
            if not self._more():
                raise EOFError("closed inside a body")
        body = bytes(self._buffer[:size])
        del self._buffer[:size]
        return HttpAnswer(int(status), headers, body, headers.get("connection") == "close")

    def ends(self) -> bool:
        """Wait for the end of the connection; False where more answers come instead."""
        while not self.over:
            if self._buffer:
                return False
            self._more()
        return True

    def close(self) -> None:
        self.socket.close()
