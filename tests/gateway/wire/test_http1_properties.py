"""What holds for every stream of bytes and however it is cut."""

from __future__ import annotations

import gzip

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.limits import WireLimits
from tests.gateway.wire.http1_wire import Caller, chunked, get, post, read_answers

LIMITS = WireLimits(max_body_bytes=300, max_chunks=6, max_headers=8, max_header_bytes=200, max_target_bytes=40, max_pipelined=3)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

bodies = st.binary(max_size=400)
fields = st.sampled_from(
    [
        "X: y",
        "Connection: keep-alive",
        "Connection: close",
        "Expect: 100-continue",
        "Content-Encoding: gzip",
        "Host: x",
        "Content-Length: 3",
    ]
)
targets = st.sampled_from(["/echo", "/later", "/later", "/live", "/unknown", "/crash", "/echo?q", "/" + "x" * 60])
good = st.one_of(
    st.builds(post, targets, bodies),
    st.builds(lambda body: post("/echo", gzip.compress(body), "Content-Encoding: gzip"), st.binary(max_size=300)),
    st.builds(get, st.just("/live"), method=st.sampled_from(["GET", "OPTIONS"])),
    st.builds(chunked, st.lists(st.binary(min_size=1, max_size=90), max_size=7), targets),
)
odd = st.one_of(
    st.builds(post, targets, bodies, fields, fields, version=st.sampled_from(["1.1", "1.1", "1.0", "1.2"])),
    st.builds(lambda body: chunked([body], "/echo", "Content-Encoding: deflate"), st.binary(min_size=1, max_size=30)),
    st.sampled_from([b"\r\n", b"\n", b"GET / HTTP/1.1\n\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"0\r\n\r\n"]),
    st.binary(max_size=60),
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A request with one byte more, less or changed."""
    request = draw(good)
    at = draw(st.integers(0, len(request) - 1))
    insert = draw(st.sampled_from([b"", b"\r", b"\n", b"\r\n", b" ", b":", b"\x00", b"1", b"\xff", b"\t"]))
    return request[:at] + insert + request[at + draw(st.integers(0, 1)) :]


streams = st.lists(st.one_of(good, good, odd, mutated()), max_size=6).map(b"".join)


def run(pieces: list[bytes], order: list[int], *, keep_continue: bool = False) -> tuple[bytes, bool]:
    """Send, answer what is pending in some order, and give everything that came back but what says to go on."""
    caller = Caller(LIMITS).send(*pieces)
    while caller.application.pending:
        caller.application.answer(order[len(caller.application.seen) % len(order)] % len(caller.application.pending))
    return caller.output if keep_continue else caller.output.replace(CONTINUE, b""), caller.closed


@settings(max_examples=600)
@given(streams, st.lists(st.integers(0, 2000), max_size=12), st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_any_cut_of_the_stream_gives_the_same_answers(stream: bytes, cuts: list[int], order: list[int]) -> None:
    """One read, some reads, or one byte a read: the same bytes back and the same end."""
    edges = sorted({min(cut, len(stream)) for cut in cuts})
    pieces = [stream[start:end] for start, end in zip([0, *edges], [*edges, len(stream)], strict=True)]
    expected = run([stream], order)
    assert expected == run(pieces, order)
    assert expected == run([stream[index : index + 1] for index in range(len(stream))], [0])


@settings(max_examples=600)
@given(
    streams,
    st.lists(st.sampled_from(["answer", "drain", "eof", "lost", "tick", "late", "block", "unblock"]), max_size=8),
    st.integers(1, 200),
)
def test_no_stream_and_no_turn_of_events_raises_or_leaks(stream: bytes, events: list[str], cut: int) -> None:
    """Every exchange is answered or cancelled, at most one close is asked for, and nothing is kept after the end."""
    caller = Caller(LIMITS)
    acts = {"drain": caller.connection.drain, "eof": caller.connection.eof, "lost": caller.connection.connection_lost}
    for start in range(0, len(stream), cut):
        caller.send(stream[start : start + cut])
        event = events.pop() if events else ""
        if event == "answer" and caller.application.pending:
            caller.application.answer(-1)
        elif event in ("tick", "late"):
            caller.tick(2.0 if event == "tick" else 70.0)
        elif event in ("block", "unblock"):
            caller.connection.writable = event == "unblock"
            caller.connection.proceed()
        elif event in acts:
            acts[event]()
    before = caller.output
    caller.connection.connection_lost()
    assert caller.closes <= 1
    assert caller.connection.buffered_bytes == 0
    assert all(exchange.cancelled for exchange in caller.application.pending)
    for exchange in caller.application.seen:
        exchange.respond(200, [], b"late")
    assert before == caller.output


@settings(max_examples=300)
@given(streams)
def test_whatever_comes_back_can_be_read(stream: bytes) -> None:
    """Every answer is whole and well-formed to the standard library's reader; errors carry their text as JSON."""
    assume(b"HEAD" not in stream)
    output, _ = run([stream], [0], keep_continue=True)
    for answer in read_answers(output):
        assert answer.status in (200, 400, 404, 405, 408, 413, 414, 415, 417, 431, 500, 501, 505)
        assert answer.status == 200 or answer.body.startswith(b'{"error": "')


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.binary(min_size=1, max_size=300), st.sampled_from(["", ";a=b", ' ; c="d;e"'])), max_size=20), st.integers(1, 50)
)
def test_chunks_of_any_size_give_the_body_back(pieces: list[tuple[bytes, str]], cut: int) -> None:
    """Framing is undone exactly, cut anywhere, and the next request is found behind it."""
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    framed = b"".join([b"%X%b\r\n%b\r\n" % (len(piece), extension.encode(), piece) for piece, extension in pieces])
    stream = head + framed + b"00\r\n\r\n" + get()
    caller = Caller().send(*[stream[start : start + cut] for start in range(0, len(stream), cut)])
    assert [b"".join([piece for piece, _ in pieces]), b'{"live":true}'] == [answer.body for answer in caller.answers()]


@settings(max_examples=300)
@given(st.permutations(range(8)), st.sets(st.integers(0, 7)))
def test_answers_are_in_order_and_written_as_they_become_ready(order: list[int], cancelled: set[int]) -> None:
    """One write for all that an answer releases; a request answered early waits for those before it."""
    caller = Caller().send(b"".join([post("/later", b"%d" % index) for index in range(8)]))
    exchanges = list(caller.application.pending)
    done: set[int] = set()
    written = 0
    for turn, index in enumerate(order):
        writes = len(caller.writes)
        exchanges[index].respond(200, [], exchanges[index].body)
        exchanges[index].respond(500, [], b"again")
        done.add(index)
        ready = next((number for number in range(8) if number not in done), 8)
        assert (1 if ready > written else 0) == len(caller.writes) - writes
        written = ready
        if turn in cancelled:
            caller.tick(1.0)
    assert [b"%d" % index for index in range(8)] == [answer.body for answer in caller.answers()]
