"""Cases 90–93: frames without work, as many as a peer can send. The connection ends with the right code; others do not notice."""

from __future__ import annotations

from collections.abc import Callable

from hyperframe import frame as frames

from tests.e2e.desk import Desk
from tests.e2e.peer_http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    grpc_fields,
    prefixed,
    raw_frame,
)
from tests.e2e.peer_http2 import INFER as GRPC_INFER
from tests.e2e.rows import GOOD

PROTOCOL_ERROR, FLOW_CONTROL_ERROR, COMPRESSION_ERROR, CALM = 1, 3, 9, 11
REFUSED_STREAM = 7
MAX_STREAMS = 128


def rapid_reset(desk: Desk) -> None:
    """HEADERS and RST_STREAM, 100,000 times (RFC 9113 §10.5)."""
    peer = desk.http2()
    block = peer.open(grpc_fields(GRPC_INFER, []))[1]
    peer.send(block + raw_frame(RST_STREAM, 0, 1, bytes(4)))
    encoded = peer.open(grpc_fields(GRPC_INFER, []))[1][9:]  # all in the dynamic table by now
    pieces = [
        raw_frame(HEADERS, END_HEADERS, stream, encoded) + raw_frame(RST_STREAM, 0, stream, b"\0\0\0\x08")
        for stream in range(5, 200_005, 2)
    ]
    peer.send(b"".join(pieces))
    assert CALM == peer.ends()


def pings(desk: Desk) -> None:
    """RFC 9113 §6.7, CVE-2019-9512."""
    peer = desk.http2()
    peer.send(raw_frame(PING, 0, 0, bytes(8)) * 10_000)
    assert CALM == peer.ends()


def too_many_streams(desk: Desk) -> None:
    """Those over SETTINGS_MAX_CONCURRENT_STREAMS are refused (RFC 9113 §5.1.2), the others answered."""
    peer = desk.http2()
    opened = [peer.open(grpc_fields(GRPC_INFER, [])) for _ in range(200)]
    peer.send(b"".join(head for _, head in opened))
    refused = peer.wait(*(stream for stream, _ in opened[MAX_STREAMS:]))
    assert {REFUSED_STREAM} == {answer.reset for answer in refused}
    peer.send(b"".join(raw_frame(DATA, END_STREAM, stream, prefixed(GOOD)) for stream, _ in opened[:MAX_STREAMS]))
    assert {0} == {answer.status for answer in peer.wait(*(stream for stream, _ in opened[:MAX_STREAMS]))}
    desk.answered["grpc", "OK"] += MAX_STREAMS
    desk.golden(peer)


def flood(frame: Callable[[int], bytes], count: int, *codes: int) -> Callable[[Desk], None]:
    """So many frames on a fresh connection, which then ends with one of the codes."""

    def play(desk: Desk) -> None:
        peer = desk.http2()
        peer.send(b"".join(map(frame, range(count))))
        found = peer.ends()
        assert found in codes, found

    return play


def endless_block(desk: Desk) -> None:
    """CONTINUATION without END_HEADERS (CVE-2024-27316)."""
    peer = desk.http2()
    peer.send(raw_frame(HEADERS, 0, 1, b"\x00\x01k\x01v") + raw_frame(CONTINUATION, 0, 1, b"\x00\x01k\x01v" * 100) * 1_000)
    assert CALM == peer.ends()


def hpack_bomb(desk: Desk) -> None:
    """One large entry in the dynamic table, referred to 10,000 times (RFC 7541 §7.3): refused, the connection goes on."""
    peer = desk.http2()
    entry = b"\x40\x01k\x7f\x81\x1d" + b"v" * 3_856
    block = entry + b"\xbe" * 10_000
    peer.send(raw_frame(HEADERS, END_HEADERS | END_STREAM, 1, block))
    peer.next_stream = 3
    answer = peer.wait(1)[0]
    assert answer.status in {431, 8, -1}
    desk.golden(peer)


def broken_block(desk: Desk) -> None:
    """An index beyond the table (RFC 7541 §2.3.3)."""
    peer = desk.http2()
    peer.send(raw_frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xff\xff\xff\x7f"))
    assert COMPRESSION_ERROR == peer.ends()


def made_you_reset(desk: Desk) -> None:
    """Streams that the peer makes us reset count as its own resets (CVE-2025-8671)."""
    peer = desk.http2()
    block = peer.open(grpc_fields(GRPC_INFER, []))[1]
    peer.send(block)
    encoded = peer.open(grpc_fields(GRPC_INFER, []))[1][9:]
    pieces = [
        raw_frame(HEADERS, END_HEADERS, stream, encoded) + raw_frame(WINDOW_UPDATE, 0, stream, bytes(4)) for stream in range(5, 40_005, 2)
    ]
    peer.send(b"".join(pieces))
    assert CALM == peer.ends()


def small_data(desk: Desk) -> None:
    """A message in frames of one byte is slow, and right."""
    peer = desk.http2()
    stream, head = peer.open(grpc_fields(GRPC_INFER, []))
    message = prefixed(GOOD)
    pieces = [raw_frame(DATA, 0, stream, message[index : index + 1]) for index in range(len(message))]
    peer.send(head + b"".join(pieces) + raw_frame(DATA, END_STREAM, stream))
    assert 0 == peer.wait(stream)[0].status
    desk.answered["grpc", "OK"] += 1


def window_overflow(desk: Desk) -> None:
    """RFC 9113 §6.9.1, on the connection and on a stream."""
    peer = desk.http2()
    peer.send(raw_frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"))
    assert FLOW_CONTROL_ERROR == peer.ends()
    peer = desk.http2()
    stream, head = peer.open(grpc_fields(GRPC_INFER, []))
    peer.send(head + raw_frame(WINDOW_UPDATE, 0, stream, b"\x7f\xff\xff\xff"))
    assert FLOW_CONTROL_ERROR == peer.wait(stream)[0].reset
    desk.golden(peer)


def no_preface(desk: Desk) -> None:
    """What is neither HTTP/2 nor HTTP/1.1 ends at once."""
    firsts = b"\0" * 64, b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(60)
    peers = [desk.http2(greet=False) for _ in firsts]
    for peer, first in zip(peers, firsts, strict=True):
        peer.send(first)
    for peer in peers:
        peer.ends()


DATA_ON_OPEN = raw_frame(HEADERS, END_HEADERS, 1, b"\x83\x86\x04\x01/\x01\x01a")

FLOODS: dict[str, Callable[[Desk], None]] = {
    "CONTINUATION": endless_block,
    "HPACK bomb": hpack_bomb,
    "HPACK index": broken_block,
    "SETTINGS": flood(lambda _: frames.SettingsFrame(0).serialize(), 5_000, CALM),
    "SETTINGS with many values": flood(lambda _: raw_frame(SETTINGS, 0, 0, b"\0\x04\0\0\xff\xff" * 10_000), 1, CALM),
    "PRIORITY": flood(lambda index: raw_frame(PRIORITY, 0, 2 * index + 1, b"\0\0\0\0\x10"), 5_000, CALM),
    "unknown frames": flood(lambda _: raw_frame(0x55, 0, 0, b"x"), 5_000, CALM),
    "empty DATA": flood(lambda index: raw_frame(DATA, 0, 1) if index else DATA_ON_OPEN, 5_000, CALM, PROTOCOL_ERROR),
    "DATA in bytes": small_data,
    "WINDOW_UPDATE of 0": flood(lambda _: raw_frame(WINDOW_UPDATE, 0, 0, bytes(4)), 1, PROTOCOL_ERROR),
    "window overflow": window_overflow,
    "MadeYouReset": made_you_reset,
    "no preface": no_preface,
}
