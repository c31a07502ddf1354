"""What an HTTP/1.1 connection does for callers who behave."""

from __future__ import annotations

import gzip
import zlib

import pytest

from gateway.limits import WireLimits
from tests.gateway.wire.http1_wire import TEXT, Application, Caller, chunked, get, post


def test_a_request_is_answered_and_the_connection_kept() -> None:
    """Status line, the handler's header and a length; nothing about the connection, which stays."""
    caller = Caller().send(post(body=b"abc"))
    assert b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nabc" == caller.output
    assert not caller.closed


def test_the_exchange_carries_the_request_as_it_was_sent() -> None:
    """Raw target, query split at the first question mark, names lower-case, values trimmed, in order."""
    caller = Caller().send(post("/echo?a=%41?b", b"xyz", "X-Two: \t b \t", "x-two: c"))
    exchange = caller.application.seen[0]
    assert ("POST", b"/echo", b"a=%41?b", b"xyz", 1_000.0) == (
        exchange.method,
        exchange.target,
        exchange.query,
        exchange.body,
        exchange.arrival,
    )
    assert [(b"host", b"localhost:8000"), (b"content-length", b"3"), (b"x-two", b"b"), (b"x-two", b"c")] == exchange.headers
    assert b"b" == exchange.header(b"x-two")
    assert exchange.header(b"x-three") is None


def test_requests_follow_each_other_on_one_connection() -> None:
    """The same head is looked up, another one is read, and both give their own bodies."""
    caller = Caller()
    for body in (b"one", b"two", b"three", b"one"):
        caller.send(post(body=body))
    assert [b"one", b"two", b"three", b"one"] == [answer.body for answer in caller.answers()]


def test_a_remembered_head_asks_the_application_again() -> None:
    """Routes and credentials may have changed since the last request."""
    caller = Caller().send(get(), get())
    assert [("GET", b"/live")] * 2 == caller.application.opened


def test_pipelined_answers_keep_the_order_of_requests() -> None:
    """Handlers that finish out of order are answered in order, those that became ready together in one write."""
    caller = Caller().send(b"".join([post("/later", body) for body in (b"a", b"b", b"c")]))
    caller.application.answer(2)
    caller.application.answer(1)
    assert [] == caller.writes
    caller.application.answer(0)
    assert 1 == len(caller.writes)
    assert [b"a", b"b", b"c"] == [answer.body for answer in caller.answers()]


def test_pipelined_answers_given_at_once_leave_in_one_write() -> None:
    """One read, one write."""
    caller = Caller().send(b"".join([post(body=b"%d" % index) for index in range(20)]))
    assert 1 == len(caller.writes)
    assert [b"%d" % index for index in range(20)] == [answer.body for answer in caller.answers()]


def test_a_second_answer_is_ignored() -> None:
    """Exactly one answer leaves, whatever a handler does."""
    caller = Caller().send(post("/later", b"a"))
    exchange = caller.application.pending[0]
    exchange.respond(200, TEXT, b"first")
    exchange.respond(500, TEXT, b"second")
    assert [b"first"] == [answer.body for answer in caller.answers()]


@pytest.mark.parametrize("size", [0, 1, 2, 40, 70])
def test_a_body_may_come_in_two_reads(size: int) -> None:
    """Wherever the second read begins, in the head or in the body."""
    request = post(body=b"0123456789")
    assert [b"0123456789"] == [answer.body for answer in Caller().send(request[:size], request[size:]).answers()]


def test_a_chunked_body_is_put_together() -> None:
    """Chunk extensions are passed over, sizes may be in either case."""
    request = chunked([]).replace(b"0\r\n\r\n", b'3;name="a;b"\r\nabc\r\n0A\r\n0123456789\r\n0;last\r\n\r\n')
    assert [b"abc0123456789"] == [answer.body for answer in Caller().send(request, get()).answers()][:1]


def test_head_is_answered_as_get_without_the_body() -> None:
    """The application routes a GET; the answer tells the length that GET would have."""
    caller = Caller().send(get(method="HEAD"), get())
    assert [("GET", b"/live")] * 2 == caller.application.opened
    head, full = caller.answers("HEAD", "GET")
    assert (b"", "13") == (head.body, head.headers["content-length"])
    assert b'{"live":true}' == full.body


def test_an_answer_without_content_has_no_length() -> None:
    """RFC 9110 §8.6: 204 carries neither body nor Content-Length."""
    caller = Caller().send(post("/later"))
    caller.application.pending.pop().respond(204, [], b"")
    assert b"HTTP/1.1 204 No Content\r\n\r\n" == caller.output


def test_connection_close_is_honoured() -> None:
    """The answer says so, the connection closes after it, and what follows the request is not read."""
    caller = Caller().send(get("/live", "Connection: x, Close") + get())
    assert ["close"] == [answer.headers["connection"] for answer in caller.answers()]
    assert caller.closed


@pytest.mark.parametrize(("field", "kept"), [("Accept: */*", False), ("Connection: Keep-Alive", True)])
def test_case_80_http_1_0_is_served_and_closes_unless_asked(field: str, kept: bool) -> None:
    """A kept HTTP/1.0 connection is told so; no Host is needed."""
    caller = Caller().send(get("/live", field, version="1.0").replace(b"Host: localhost:8000\r\n", b""))
    assert ("keep-alive" if kept else "close") == caller.answers()[0].headers["connection"]
    assert kept != caller.closed


def test_case_80_absolute_form_is_routed_by_its_path() -> None:
    """RFC 9112 §3.2.2: every server accepts it; a bare authority means the root."""
    caller = Caller().send(get("http://localhost:8000/live?x=1"), get("HTTP://other"), get("http://localhost?q"))
    assert [("GET", b"/live"), ("GET", b"/"), ("GET", b"/")] == caller.application.opened
    assert b"x=1" == caller.application.seen[0].query


def test_case_80_h2c_upgrade_is_ignored_body_and_all() -> None:
    """The request is served over HTTP/1.1, and its body is not taken for the next protocol."""
    caller = Caller().send(post("/echo", b"GET /", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMA") + get())
    assert [b"GET /", b'{"live":true}'] == [answer.body for answer in caller.answers()]


def test_one_empty_line_before_a_request_is_passed_over() -> None:
    """RFC 9112 §2.2, for clients that end a body with a line end; one, not any number."""
    caller = Caller().send(post() + b"\r\n" + post() + b"\r\n", b"\r\n" + get())
    assert [200, 200, 400] == caller.statuses()
    assert caller.closed


def test_expect_100_continue_is_answered_before_the_body() -> None:
    """The interim answer leaves at once, the final one after the body."""
    request = post("/echo", b"abcdef", "Expect: 100-Continue")
    caller = Caller().send(request[:-6])
    assert b"HTTP/1.1 100 Continue\r\n\r\n" == caller.output
    assert [b"abcdef"] == [answer.body for answer in caller.send(request[-6:]).answers()]


def test_expect_100_continue_waits_for_the_answers_before_it() -> None:
    """An interim answer belongs to its own request, so it may not overtake."""
    caller = Caller().send(post("/later", b"first"), post("/echo", b"abc", "Expect: 100-continue")[:-3])
    assert b"" == caller.output
    caller.application.answer()
    assert caller.output.endswith(b"firstHTTP/1.1 100 Continue\r\n\r\n")


def test_no_100_is_sent_for_a_body_that_is_here() -> None:
    """The caller did not wait, so nothing is to be told."""
    assert b"100 Continue" not in Caller().send(post("/echo", b"abc", "Expect: 100-continue")).output


def test_an_http_1_0_expectation_is_ignored() -> None:
    """RFC 9110 §10.1.1: a 100 would be taken for the answer."""
    caller = Caller().send(post("/echo", b"abc", "Expect: 100-continue", version="1.0"))
    assert caller.output.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "GZIP"])
def test_gzip_bodies_are_inflated(coding: str) -> None:
    """The application sees the plain bytes, and the headers as they were sent."""
    caller = Caller().send(post("/echo", gzip.compress(b"plain" * 20), f"Content-Encoding: {coding}"))
    assert b"plain" * 20 == caller.answers()[0].body
    assert coding.encode() == caller.application.seen[0].header(b"content-encoding")


def test_deflate_bodies_are_inflated_in_both_meanings() -> None:
    """zlib as RFC 9110 has it, and the raw stream that some clients send; also chunked, also byte by byte."""
    machine = zlib.compressobj(wbits=-15)
    raw = machine.compress(b"plain" * 20) + machine.flush()
    for packed in (zlib.compress(b"plain" * 20), raw):
        whole = post("/echo", packed, "Content-Encoding: deflate")
        assert b"plain" * 20 == Caller().send(whole).answers()[0].body
        pieces = chunked([packed[index : index + 1] for index in range(len(packed))], "/echo", "Content-Encoding: deflate")
        assert b"plain" * 20 == Caller().send(pieces).answers()[0].body


def test_answers_are_compressed_only_where_configured_and_asked() -> None:
    """Off by default; then by size, by Accept-Encoding, and with the headers that caches need."""
    asks = get("/large", "Accept-Encoding: br;q=1.0, gzip;q=0.8, *;q=0.1")
    plain = Caller().send(asks).answers()[0]
    limits = WireLimits(compress_over_bytes=1_024)
    packed, unasked, small = Caller(limits).send(asks, get("/large"), get("/live", "Accept-Encoding: gzip")).answers()
    assert "content-encoding" not in plain.headers
    assert ("gzip", "accept-encoding") == (packed.headers["content-encoding"], packed.headers["vary"])
    assert plain.body == gzip.decompress(packed.body) == unasked.body
    assert "content-encoding" not in small.headers


def test_cancellation_reaches_the_work_once() -> None:
    """A caller that goes away: flag, callback and freed body; a late answer goes nowhere."""
    caller = Caller().send(post("/later", b"abc") + post("/later", b"def"))
    calls: list[str] = []
    first, second = caller.application.pending
    first.on_cancel = lambda: calls.append("first")
    caller.connection.connection_lost()
    caller.connection.connection_lost()
    first.respond(200, TEXT, b"late")
    assert (["first"], True, True, b"") == (calls, first.cancelled, second.cancelled, first.body)
    assert (b"", 0) == (caller.output, caller.connection.buffered_bytes)


def test_a_cancel_callback_that_raises_spares_the_others() -> None:
    """One broken callback is logged, the next exchange is still told."""
    caller = Caller().send(post("/later", b"abc") + post("/later", b"def"))
    caller.application.pending[0].on_cancel = lambda: 1 / 0  # type: ignore[assignment,return-value]
    caller.connection.connection_lost()
    assert caller.application.pending[1].cancelled


def test_an_answered_exchange_is_not_cancelled() -> None:
    """Work that is done needs no dropping, even where its answer waits for its turn."""
    caller = Caller().send(post("/later", b"abc") + post("/later", b"def"))
    second = caller.application.pending[1]
    caller.application.answer(1)
    caller.connection.connection_lost()
    assert not second.cancelled


def test_drain_closes_an_idle_connection() -> None:
    """Nothing is in flight, so nothing is waited for."""
    caller = Caller().send(get())
    caller.connection.drain()
    assert caller.closed


def test_drain_answers_what_is_in_flight_then_closes() -> None:
    """The last answer announces the end, the others do not."""
    caller = Caller().send(post("/later", b"a") + post("/later", b"b"))
    caller.connection.drain()
    assert not caller.closed
    caller.application.answer()
    caller.application.answer()
    assert [None, "close"] == [answer.headers.get("connection") for answer in caller.answers()]
    assert caller.closed


def test_drain_lets_a_begun_request_finish() -> None:
    """Half a head or half a body is completed and answered with an announcement."""
    request = post(body=b"abcdef")
    for cut in (10, len(request) - 2):
        caller = Caller().send(request[:cut])
        caller.connection.drain()
        caller.send(request[cut:] + get())
        assert [("close", b"abcdef")] == [(answer.headers["connection"], answer.body) for answer in caller.answers()]
        assert caller.closed


def test_drain_during_a_refused_body_closes_after_it() -> None:
    """The answer is out already; the rest of the body is read over so that it is not lost."""
    caller = Caller().send(post("/unknown", b"x" * 100)[:-50])
    caller.connection.drain()
    assert not caller.closed
    assert caller.send(b"x" * 50).closed


def test_reading_pauses_while_too_many_requests_wait() -> None:
    """Past `max_pipelined` nothing more is looked at; reading goes on when half of them are answered; all are served."""
    caller = Caller(WireLimits(max_pipelined=4)).send(b"".join([post("/later", b"%d" % index) for index in range(10)]))
    assert (4, False) == (len(caller.application.pending), caller.reading)
    caller.application.answer()
    assert (3, False) == (len(caller.application.pending), caller.reading)
    caller.application.answer()
    assert 4 == len(caller.application.pending)
    while caller.application.pending:
        caller.application.answer()
    assert caller.reading
    assert [b"%d" % index for index in range(10)] == [answer.body for answer in caller.answers()]


def test_reading_pauses_while_too_many_bytes_wait() -> None:
    """Bodies of unanswered requests count as buffered."""
    caller = Caller(WireLimits(max_buffered_bytes=1_000)).send(b"".join([post("/later", b"x" * 600) for _ in range(4)]))
    assert (2, False) == (len(caller.application.pending), caller.reading)
    assert caller.connection.buffered_bytes > 1_200
    while caller.application.pending:
        caller.application.answer()
    assert ([200] * 4, 0) == (caller.statuses(), caller.connection.buffered_bytes)


def test_bytes_that_come_in_spite_of_a_pause_are_kept() -> None:
    """A read may be under way when reading is paused; it is not lost, and the pause is asked for again."""
    caller = Caller(WireLimits(max_pipelined=1)).send(post("/later", b"a") + post("/later", b"b"))
    caller.reading = True
    caller.send(post("/later", b"c"))
    assert not caller.reading
    while caller.application.pending:
        caller.application.answer()
    assert [b"a", b"b", b"c"] == [answer.body for answer in caller.answers()]


def test_nothing_is_read_while_the_transport_takes_no_answers() -> None:
    """Requests that came together stop being served when the peer does not read, and go on when it does."""
    caller = Caller()
    caller.connection.writable = False
    assert [] == caller.send(get() + get()).writes
    assert not caller.reading
    caller.connection.writable = True
    caller.connection.proceed()
    assert [200, 200] == caller.statuses()


def test_a_drained_connection_drops_what_it_held() -> None:
    """Requests past the bound were never begun; the announced end lets the caller send them elsewhere."""
    caller = Caller(WireLimits(max_pipelined=1)).send(post("/later", b"a") + post("/later", b"b"))
    caller.connection.drain()
    caller.application.answer()
    assert [b"a"] == [answer.body for answer in caller.answers()]
    assert caller.closed


def test_a_handler_that_raises_is_answered_without_its_text() -> None:
    """500 with nothing of the exception; the connection lives on."""
    caller = Caller().send(post("/crash"), post("/explode"), post("/refuse"), get())
    assert [500, 500, 400, 200] == caller.statuses()
    assert b"secret" not in caller.output


def test_an_answer_header_that_would_split_the_answer_is_not_sent() -> None:
    """A handler's mistake becomes a 500, never two answers."""
    caller = Caller().send(post("/later"))
    caller.application.pending.pop().respond(200, [(b"x-id", b"a\r\nset-cookie: b")], b"")
    assert [500] == caller.statuses()
    assert b"set-cookie" not in caller.output


def test_application_answers_may_differ_from_request_to_request() -> None:
    """Statuses and headers of one answer are never used for the next."""
    caller = Caller(application=Application()).send(b"".join([post("/later") for _ in range(4)]))
    answers = [(200, [(b"x", b"1")]), (200, [(b"x", b"2")]), (503, [(b"x", b"2")]), (200, [(b"x", b"1")])]
    for exchange, (status, headers) in zip(caller.application.pending, answers, strict=True):
        exchange.respond(status, headers, b"")
    assert [(200, "1"), (200, "2"), (503, "2"), (200, "1")] == [(answer.status, answer.headers["x"]) for answer in caller.answers()]
