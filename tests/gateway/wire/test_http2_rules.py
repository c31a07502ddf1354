"""Each rule of RFC 9113 that a peer can break: the section, what it does, and the error it must get. Its neighbours live on."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from gateway.limits import WireLimits
from gateway.wire.frames import ErrorCode
from tests.gateway.wire.http2_wire import (
    CONTINUATION,
    DATA,
    GOAWAY,
    HEADERS,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Wire,
    data,
    head,
    raw,
    read_answers,
    request,
    reset,
    window,
)

LIMITS = WireLimits(max_streams=4, max_frame_bytes=16_384, stream_window_bytes=65_535)
Deed = Callable[[Wire], bytes]  # what the peer sends, given a started connection

ONE, TWO_31 = b"\x00\x00\x00\x01", b"\x80\x00\x00\x00"
END_STREAM, END_HEADERS, PADDED, PRIORITIZED = 1, 4, 8, 32
BLOCK = b"\x83\x86\x84"  # :method POST, :scheme http, :path /


def settings(identifier: int, value: int) -> bytes:
    return raw(SETTINGS, 0, 0, struct.pack(">HI", identifier, value))


def opened(wire: Wire, stream_id: int = 1, *, last: bool = False, path: str = "/hold") -> bytes:
    return head(stream_id, wire.block(request(path)), last=last)


def answered(wire: Wire, stream_id: int = 1) -> bytes:
    return opened(wire, stream_id, last=True, path="/echo")


def rule(section: str, deed: str, code: str, act: Deed) -> object:
    return pytest.param(act, ErrorCode[code], id=f"{section}-{deed}-{code}")


def four(wire: Wire) -> bytes:
    """As many open streams as the limit allows."""
    return b"".join([opened(wire, stream_id) for stream_id in (1, 3, 5, 7)])


def overflowing(wire: Wire) -> bytes:
    return opened(wire) + window(1, 2**31 - 1 - 65_535) + settings(4, 65_536)


# --- the connection ends ---------------------------------------------------------------------------------------------------------

FATAL = [
    rule("4.1", "frame_longer_than_max_frame_size", "FRAME_SIZE_ERROR", lambda w: raw(77, 0, 0, b"x" * 16_385)),
    rule("4.2", "data_longer_than_max_frame_size", "FRAME_SIZE_ERROR", lambda w: opened(w) + raw(DATA, 0, 1, b"x" * 16_385)),
    rule("4.2", "headers_longer_than_max_frame_size", "FRAME_SIZE_ERROR", lambda w: raw(HEADERS, 4, 1, BLOCK + b"\x40" * 16_384)),
    rule("4.2", "settings_longer_than_max_frame_size", "FRAME_SIZE_ERROR", lambda w: raw(SETTINGS, 0, 0, bytes(16_386))),
    rule("4.3", "block_with_an_index_beyond_the_tables", "COMPRESSION_ERROR", lambda w: raw(HEADERS, 5, 1, BLOCK + b"\xff\x80\x01")),
    rule("4.3", "block_that_is_cut", "COMPRESSION_ERROR", lambda w: raw(HEADERS, 5, 1, BLOCK + b"\x40\x0aab")),
    rule("4.3", "block_with_a_table_size_above_ours", "COMPRESSION_ERROR", lambda w: raw(HEADERS, 5, 1, b"\x3f\xe2\x1f" + BLOCK)),
    rule("4.3", "trailers_that_do_not_decode", "COMPRESSION_ERROR", lambda w: opened(w) + raw(HEADERS, 5, 1, b"\x80")),
    rule("4.3", "refused_stream_that_does_not_decode", "COMPRESSION_ERROR", lambda w: four(w) + raw(HEADERS, 5, 9, b"\x80")),
    rule("5.1", "data_on_an_idle_stream", "PROTOCOL_ERROR", lambda w: data(1, b"x", last=True)),
    rule("5.1", "rst_stream_on_an_idle_stream", "PROTOCOL_ERROR", lambda w: reset(1)),
    rule("5.1", "window_update_on_an_idle_stream", "PROTOCOL_ERROR", lambda w: window(1, 100)),
    rule("5.1", "continuation_on_an_idle_stream", "PROTOCOL_ERROR", lambda w: raw(CONTINUATION, 4, 1, BLOCK)),
    rule("5.1", "headers_on_a_closed_stream", "STREAM_CLOSED", lambda w: answered(w) + opened(w)),
    rule("5.1", "headers_on_a_stream_that_the_peer_reset", "STREAM_CLOSED", lambda w: opened(w) + reset(1) + opened(w)),
    rule("5.1.1", "even_stream_id", "PROTOCOL_ERROR", lambda w: opened(w, 2, last=True)),
    rule("5.1.1", "headers_on_stream_0", "PROTOCOL_ERROR", lambda w: raw(HEADERS, 5, 0, BLOCK)),
    rule("5.1.1", "decreasing_stream_id", "PROTOCOL_ERROR", lambda w: answered(w, 5) + answered(w, 3)),
    rule("5.1.1", "data_on_an_even_stream", "PROTOCOL_ERROR", lambda w: answered(w, 5) + data(2, b"x")),
    rule("6.1", "data_on_stream_0", "PROTOCOL_ERROR", lambda w: raw(DATA, 0, 0, b"x")),
    rule("6.1", "padding_as_long_as_the_frame", "PROTOCOL_ERROR", lambda w: opened(w) + raw(DATA, PADDED, 1, b"\x03abc"[:3])),
    rule("6.1", "padded_frame_without_a_pad_length", "FRAME_SIZE_ERROR", lambda w: opened(w) + raw(DATA, PADDED, 1, b"")),
    rule("6.2", "padding_longer_than_the_headers", "PROTOCOL_ERROR", lambda w: raw(HEADERS, 5 | PADDED, 1, b"\x0a" + BLOCK)),
    rule("6.2", "headers_too_short_for_its_priority", "FRAME_SIZE_ERROR", lambda w: raw(HEADERS, 5 | PRIORITIZED, 1, b"\x00\x00")),
    rule("6.2", "another_frame_inside_a_block", "PROTOCOL_ERROR", lambda w: raw(HEADERS, 1, 1, BLOCK) + raw(PING, 0, 0, bytes(8))),
    rule("6.2", "unknown_frame_inside_a_block", "PROTOCOL_ERROR", lambda w: raw(HEADERS, 1, 1, BLOCK) + raw(99, 0, 1, b"")),
    rule("6.2", "another_head_inside_a_block", "PROTOCOL_ERROR", lambda w: raw(HEADERS, 1, 1, BLOCK) + raw(HEADERS, 5, 3, BLOCK)),
    rule("6.2", "data_inside_trailers", "PROTOCOL_ERROR", lambda w: opened(w) + raw(HEADERS, 1, 1, b"") + data(1, b"x")),
    rule("6.3", "priority_on_stream_0", "PROTOCOL_ERROR", lambda w: raw(PRIORITY, 0, 0, ONE + b"\x10")),
    rule("6.3", "priority_of_4_bytes_on_an_idle_stream", "FRAME_SIZE_ERROR", lambda w: raw(PRIORITY, 0, 7, ONE)),
    rule("6.4", "rst_stream_on_stream_0", "PROTOCOL_ERROR", lambda w: raw(RST_STREAM, 0, 0, bytes(4))),
    rule("6.4", "rst_stream_of_3_bytes", "FRAME_SIZE_ERROR", lambda w: opened(w) + raw(RST_STREAM, 0, 1, bytes(3))),
    rule("6.4", "rst_stream_of_5_bytes", "FRAME_SIZE_ERROR", lambda w: opened(w) + raw(RST_STREAM, 0, 1, bytes(5))),
    rule("6.5", "settings_ack_with_a_payload", "FRAME_SIZE_ERROR", lambda w: raw(SETTINGS, 1, 0, bytes(6))),
    rule("6.5", "settings_on_a_stream", "PROTOCOL_ERROR", lambda w: opened(w) + raw(SETTINGS, 0, 1, bytes(6))),
    rule("10.5", "settings_of_33_values", "ENHANCE_YOUR_CALM", lambda w: raw(SETTINGS, 0, 0, struct.pack(">HI", 4, 65_535) * 33)),
    rule("6.5", "settings_of_5_bytes", "FRAME_SIZE_ERROR", lambda w: raw(SETTINGS, 0, 0, bytes(5))),
    rule("6.5.2", "enable_push_2", "PROTOCOL_ERROR", lambda w: settings(2, 2)),
    rule("6.5.2", "initial_window_2_31", "FLOW_CONTROL_ERROR", lambda w: settings(4, 1 << 31)),
    rule("6.5.2", "max_frame_size_16383", "PROTOCOL_ERROR", lambda w: settings(5, 16_383)),
    rule("6.5.2", "max_frame_size_2_24", "PROTOCOL_ERROR", lambda w: settings(5, 1 << 24)),
    rule("6.6", "push_promise", "PROTOCOL_ERROR", lambda w: opened(w) + raw(PUSH_PROMISE, 4, 1, b"\x00\x00\x00\x02" + BLOCK)),
    rule("6.7", "ping_on_a_stream", "PROTOCOL_ERROR", lambda w: opened(w) + raw(PING, 0, 1, bytes(8))),
    rule("6.7", "ping_of_6_bytes", "FRAME_SIZE_ERROR", lambda w: raw(PING, 0, 0, bytes(6))),
    rule("6.7", "ping_ack_of_9_bytes", "FRAME_SIZE_ERROR", lambda w: raw(PING, 1, 0, bytes(9))),
    rule("6.8", "goaway_on_a_stream", "PROTOCOL_ERROR", lambda w: opened(w) + raw(GOAWAY, 0, 1, bytes(8))),
    rule("6.8", "goaway_of_7_bytes", "FRAME_SIZE_ERROR", lambda w: raw(GOAWAY, 0, 0, bytes(7))),
    rule("6.9", "window_update_of_3_bytes", "FRAME_SIZE_ERROR", lambda w: raw(WINDOW_UPDATE, 0, 0, bytes(3))),
    rule("6.9", "window_update_of_0_on_the_connection", "PROTOCOL_ERROR", lambda w: raw(WINDOW_UPDATE, 0, 0, bytes(4))),
    rule("6.9", "window_update_of_reserved_bit_only", "PROTOCOL_ERROR", lambda w: raw(WINDOW_UPDATE, 0, 0, TWO_31)),
    rule("6.9.1", "connection_window_overflow", "FLOW_CONTROL_ERROR", lambda w: window(0, 2**31 - 1)),
    rule("6.9.2", "initial_window_overflows_a_stream", "FLOW_CONTROL_ERROR", overflowing),
    rule("6.10", "continuation_on_stream_0", "PROTOCOL_ERROR", lambda w: raw(CONTINUATION, 4, 0, BLOCK)),
    rule("6.10", "continuation_after_end_headers", "PROTOCOL_ERROR", lambda w: opened(w) + raw(CONTINUATION, 4, 1, BLOCK)),
    rule("6.10", "continuation_of_another_stream", "PROTOCOL_ERROR", lambda w: raw(HEADERS, 1, 1, BLOCK) + raw(CONTINUATION, 4, 3, b"")),
]


@pytest.mark.parametrize(("act", "code"), FATAL)
def test_a_broken_rule_of_the_connection_ends_it_with_goaway(act: Deed, code: ErrorCode) -> None:
    """GOAWAY with the section's code, closed once, open requests cancelled, and nothing that follows is looked at."""
    wire = Wire(LIMITS).start()
    wire.send(act(wire))
    assert code == wire.goaway()
    assert 1 == wire.closes
    open_streams = [stream for stream in wire.program.streams.values() if not stream.closed]
    assert ([], {}, 0) == (open_streams, wire.connection.streams, wire.connection.buffered_bytes)
    calls = list(wire.program.calls)
    wire.send(head(101, BLOCK, last=True))
    wire.tick(100.0)
    assert (calls, 1) == (wire.program.calls, wire.closes)


# --- one stream ends -------------------------------------------------------------------------------------------------------------


def prioritized(wire: Wire, *, depends_on: int, stream_id: int = 3) -> bytes:
    block = struct.pack(">IB", depends_on, 15) + wire.block(request("/echo"))
    return raw(HEADERS, END_STREAM | END_HEADERS | PRIORITIZED, stream_id, block)


def with_length(wire: Wire, length: str, *rest: bytes, last: bool = False) -> bytes:
    return head(3, wire.block(request("/hold", ("content-length", length))), last=last) + b"".join(rest)


def trailing(wire: Wire, *fields: tuple[bytes, bytes], last: bool = True) -> bytes:
    return opened(wire, 3) + head(3, wire.block(list(fields)), last=last)


def without(wire: Wire, name: bytes) -> bytes:
    return head(3, wire.block([field for field in request("/echo") if field[0] != name]), last=True)


def adding(wire: Wire, *fields: tuple[bytes, bytes], front: bool = False) -> bytes:
    good = request("/echo")
    return head(3, wire.block([*fields, *good] if front else [*good, *fields]), last=True)


def three(wire: Wire) -> bytes:
    """Leave room for no more than the neighbour that is open already."""
    return b"".join([opened(wire, stream_id) for stream_id in (3, 5, 7)])


def overrun(wire: Wire) -> bytes:
    """A body in frames that came before any of our updates could reach the peer."""
    return opened(wire, 3, path="/sip") + b"".join([data(3, bytes(16_384)) for _ in range(4)])


def sums() -> bytes:
    return head(3, b"\x00\x05x-sum\x011", last=True)


LOCAL = [
    rule("5.1", "data_after_end_stream", "STREAM_CLOSED", lambda w: opened(w, 3, last=True) + data(3, b"x")),
    rule("5.1", "headers_after_end_stream", "STREAM_CLOSED", lambda w: opened(w, 3, last=True) + head(3, w.block(request()), last=True)),
    rule("5.1", "data_on_a_closed_stream", "STREAM_CLOSED", lambda w: answered(w, 3) + data(3, b"x")),
    rule("5.1.2", "more_streams_than_the_limit", "REFUSED_STREAM", lambda w: three(w) + opened(w, 9, last=True)),
    rule("5.3.1", "headers_that_depend_on_their_own_stream", "PROTOCOL_ERROR", lambda w: prioritized(w, depends_on=3)),
    rule("5.3.1", "exclusive_self_dependency", "PROTOCOL_ERROR", lambda w: prioritized(w, depends_on=3 | 1 << 31)),
    rule("5.3.1", "priority_on_its_own_stream", "PROTOCOL_ERROR", lambda w: opened(w, 3) + raw(PRIORITY, 0, 3, b"\x00\x00\x00\x03\x00")),
    rule("6.3", "priority_of_4_bytes", "FRAME_SIZE_ERROR", lambda w: opened(w, 3) + raw(PRIORITY, 0, 3, bytes(4))),
    rule("6.9", "window_update_of_0", "PROTOCOL_ERROR", lambda w: opened(w, 3) + raw(WINDOW_UPDATE, 0, 3, bytes(4))),
    rule("6.9.1", "stream_window_overflow", "FLOW_CONTROL_ERROR", lambda w: opened(w, 3) + window(3, 2**31 - 1)),
    rule("6.9.1", "more_data_than_the_window", "FLOW_CONTROL_ERROR", overrun),
    rule("8.1", "trailers_without_end_stream", "PROTOCOL_ERROR", lambda w: trailing(w, (b"x-sum", b"1"), last=False)),
    rule("8.1", "trailers_with_a_pseudo_header", "PROTOCOL_ERROR", lambda w: trailing(w, (b":path", b"/"))),
    rule("8.1", "trailers_with_connection", "PROTOCOL_ERROR", lambda w: trailing(w, (b"connection", b"close"))),
    rule("8.1", "trailers_with_an_upper_case_name", "PROTOCOL_ERROR", lambda w: trailing(w, (b"X-Sum", b"1"))),
    rule("8.1.1", "content_length_above_the_body", "PROTOCOL_ERROR", lambda w: with_length(w, "4", data(3, b"abc", last=True))),
    rule("8.1.1", "content_length_below_the_body", "PROTOCOL_ERROR", lambda w: with_length(w, "2", data(3, b"abc"))),
    rule("8.1.1", "content_length_without_a_body", "PROTOCOL_ERROR", lambda w: with_length(w, "4", last=True)),
    rule("8.1.1", "content_length_above_a_body_with_trailers", "PROTOCOL_ERROR", lambda w: with_length(w, "4", data(3, b"abc"), sums())),
    rule("8.1.1", "content_length_of_letters", "PROTOCOL_ERROR", lambda w: with_length(w, "abc")),
    rule("8.1.1", "content_length_with_a_sign", "PROTOCOL_ERROR", lambda w: with_length(w, "+3")),
    rule("8.1.1", "content_length_twice", "PROTOCOL_ERROR", lambda w: adding(w, (b"content-length", b"0"), (b"content-length", b"1"))),
    rule("8.2.1", "upper_case_name", "PROTOCOL_ERROR", lambda w: adding(w, (b"X-Name", b"1"))),
    rule("8.2.1", "name_with_a_space", "PROTOCOL_ERROR", lambda w: adding(w, (b"x name", b"1"))),
    rule("8.2.1", "name_with_a_colon", "PROTOCOL_ERROR", lambda w: adding(w, (b"x:name", b"1"))),
    rule("8.2.1", "empty_name", "PROTOCOL_ERROR", lambda w: adding(w, (b"", b"1"))),
    rule("8.2.1", "name_past_ascii", "PROTOCOL_ERROR", lambda w: adding(w, (b"x-\xff", b"1"))),
    rule("8.2.1", "value_with_nul", "PROTOCOL_ERROR", lambda w: adding(w, (b"x-name", b"a\x00b"))),
    rule("8.2.1", "value_with_cr", "PROTOCOL_ERROR", lambda w: adding(w, (b"x-name", b"a\rb"))),
    rule("8.2.1", "value_with_lf", "PROTOCOL_ERROR", lambda w: adding(w, (b"x-name", b"a\nb"))),
    rule("8.2.1", "value_with_a_leading_space", "PROTOCOL_ERROR", lambda w: adding(w, (b"x-name", b" a"))),
    rule("8.2.1", "value_with_a_trailing_tab", "PROTOCOL_ERROR", lambda w: adding(w, (b"x-name", b"a\t"))),
    rule("8.2.1", "grpc_timeout_with_lf", "PROTOCOL_ERROR", lambda w: adding(w, (b"grpc-timeout", b"1S\n"))),
    rule("8.2.1", "path_with_lf", "PROTOCOL_ERROR", lambda w: head(3, w.block(request("/echo\nx: y")), last=True)),
    rule("8.2.2", "connection", "PROTOCOL_ERROR", lambda w: adding(w, (b"connection", b"keep-alive"))),
    rule("8.2.2", "keep_alive", "PROTOCOL_ERROR", lambda w: adding(w, (b"keep-alive", b"timeout=5"))),
    rule("8.2.2", "proxy_connection", "PROTOCOL_ERROR", lambda w: adding(w, (b"proxy-connection", b"keep-alive"))),
    rule("8.2.2", "transfer_encoding", "PROTOCOL_ERROR", lambda w: adding(w, (b"transfer-encoding", b"chunked"))),
    rule("8.2.2", "upgrade", "PROTOCOL_ERROR", lambda w: adding(w, (b"upgrade", b"h2c"))),
    rule("8.2.2", "te_gzip", "PROTOCOL_ERROR", lambda w: adding(w, (b"te", b"gzip"))),
    rule("8.2.2", "te_trailers_and_gzip", "PROTOCOL_ERROR", lambda w: adding(w, (b"te", b"trailers, gzip"))),
    rule("8.3", "unknown_pseudo_header", "PROTOCOL_ERROR", lambda w: adding(w, (b":host", b"x"), front=True)),
    rule("8.3", "response_pseudo_header", "PROTOCOL_ERROR", lambda w: adding(w, (b":status", b"200"), front=True)),
    rule("8.3", "pseudo_header_after_a_regular_one", "PROTOCOL_ERROR", lambda w: adding(w, (b"x-name", b"1"), front=True)),
    rule("8.3", "pseudo_header_at_the_end", "PROTOCOL_ERROR", lambda w: adding(w, (b"x-name", b"1"), (b":authority", b"a"))),
    rule("8.3.1", "no_method", "PROTOCOL_ERROR", lambda w: without(w, b":method")),
    rule("8.3.1", "no_scheme", "PROTOCOL_ERROR", lambda w: without(w, b":scheme")),
    rule("8.3.1", "no_path", "PROTOCOL_ERROR", lambda w: without(w, b":path")),
    rule("8.3.1", "empty_path", "PROTOCOL_ERROR", lambda w: head(3, w.block(request("")), last=True)),
    rule("8.3.1", "path_without_a_slash", "PROTOCOL_ERROR", lambda w: head(3, w.block(request("echo")), last=True)),
    rule("8.3.1", "asterisk_on_post", "PROTOCOL_ERROR", lambda w: head(3, w.block(request("*")), last=True)),
    rule("8.3.1", "method_twice", "PROTOCOL_ERROR", lambda w: adding(w, (b":method", b"GET"), front=True)),
    rule("8.3.1", "path_twice", "PROTOCOL_ERROR", lambda w: adding(w, (b":path", b"/echo"), front=True)),
]


@pytest.mark.parametrize(("act", "code"), LOCAL)
def test_a_broken_rule_of_a_stream_ends_it_with_rst_stream(act: Deed, code: ErrorCode) -> None:
    """RST_STREAM with the section's code; the stream's work is cancelled; requests before and after it are served."""
    faulty = 9 if code is ErrorCode.REFUSED_STREAM else 3
    wire = Wire(LIMITS).start()
    wire.open(1, "/hold")
    wire.send(act(wire))
    wire.program.answer(1, b"first")
    wire.send(head(101, wire.block(request("/echo", ("x-new", "entry")))), data(101, b"behind", last=True))
    answers = read_answers(wire.take())
    assert (code, 0) == (answers[faulty].reset, wire.closes)
    assert (b"first", b"behind") == (answers[1].body, answers[101].body)
    left = [stream for stream in wire.program.streams.values() if stream.id == faulty and not stream.cancelled]
    assert ([], 0) == (left, wire.connection.buffered_bytes)
