"""A proxy before an S3 server that loses answers: the request arrives and is done, its sender never learns. Knows nothing of S3."""

from __future__ import annotations

import selectors
import socket
import threading
from types import TracebackType
from typing import Self

CHUNK = 1 << 16


class Proxy:
    """Listens on `port` of loopback, one thread a connection."""

    def __init__(self, upstream: int) -> None:
        self.lose_next = 0  # so many answers to requests that write are thrown away, and the connection is closed
        self.lost = 0
        self.down = False  # connections are refused
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._upstream)) as server, selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            writing = False
            while not self.down:
                for key, _ in selector.select(timeout=0.2):
                    source, target = key.fileobj, key.data
                    assert isinstance(source, socket.socket)
                    content = source.recv(CHUNK)
                    if not content:
                        return
                    if source is client and content[:4] in {b"PUT ", b"POST", b"GET ", b"HEAD", b"DELE"}:
                        writing = content[:4] == b"PUT "
                    if source is server and writing and not content.startswith(b"HTTP/1.1 100") and self._loses():
                        return
                    target.sendall(content)

    def _loses(self) -> bool:
        with self._lock:
            if not self.lose_next:
                return False
            self.lose_next -= 1
            self.lost += 1
            return True
