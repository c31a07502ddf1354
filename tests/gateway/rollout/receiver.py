"""A receiver of webhooks in a thread: answers as it is told to, and keeps what it got."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self


@dataclass
class Received:
    """One request."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """Answers connection after connection with the next of `answers`, the last of them for ever; None: it hangs up without a word."""

    answers: list[bytes | None] = field(default_factory=lambda: [b"HTTP/1.1 204 No Content\r\n\r\n"])
    received: list[Received] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/hook?a=b"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as last:
            self._ended = True
            last.shutdown(socket.SHUT_WR)
        self._thread.join()
        self._listening.close()

    _ended = False

    def _serve(self) -> None:
        while not self._ended:
            connection, _ = self._listening.accept()
            with connection:
                request = self._read(connection)
                if request is not None:
                    self.received.append(request)
                    answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                    if answer is not None:
                        connection.sendall(answer)

    def _read(self, connection: socket.socket) -> Received | None:
        with connection.makefile("rb") as stream:
            line = stream.readline().decode().rstrip("\r\n")
            if not line:
                return None
            headers = {}
            while field_ := stream.readline().decode().rstrip("\r\n"):
                name, _, value = field_.partition(": ")
                headers[name] = value
            return Received(line, headers, stream.read(int(headers["content-length"])))
