"""Bad inputs 76 to 81 and 86 to 88 of the catalogue: heads, timing and ends of one HTTP/1.1 connection."""

from __future__ import annotations

import json

import pytest

from gateway.limits import KIB, MIB, WireLimits
from tests.gateway.wire.http1_wire import Application, Caller, get, post, refused


def test_case_76_a_slow_head_is_timed_out_however_it_trickles() -> None:
    """The clock of a head starts with its first byte and no later byte restarts it."""
    caller = Caller()
    for byte in get("/live", "X: " + "y" * 40)[:30]:
        caller.send(bytes([byte])).tick(0.25)
    assert [408] == caller.statuses()
    assert caller.closed


def test_case_76_a_slow_body_is_timed_out_below_the_rate() -> None:
    """A body may take `body_timeout_s`, and more only in step with its bytes."""
    limits = WireLimits(body_timeout_s=10.0, min_body_rate=1_000)
    slow = Caller(limits).send(post(body=b"x" * 50_000)[:-49_000])
    assert [408] == slow.tick(13.0).statuses()
    assert slow.closed
    fast = Caller(limits).send(post(body=b"x" * 50_000)[:-50_000])
    for _ in range(25):
        fast.send(b"x" * 2_000).tick(2.0)
    assert [200] == fast.statuses()


def test_case_76_a_refused_body_that_never_ends_is_timed_out() -> None:
    """The answer is out already, so the connection just ends."""
    caller = Caller().send(post("/unknown", b"x" * 100)[:-10]).tick(WireLimits().body_timeout_s + 2)
    assert [404] == caller.statuses()
    assert caller.closed


def test_case_76_a_slow_head_behind_work_is_answered_in_order() -> None:
    """The 408 waits for the answers before it."""
    caller = Caller().send(post("/later", b"a") + b"GET").tick(WireLimits().header_timeout_s + 2)
    assert (b"", False) == (caller.output, caller.closed)
    caller.application.answer()
    assert [200, 408] == caller.statuses()
    assert caller.closed


def test_case_77_an_idle_connection_is_closed_and_a_busy_one_is_not() -> None:
    """Idleness begins with the last byte or the last answer, whichever is later."""
    idle_s = WireLimits().idle_timeout_s
    assert not Caller().tick(idle_s - 2).closed
    assert Caller().tick(idle_s + 2).closed
    busy = Caller().send(post("/later")).tick(3 * idle_s)
    assert not busy.closed
    busy.application.answer()
    assert not busy.tick(idle_s - 3).closed
    assert busy.tick(6).closed


def test_case_77_a_held_connection_has_no_deadline_of_its_own() -> None:
    """What we do not read cannot be late."""
    caller = Caller(WireLimits(max_pipelined=1)).send(post("/later", b"a") + post("/later", b"b")).tick(300)
    caller.application.answer()
    caller.application.answer()
    assert [200, 200] == caller.statuses()


@pytest.mark.parametrize("cut", [1, 1_000, 10**9])
def test_case_78_large_heads_are_refused(cut: int) -> None:
    """A megabyte of one field, or of many: 431, at the bound and not after the end."""
    for fields in (["X: " + "y" * MIB], [f"X{index}: y" for index in range(1_000)], ["X: " + "y" * 1_000] * 40):
        request = get("/live", *fields)
        caller = Caller()
        for start in range(0, len(request), cut):
            if not caller.closed:
                caller.send(request[start : start + cut])
        assert [431] == caller.statuses()
        assert caller.closed


def test_case_78_the_bounds_of_a_head_are_exact() -> None:
    """`max_headers` fields and `max_header_bytes` are served, one more of either is not."""
    limits = WireLimits(max_headers=4, max_header_bytes=100)
    host = len("hostlocalhost:8000")
    assert [200] == Caller(limits).send(get("/live", "A: 1", "B: 2", "C: 3")).statuses()
    assert [431] == Caller(limits).send(get("/live", "A: 1", "B: 2", "C: 3", "D: 4")).statuses()
    assert [200] == Caller(limits).send(get("/live", "A: " + "x" * (100 - host - 1))).statuses()
    assert [431] == Caller(limits).send(get("/live", "A: " + "x" * (100 - host))).statuses()


def test_case_78_names_with_underscores_stay_their_own() -> None:
    """No CGI-like merging: content_length is not Content-Length."""
    caller = Caller().send(post("/echo", b"abc", "Content_Length: 1", "Transfer_Encoding: chunked"))
    assert [b"abc"] == [answer.body for answer in caller.answers()]


def test_case_79_a_long_target_is_refused() -> None:
    """414 past `max_target_bytes`, without waiting for its end."""
    limit = WireLimits().max_target_bytes
    assert [404] == Caller().send(get("/" + "x" * (limit - 1))).statuses()
    assert [414] == Caller().send(get("/" + "x" * limit)).statuses()
    caller = Caller().send(b"GET /" + b"x" * 100 * KIB)
    assert [414] == caller.statuses()
    assert caller.closed


@pytest.mark.parametrize(
    "target", ["/%00", "/%2e%2e%2f", "/%252e", "/..;/live", "/\\live", "/%c0%ae", "/%E2%80%AE", "//live", "/./live", "/live/"]
)
def test_case_79_odd_targets_reach_the_routes_as_they_are(target: str) -> None:
    """The wire decodes nothing, so nothing can be decoded twice."""
    caller = Caller().send(get(target))
    assert [("GET", target.encode())] == caller.application.opened
    assert [404] == caller.statuses()


@pytest.mark.parametrize(
    "target", ["live", "*", "/a b", "/\x00", "/\x7f", "/caf\u00e9", "/a#b", "ftp://x/", "http:///live", "http://a@b/", ""]
)
def test_case_79_malformed_targets_are_refused(target: str) -> None:
    """Blanks, control characters, bytes over 0x7F, fragments, other schemes, credentials in a host."""
    assert refused(get(target), 400).closed


def test_case_80_a_wrong_verb_is_told_the_right_one() -> None:
    """405 with Allow from the routes; the connection lives on."""
    caller = Caller().send(get("/echo"), get("/echo", method="HEAD"), get("/live", method="PROPFIND"), get("/live", method="BREW"))
    answers = caller.answers("GET", "HEAD", "PROPFIND", "BREW")
    assert [(405, "POST"), (405, "POST"), (405, "GET"), (405, "GET")] == [(answer.status, answer.headers["allow"]) for answer in answers]
    assert b"" == answers[1].body
    assert not caller.closed


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("CONNECT x:443 HTTP/1.1", 405),
        ("TRACE /live HTTP/1.1", 405),
        ("GET /live", 400),
        ("GET /live HTTP/0.9", 400),
        ("GET /live HTTP/1.2", 505),
        ("GET /live HTTP/2.0", 505),
        ("GET /live HTTP/11", 400),
        ("GET /live http/1.1", 400),
        ("GET /live ICE/1.0", 400),
        ("GET  /live HTTP/1.1", 400),
        ("GET /live HTTP/1.1 ", 400),
        ("GET\t/live HTTP/1.1", 400),
        (" GET /live HTTP/1.1", 400),
        ("get /live HTTP/1.1", 400),
        ("PRI * HTTP/2.0", 400),
        ("\x16\x03\x01\x02", 400),
    ],
)
def test_case_80_odd_request_lines_are_refused(request_line: str, status: int) -> None:
    """CONNECT and TRACE, other versions, HTTP/2 in the middle, TLS on a plain port."""
    caller = refused(f"{request_line}\r\nHost: x\r\n\r\n".encode("latin-1"), status)
    assert caller.closed
    assert [] == caller.application.opened


def test_case_80_http_0_9_and_garbage_do_not_wait_for_a_timeout() -> None:
    """A first line that cannot be one is refused when it ends, a first byte that cannot be one at once."""
    assert [400] == Caller().send(b"GET /live\r\n").statuses()
    assert [400] == Caller().send(b"\x16").statuses()


def test_case_80_options_asterisk_reaches_the_routes() -> None:
    """The only method with that target."""
    caller = Caller().send(get("*", method="OPTIONS"))
    assert [("OPTIONS", b"*")] == caller.application.opened


@pytest.mark.parametrize("host", ["a/../admin?", "a b", "a@b", "a,b:x", "[::1", "a:123456", "", "a\\b", "a<b"])
def test_case_81_a_malformed_host_is_refused(host: str) -> None:
    """Whatever could end up in a link or a route elsewhere."""
    assert refused(f"GET /live HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(), 400).closed


@pytest.mark.parametrize("host", ["a", "a.b:80", "[::1]:8000", "127.0.0.1", "x_y", "a:"])
def test_case_81_a_good_host_is_served(host: str) -> None:
    """Names, addresses, ports."""
    assert [200] == Caller().send(f"GET /live HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()).statuses()


def test_case_81_exactly_one_host() -> None:
    """None in HTTP/1.1, or two in any version, even where both agree."""
    assert refused(b"GET /live HTTP/1.1\r\n\r\n", 400).closed
    assert refused(get("/live", "Host: localhost:8000"), 400).closed
    assert refused(get("/live", "Host: localhost:8000", version="1.0"), 400).closed


def test_case_86_a_thousand_pipelined_requests_are_served_in_order() -> None:
    """At once or one by one, and with an end after the last."""
    requests = [post(body=b"%d" % index) for index in range(999)]
    caller = Caller().send(b"".join([*requests, get("/live", "Connection: close")]))
    answers = caller.answers()
    assert [b"%d" % index for index in range(999)] == [answer.body for answer in answers[:-1]]
    assert ("close", True) == (answers[-1].headers["connection"], caller.closed)


def test_case_86_a_half_close_with_work_in_flight_cancels_it() -> None:
    """A caller that gave up looks exactly so; its work is dropped before it is computed."""
    caller = Caller().send(post("/later", b"a") + post("/later", b"b"))
    caller.connection.eof()
    assert (True, True) == (caller.closed, all(exchange.cancelled for exchange in caller.application.seen))


def test_case_86_a_half_close_after_an_announced_end_is_served() -> None:
    """Connection: close, then the end of sending: the caller waits for its answer."""
    caller = Caller().send(post("/later", b"a", "Connection: close"))
    assert caller.connection.eof()
    assert not caller.closed
    caller.application.answer()
    assert ([b"a"], True) == ([answer.body for answer in caller.answers()], caller.closed)


def test_case_86_a_half_close_between_requests_ends_the_connection() -> None:
    """Nothing is left to do; a second end changes nothing."""
    caller = Caller().send(get())
    assert not caller.connection.eof()
    assert not caller.connection.eof()
    assert ([200], 1) == (caller.statuses(), caller.closes)


@pytest.mark.parametrize("cut", [1, 60, 120])
def test_case_87_a_disconnect_within_a_request_leaves_nothing(cut: int) -> None:
    """No exchange was made, no bytes are kept, nothing is answered."""
    for lost in (True, False):
        caller = Caller().send(post(body=b"x" * 100)[:cut])
        caller.connection.connection_lost() if lost else caller.connection.eof()
        assert ([], 0, b"") == (caller.application.seen, caller.connection.buffered_bytes, caller.output)
        assert b"" == caller.send(get()).output


def test_case_87_a_disconnect_before_the_answer_cancels_the_work() -> None:
    """The exchange tells whoever works on it; the answer goes nowhere."""
    caller = Caller().send(post("/later", b"abc"))
    told: list[bool] = []
    exchange = caller.application.pending[0]
    exchange.on_cancel = lambda: told.append(exchange.cancelled)
    caller.connection.connection_lost()
    exchange.respond(200, [], b"late")
    assert ([True], b"") == (told, caller.output)


def test_case_88_conditional_and_negotiating_fields_are_ignored() -> None:
    """Range, If-*, Accept and a bomb of Accept-Encoding entries change nothing."""
    bomb = "Accept-Encoding: " + ",".join(["gzip;q=0.00001"] * 600)
    fields = ["Range: bytes=0-0,1-1,2-2", "If-None-Match: *", "If-Modified-Since: yesterday", "Accept: text/html;q=0.9", bomb]
    caller = Caller(WireLimits(compress_over_bytes=1)).send(get("/live", *fields))
    assert [(200, b'{"live":true}')] == [(answer.status, answer.body) for answer in caller.answers()]


def test_error_bodies_are_json_and_tell_nothing_of_the_inside() -> None:
    """Content type, one key, at most 512 bytes of text."""
    application = Application()
    answer = Caller(application=application).send(post("/explode")).answers()[0]
    assert (500, "application/json", {"error": "internal error"}) == (
        answer.status,
        answer.headers["content-type"],
        json.loads(answer.body),
    )


def test_who_answers_a_head_is_asked_once_while_its_bodies_come_whole() -> None:
    """A body that is not here yet may be one that nobody wants to read, so the application is asked again; refusals are not remembered."""
    application = Application()
    caller = Caller(application=application)
    for _ in range(5):
        caller.send(post("/echo", b"body"))
    assert 2 == len(application.opened)  # when it was parsed, and when it was found again
    whole = post("/echo", b"body")
    caller.send(whole[:-2], whole[-2:])
    assert 3 == len(application.opened)
    for _ in range(3):
        caller.send(post("/unknown", b"body"), get("/live"), post("/refuse", b"body"))
    assert ([200] * 6 + [404, 200, 400] * 3, 3) == (caller.statuses(), application.opened.count(("POST", b"/unknown")))
    assert [b"body"] * 6 == [exchange.body for exchange in application.seen if exchange.target == b"/echo"]
