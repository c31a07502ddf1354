"""One connection under TLS: the protocol of a socket's transport, and the transport of the protocol above it.

asyncio's own layer reads until OpenSSL raises and takes a buffer of 256 KiB for each attempt. Here the bytes of one read are decrypted as
long as there are any, in pieces of their own size, and are handed on together; what the protocol above writes at once leaves at once.
Refuses to renegotiate (see `tls`). Half-closes go through in both directions, as TLS 1.3 has them (RFC 8446 §6.1).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Any

_RECORD = 16_384  # RFC 8446 §5.1: the most that one record holds
_SMALL = 1_024  # at least so much is asked for at once: what completes a record may be a byte


class Secured(asyncio.Protocol):
    """`opened` is done when the handshake is; an exception is in it where that failed."""

    def __init__(self, context: ssl.SSLContext, above: asyncio.Protocol, loop: asyncio.AbstractEventLoop) -> None:
        self.opened: asyncio.Future[None] = loop.create_future()
        self._above = above
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._transport: Any = None
        self._receive = self._shake  # who takes what was read
        self._deliver = above.data_received
        self._closing = self._ended = False

    # --- the socket's protocol -------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The caller speaks first."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Bytes in."""
        self._receive(data)

    def eof_received(self) -> bool:
        """The caller ends without saying so in TLS, as many do: what came before is whole requests, or is not."""
        if not self.opened.done():
            return False
        return self._end()

    def pause_writing(self) -> None:
        """As the transport says."""
        if self._is_open():
            self._above.pause_writing()

    def resume_writing(self) -> None:
        """As the transport says."""
        if self._is_open():
            self._above.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self._closing = True
        if not self.opened.done():
            self.opened.set_exception(exc or ConnectionResetError("gone in the handshake"))
        elif self._is_open():
            self._above.connection_lost(exc)

    # --- the handshake and what comes after it ---------------------------------------------------------------------------------

    def _is_open(self) -> bool:
        return self.opened.done() and not self.opened.cancelled() and self.opened.exception() is None

    def _shake(self, data: bytes) -> None:
        self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._send()
            return
        except (ssl.SSLError, OSError) as error:
            self._send()  # the alert that says why
            self._closing = True
            if not self.opened.done():
                self.opened.set_exception(error)
            self._transport.close()
            return
        self._send()
        if self.opened.done():  # nobody waits for it any more
            self.abort()
            return
        self.opened.set_result(None)
        self._receive = self.data_received = self._read  # type: ignore[method-assign]
        self._transport.set_protocol(self)  # transports keep the bound method
        self._above.connection_made(self)  # type: ignore[arg-type]
        if self._incoming.pending and not self._closing:
            self._read(b"")

    def _read(self, data: bytes) -> None:
        tls, incoming, pieces = self._tls, self._incoming, []
        incoming.write(data)
        size = min(max(len(data), _SMALL), _RECORD)
        try:
            while True:
                piece = tls.read(size)
                if not piece:
                    break
                pieces.append(piece)
                if len(piece) < size and not incoming.pending:  # its record is used up, and there is no other
                    break
        except ssl.SSLWantReadError:
            piece = b" "  # a record is not whole yet
        except ssl.SSLError:
            self.abort()
            return
        if self._outgoing.pending:  # a new key was asked for
            self._send()
        if pieces and not self._closing:
            self._deliver(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if not piece:
            self._end()

    def _end(self) -> bool:
        """The caller sends no more. Whether it still wants answers."""
        if self._ended or self._closing:
            return not self._closing
        self._ended = True
        keep = bool(self._above.eof_received())
        if not keep:
            self.close()
        return keep

    def _send(self) -> None:
        data = self._outgoing.read()
        if data and self._transport is not None:
            self._transport.write(data)

    # --- the transport of the protocol above -----------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Encrypt and send."""
        if self._closing:
            return
        try:
            if len(data) <= _RECORD:
                self._tls.write(data)
            else:
                self._write_large(memoryview(data))
        except ssl.SSLError:
            self.abort()
            return
        self._transport.write(self._outgoing.read())

    def _write_large(self, data: memoryview) -> None:
        while data:
            data = data[self._tls.write(data) :]

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Who takes what was decrypted."""
        assert isinstance(protocol, asyncio.Protocol)
        self._above, self._deliver = protocol, protocol.data_received

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`ssl_object`, and what the socket's transport knows."""
        return self._tls if name == "ssl_object" else self._transport.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        """Encrypted bytes that the socket has not taken."""
        return int(self._transport.get_write_buffer_size())

    def pause_reading(self) -> None:
        """As the transport does."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """As the transport does."""
        self._transport.resume_reading()

    def close(self) -> None:
        """Say so in TLS, and close when everything written has left; the caller's own word is not waited for."""
        if self._closing:
            return
        self._closing = True
        with contextlib.suppress(ssl.SSLError, OSError):  # it wants to wait for that word
            self._tls.unwrap()
        self._send()
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()
