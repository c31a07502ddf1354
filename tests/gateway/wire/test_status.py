"""One failure, two languages: the status table and the error body."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Code
from gateway.wire.exchange import error_body
from gateway.wire.status import NEVER, REASONS, grpc_pushback, grpc_status, http_status, retry_headers


@pytest.mark.parametrize("code", Code)
def test_every_code_has_an_answer_on_both_transports(code: Code) -> None:
    """The list of codes is closed, so the table is complete; every HTTP status has its phrase."""
    assert http_status(code) in REASONS
    assert 0 <= grpc_status(code) <= 16
    assert (code == Code.OK) == (grpc_status(code) == 0) == (http_status(code) == 200)


@pytest.mark.parametrize(
    ("code", "http", "grpc"),
    [
        (Code.INVALID_ARGUMENT, 400, 3),
        (Code.NOT_FOUND, 404, 5),
        (Code.TOO_LARGE, 413, 8),
        (Code.OVERLOADED, 429, 8),
        (Code.UNAVAILABLE, 503, 14),
        (Code.DEADLINE_EXCEEDED, 504, 4),
        (Code.INTERNAL, 500, 13),
        (Code.UNIMPLEMENTED, 501, 12),
        (Code.UNAUTHENTICATED, 401, 16),
        (Code.PERMISSION_DENIED, 403, 7),
    ],
)
def test_the_statuses_that_clients_rely_on(code: Code, http: int, grpc: int) -> None:
    """The numbers that existing clients of the protocol switch on."""
    assert (http, grpc) == (http_status(code), grpc_status(code))


def test_only_what_can_pass_later_invites_a_retry() -> None:
    """Shedding and loading name a time, the same on both transports; poison and size forbid; the rest say nothing."""
    assert {Code.OVERLOADED, Code.UNAVAILABLE} == {code for code in Code if retry_headers(code)}
    assert {Code.TOO_LARGE, Code.INTERNAL} == {code for code in Code if grpc_pushback(code) == NEVER}
    for code in (Code.OVERLOADED, Code.UNAVAILABLE):
        seconds = int(dict(retry_headers(code))[b"retry-after"])
        assert 1_000 * seconds == grpc_pushback(code)


@given(st.text(max_size=2_000))
def test_error_bodies_are_short_ascii_json(message: str) -> None:
    """Any text: one line of printable ASCII with the first 512 bytes of the message."""
    body = error_body(message)
    assert all(0x20 <= byte < 0x7F for byte in body)
    shown = json.loads(body)["error"]
    assert len(shown.encode("utf-8", "surrogatepass")) <= 512
    assert message.encode("utf-8", "replace").decode().startswith(shown)


@pytest.mark.parametrize("text", ["\r\nset-cookie: x", "\x1b[31mred", "\u202egnp.exe", "\x7f", "a\ud800b", '"}', "\\"])
def test_control_and_terminal_characters_are_escaped(text: str) -> None:
    """Line ends, terminal sequences, direction changes, lone surrogates, quotes."""
    body = error_body(text)
    assert text.encode("utf-8", "replace").decode() == json.loads(body)["error"]
    assert all(0x20 <= byte < 0x7F for byte in body)
