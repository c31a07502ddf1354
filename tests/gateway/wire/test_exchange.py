"""What HTTP/1.1 and HTTP/2 have in common: headers by name, and error bodies that are safe anywhere."""

from __future__ import annotations

import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.wire.exchange import MAX_MESSAGE_BYTES, HttpExchange, HttpRefusal, error_body


@settings(max_examples=500)
@given(st.text(max_size=900))
@example("\x7f\x1b[2J")
@example("x" + "ü" * 500)
def test_an_error_body_is_json_of_printable_ascii_with_a_cut_text(text: str) -> None:
    """Whatever the text holds; the cut is between characters."""
    body = error_body(text)
    assert not [octet for octet in body if not 0x20 <= octet <= 0x7E]
    (message,) = json.loads(body).values()
    whole = text.encode("utf-8", "replace").decode()
    assert (True, True) == (whole.startswith(message), len(message.encode()) <= MAX_MESSAGE_BYTES)
    assert message == whole or len(message.encode()) > MAX_MESSAGE_BYTES - 4


def test_a_header_is_the_first_of_its_name() -> None:
    """None where there is none."""
    exchange = HttpExchange()
    exchange.headers = [(b"a", b"1"), (b"b", b""), (b"a", b"2")]
    assert (b"1", b"", None) == (exchange.header(b"a"), exchange.header(b"b"), exchange.header(b"c"))


def test_a_refusal_has_headers_of_its_own() -> None:
    """Two refusals share no list."""
    first, second = HttpRefusal(404, "no"), HttpRefusal(404, "no")
    first.headers.append((b"x", b"1"))
    assert ([], 404, "no") == (second.headers, second.status, second.message)
