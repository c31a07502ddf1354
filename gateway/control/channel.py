"""Messages between the supervisor and one worker: JSON of typed structs, each with its length in front, over one socketpair.

Both ends belong to this program and this release, so what does not parse is a fault and ends the channel. The end of the channel is the
death of the other side. Nothing that is time-critical waits for a message.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

MAX_BYTES = 256 << 20  # of one message; 10,000 versions with their settings are some MiB
_LENGTH = 4

M = TypeVar("M")


class Channel(asyncio.Protocol, Generic[M]):
    """One end. `received(message)` and `ended()` are called on the loop; `ended` once."""

    def __init__(self, kind: Any, received: Callable[[M], None], ended: Callable[[], None]) -> None:
        """`kind` is the type, a tagged union, of what comes in."""
        self._decoder = msgspec.json.Decoder(kind)
        self._encoder = msgspec.json.Encoder()
        self._received = received
        self._ended = ended
        self._buffer = bytearray()
        self._transport: asyncio.WriteTransport | None = None

    async def open(self, sock: socket.socket) -> None:
        """Speak over a connected socket, which belongs to the channel from now on. Messages may come before this returns."""
        sock.setblocking(False)
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=sock)

    def send(self, message: msgspec.Struct) -> None:
        """Say something. What is said to a channel that has ended is lost."""
        if self._transport is not None:
            content = self._encoder.encode(message)
            self._transport.write(len(content).to_bytes(_LENGTH, "big") + content)

    def close(self) -> None:
        """End it when everything said has left."""
        if self._transport is not None:
            self._transport.close()

    # --- asyncio ---------------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The channel is open."""
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Bytes in, whole messages on."""
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _LENGTH:
            length = int.from_bytes(buffer[:_LENGTH], "big")
            if length > MAX_BYTES:
                raise ValueError(f"a message of {length} bytes")
            if len(buffer) < _LENGTH + length:
                return
            content = bytes(buffer[_LENGTH : _LENGTH + length])
            del buffer[: _LENGTH + length]
            self._received(self._decoder.decode(content))

    def connection_lost(self, exc: Exception | None) -> None:
        """The other side is gone."""
        self._transport = None
        self._ended()
