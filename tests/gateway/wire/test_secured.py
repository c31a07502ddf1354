"""TLS between a socket's transport and a protocol, in memory: any chunking, any size, ends of every kind."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import Tls
from gateway.wire.secured import Secured
from gateway.wire.tls import TlsContext
from tests.gateway.wire.test_tls import NAME, caller, write


class Above(asyncio.Protocol):
    """Notes what it is told; `keeps` is what it answers to a half-close."""

    def __init__(self, *, keeps: bool = False) -> None:
        self.keeps = keeps
        self.data: list[bytes] = []
        self.told: list[str] = []
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        self.data.append(data)

    def eof_received(self) -> bool:
        self.told.append("eof")
        return self.keeps

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost")


class Socket:
    """The transport of a socket."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.told: list[str] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 5) if name == "peername" else default

    def get_write_buffer_size(self) -> int:
        return 7

    def set_protocol(self, protocol: asyncio.Protocol) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return lambda: self.told.append(name)


class Pair:
    """Both ends of a connection; `chunk` is how many bytes the server reads at once."""

    def __init__(
        self, server: ssl.SSLContext, client: ssl.SSLContext, loop: asyncio.AbstractEventLoop, *, chunk: int = 1 << 20, keeps: bool = False
    ) -> None:
        self.above, self.socket, self.chunk = Above(keeps=keeps), Socket(), chunk
        self.secured = Secured(server, self.above, loop)
        self.secured.connection_made(self.socket)  # type: ignore[arg-type]
        self.back, self.out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(self.back, self.out, server_hostname=NAME)

    def shaken(self) -> Pair:
        for _ in range(3):
            with contextlib.suppress(ssl.SSLWantReadError):
                self.client.do_handshake()
            self.pump()
        return self

    def pump(self) -> None:
        """What each end has said to the other."""
        data = self.out.read()
        for at in range(0, len(data), self.chunk):
            self.secured.data_received(data[at : at + self.chunk])
        self.back.write(b"".join(self.socket.writes))
        self.socket.writes.clear()

    def say(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self.client.write(view) :]
        self.pump()

    def heard(self) -> bytes:
        """All that the client can read; b"" where it was told that there is no more."""
        self.pump()
        found = b""
        try:
            while piece := self.client.read(1 << 20):
                found += piece
        except ssl.SSLWantReadError:
            pass
        return found


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ssl.SSLContext, ssl.SSLContext, asyncio.AbstractEventLoop]]:
    """The server's, a caller's, and a loop to wait on."""
    authority = trustme.CA()
    certificate, key = write(tmp_path_factory.mktemp("tls"), authority.issue_cert(NAME))
    loop = asyncio.new_event_loop()
    yield TlsContext(Tls(certificate=certificate, key=key)).context, caller(authority), loop
    loop.close()


sizes = st.sampled_from([0, 1, 16_383, 16_384, 16_385, 70_000])
messages = st.lists(st.builds(lambda byte, size: bytes([byte]) * size, st.integers(0, 255), sizes), max_size=6)


@settings(max_examples=40)
@given(messages, messages, st.sampled_from([1, 5, 6, 100, 16_400, 1 << 20]))
def test_what_one_end_says_the_other_hears(contexts: tuple, there: list[bytes], back: list[bytes], chunk: int) -> None:
    """In order and whole, however it is cut on the way, and nothing is held back for more to come."""
    pair = Pair(*contexts, chunk=max(chunk, 500) if sum(map(len, there)) > 40_000 else chunk).shaken()
    assert ["made"] == pair.above.told
    said = b""
    for message in there:
        pair.say(message)
        said += message
        assert said == b"".join(pair.above.data)
    for message in back:
        pair.above.transport.write(message)
        assert message == pair.heard()


def test_what_comes_at_once_is_handed_on_at_once(contexts: tuple) -> None:
    """Several records of one read are one piece, and an answer is one write."""
    pair = Pair(*contexts).shaken()
    for word in (b"a", b"b", b"c"):
        pair.client.write(word)
    pair.pump()
    assert [b"abc"] == pair.above.data
    pair.above.transport.write(b"x" * 50_000)
    assert 1 == len(pair.socket.writes)


def test_a_protocol_above_may_be_changed_and_asks_what_it_needs(contexts: tuple) -> None:
    """ALPN and the address; flow control goes through in both directions."""
    pair, other = Pair(*contexts).shaken(), Above()
    transport = pair.above.transport
    transport.set_protocol(other)
    pair.say(b"data")
    pair.secured.pause_writing()
    pair.secured.resume_writing()
    transport.pause_reading()
    transport.resume_reading()
    assert ([b"data"], ["pause", "resume"], ["pause_reading", "resume_reading"]) == (other.data, other.told, pair.socket.told)
    assert ("h2", "127.0.0.1", 7) == (
        transport.get_extra_info("ssl_object").selected_alpn_protocol(), transport.get_extra_info("peername")[0],
        transport.get_write_buffer_size(),
    )  # fmt: skip


def test_data_behind_the_handshake_is_not_lost(contexts: tuple) -> None:
    """A caller sends its first request in the read that ends its handshake."""
    pair = Pair(*contexts)
    with pytest.raises(ssl.SSLWantReadError):
        pair.client.do_handshake()
    pair.pump()
    pair.client.do_handshake()
    pair.client.write(b"first")
    pair.pump()
    assert ([b"first"], True) == (pair.above.data, pair.secured.opened.done())


@pytest.mark.parametrize("keeps", [False, True])
def test_a_half_close_is_the_protocol_s_to_judge(contexts: tuple, keeps: bool) -> None:
    """What it still says is heard where it wants to go on; else both are told that it is over."""
    pair = Pair(*contexts, keeps=keeps).shaken()
    pair.client.write(b"last")
    with pytest.raises(ssl.SSLWantReadError):
        pair.client.unwrap()
    pair.pump()
    assert ([b"last"], ["made", "eof"]) == (pair.above.data, pair.above.told)
    assert keeps == pair.secured.eof_received()
    assert ["made", "eof"] == pair.above.told
    assert ([] if keeps else ["close"]) == pair.socket.told
    pair.above.transport.write(b"answer")
    pair.above.transport.close()
    pair.above.transport.close()
    assert ["close"] == pair.socket.told
    pair.secured.connection_lost(None)
    assert "lost" == pair.above.told[-1]


def test_who_closes_says_so(contexts: tuple) -> None:
    """The caller reads its last answer and then the end, and later writes do nothing."""
    pair = Pair(*contexts).shaken()
    pair.above.transport.write(b"bye")
    pair.above.transport.close()
    pair.above.transport.write(b"more")
    assert b"bye" == pair.heard()
    assert b"" == pair.client.read(1)


def test_a_caller_that_speaks_no_tls_is_closed_with_an_alert(contexts: tuple) -> None:
    """The protocol above never hears of it."""
    pair = Pair(*contexts)
    pair.secured.data_received(b"\x16\x03\x01\x00\x05\x05hell")
    assert isinstance(pair.secured.opened.exception(), ssl.SSLError)
    assert ([], ["close"], b"\x15") == (pair.above.told, pair.socket.told, b"".join(pair.socket.writes)[:1])
    pair.secured.connection_lost(None)
    assert [] == pair.above.told


def test_a_record_that_was_tampered_with_ends_the_connection(contexts: tuple) -> None:
    """Nothing of it is handed on."""
    pair = Pair(*contexts).shaken()
    pair.client.write(b"secret")
    data = bytearray(pair.out.read())
    data[-1] ^= 1
    pair.secured.data_received(bytes(data))
    assert ([], ["abort"]) == (pair.above.data, pair.socket.told)


def test_a_caller_that_goes_away_in_its_handshake_is_no_fault(contexts: tuple) -> None:
    """Whoever waits is told; a handshake that ends too late ends the connection."""
    pair = Pair(*contexts)
    assert pair.secured.eof_received() is False
    pair.secured.connection_lost(None)
    assert isinstance(pair.secured.opened.exception(), ConnectionResetError)
    late = Pair(*contexts)
    late.secured.opened.cancel()
    late.shaken()
    assert ([], ["abort"]) == (late.above.told, late.socket.told)
