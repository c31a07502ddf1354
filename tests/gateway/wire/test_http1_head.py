"""Heads of HTTP/1.1 requests, with llhttp (httptools) as the second opinion."""

from __future__ import annotations

from urllib.parse import urlsplit

import httptools
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.limits import WireLimits
from gateway.wire.exchange import HttpRefusal
from gateway.wire.http1_head import CHUNKED, CLOSE, KEEP, KEEP_HTTP10, Head, HeadParser, Memo

LIMITS = WireLimits()


def read(block: bytes) -> Head:
    """A whole head, by a parser that has seen none."""
    head = HeadParser(LIMITS).read(block, 0)
    assert head is not None
    return head


class Witness:
    """What llhttp makes of a head."""

    def __init__(self, block: bytes) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.whole = False
        self.upgrade = False
        self.keep_alive = False
        self.parser = httptools.HttpRequestParser(self)
        try:
            self.parser.feed_data(block)
        except httptools.HttpParserUpgrade:
            self.upgrade = True
        self.method = self.parser.get_method().decode()

    def target(self) -> bytes:
        """Path and query; of an absolute form as the standard library splits it."""
        if self.url[:1] in (b"/", b"*"):
            return self.url
        parts = urlsplit(self.url)
        return (parts.path or b"/") + (b"?" + parts.query if b"?" in self.url else b"")

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.whole = True
        self.keep_alive = self.parser.should_keep_alive()


names = st.sampled_from(
    ["Host", "X-A", "x_b", "Connection", "Content-Length", "Transfer-Encoding", "Content-Encoding", "Expect", "Upgrade", "Accept"]
)
values = st.sampled_from(
    ["a", "", "x:80", "close", "keep-alive", "Upgrade, close", "chunked", "5", "05", "gzip", "100-continue", " \t b ", "h2c", "\xe9"]
)
lines = st.builds(lambda name, blank, value: f"{name}:{blank}{value}", names, st.sampled_from(["", " ", "\t "]), values)
requests = st.builds(
    lambda method, target, version, fields: "\r\n".join([f"{method} {target} HTTP/{version}", "Host: x", *fields, "", ""]).encode(
        "latin-1"
    ),
    st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "M-SEARCH"]),
    st.sampled_from(["/", "/a/b?c=d", "/%00", "//x", "/a|b\\", "http://x/y", "/?"]),
    st.sampled_from(["1.1", "1.0"]),
    st.lists(lines, max_size=5),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A head with a few bytes replaced, added or taken."""
    block = draw(requests)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(block) - 5))
        block = block[:at] + draw(st.binary(max_size=2)) + block[at + draw(st.integers(0, 2)) :]
    return block


@settings(max_examples=1_500)
@given(damaged())
def test_llhttp_agrees_with_every_head_that_is_accepted(block: bytes) -> None:
    """We may refuse more than llhttp; what we accept, it accepts, with the same method, target, fields, length and persistence."""
    try:
        head = HeadParser(LIMITS).read(block, 0)
    except HttpRefusal:
        return
    assume(head is not None)
    assert head is not None
    try:
        witness = Witness(block[: head.size])
    except httptools.HttpParserInvalidMethodError:
        return  # any method is ours to route, llhttp knows a list
    target = head.line.target + (b"?" + head.line.query if b"?" in witness.url else b"")
    assert witness.whole
    assert (witness.method, witness.headers) == (head.line.method, head.headers)
    assert witness.target() == target
    framed = dict(witness.headers)
    assert (b"transfer-encoding" in framed) == (head.steering.length == CHUNKED)
    if head.steering.length != CHUNKED:
        assert int(framed.get(b"content-length", b"0")) == head.steering.length
    if not witness.upgrade:
        keeps = head.steering.persistence != CLOSE
        assert witness.keep_alive == keeps or (head.line.is_http10 and not keeps)  # both tokens in HTTP/1.0: we close


@settings(max_examples=300)
@given(st.lists(damaged(), min_size=2, max_size=6))
def test_remembered_lines_change_nothing(blocks: list[bytes]) -> None:
    """A parser that has seen other heads reads each as one that has seen none."""
    parser = HeadParser(LIMITS)

    def outcome(reader: HeadParser, block: bytes) -> object:
        try:
            return reader.read(block, 0)
        except HttpRefusal as refusal:
            return refusal.status, refusal.message

    for block in blocks + blocks:
        assert outcome(HeadParser(LIMITS), block) == outcome(parser, block)


def test_lines_are_remembered_boundedly() -> None:
    """Ever new fields, targets and lengths cost no memory, and a field of any length is read."""
    parser = HeadParser(LIMITS)
    for index in range(1_000):
        block = f"GET /{index} HTTP/1.1\r\nHost: h{index}\r\nX: {'y' * index}\r\n\r\n".encode()
        head = parser.read(block, 0)
        assert head is not None
        assert (b"x", b"y" * index) == head.headers[1]
    memos = (parser._lines, parser._names, parser._fields, parser._steerings)
    assert max(len(memo.known) for memo in memos) <= 64


def test_a_full_memo_starts_afresh_after_a_while() -> None:
    """Callers behind a proxy change; what they send now is remembered in the end."""
    memo: Memo[int, int] = Memo(4)
    for number in range(4 + 64 * 4 + 1):
        assert number == memo.put(number, number)
    assert {260: 260} == memo.known


@pytest.mark.parametrize(
    ("fields", "persistence"),
    [("", KEEP), ("Connection: close\r\n", CLOSE), ("Connection: a, Close\r\n", CLOSE), ("Connection: a\r\nConnection: close\r\n", CLOSE),
     ("Connection: keep-alive, close\r\n", CLOSE), ("Connection: closed\r\n", KEEP)],
)  # fmt: skip
def test_persistence_of_http_1_1(fields: str, persistence: int) -> None:
    """Kept unless a token says close."""
    assert persistence == read(f"GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode()).steering.persistence


@pytest.mark.parametrize(
    ("fields", "persistence"),
    [("", CLOSE), ("Connection: keep-alive\r\n", KEEP_HTTP10), ("Connection: Keep-Alive, close\r\n", CLOSE), ("Keep-Alive: 5\r\n", CLOSE)],
)
def test_persistence_of_http_1_0(fields: str, persistence: int) -> None:
    """Closed unless a token says keep-alive."""
    assert persistence == read(f"GET / HTTP/1.0\r\n{fields}\r\n".encode()).steering.persistence


def test_the_head_ends_where_the_body_begins() -> None:
    """`size` counts from the start that was given."""
    block = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    head = HeadParser(LIMITS).read(b"body" + block + b"more", 4)
    assert head is not None
    assert len(block) == head.size


def test_plain_heads_are_those_that_need_no_second_look() -> None:
    """A length within the limit, no coding, no expectation."""
    prefix = "POST / HTTP/1.1\r\nHost: x\r\n"
    expected = {"": True, "Content-Length: 5\r\n": True, f"Content-Length: {LIMITS.max_body_bytes + 1}\r\n": False, "Expect: x\r\n": False,
                "Transfer-Encoding: chunked\r\n": False, "Content-Encoding: gzip\r\n": False}  # fmt: skip
    assert expected == {fields: read(f"{prefix}{fields}\r\n".encode()).steering.is_plain for fields in expected}
