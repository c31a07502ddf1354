"""A caller and an application at the two ends of an `Http1Connection`: bytes in, answers out, a clock that tests move."""

from __future__ import annotations

import http.client
import io
import json
from dataclasses import dataclass, field

from gateway.limits import WireLimits
from gateway.wire.exchange import Headers, HttpExchange, HttpHandler, HttpRefusal
from gateway.wire.http1 import Http1Connection

JSON = [(b"content-type", b"application/json")]
TEXT = [(b"content-type", b"text/plain")]


@dataclass
class Application:
    """Routes of a small server, by raw target."""

    opened: list[tuple[str, bytes]] = field(default_factory=list)
    seen: list[HttpExchange] = field(default_factory=list)
    pending: list[HttpExchange] = field(default_factory=list)

    def open_http(self, method: str, target: bytes, headers: Headers) -> HttpHandler:
        self.opened.append((method, target))
        if target == b"/explode":
            raise RuntimeError("/srv/secret is not safe to show")
        routes = {b"/live": ("GET", self.live), b"/echo": ("POST", self.echo), b"/later": ("POST", self.later)}
        routes |= {b"/crash": ("POST", self.crash), b"/refuse": ("POST", self.refuse), b"/large": ("GET", self.large)}
        if target not in routes:
            raise HttpRefusal(404, "Not Found")
        allowed, handler = routes[target]
        if method != allowed:
            raise HttpRefusal(405, "method is not supported", [(b"allow", allowed.encode())])
        if dict(headers).get(b"content-type", b"application/json").partition(b";")[0] not in (
            b"application/json",
            b"application/octet-stream",
        ):
            raise HttpRefusal(415, "content type is not supported")
        return handler

    def live(self, exchange: HttpExchange) -> None:
        self.seen.append(exchange)
        exchange.respond(200, JSON, b'{"live":true}')

    def echo(self, exchange: HttpExchange) -> None:
        self.seen.append(exchange)
        exchange.respond(200, TEXT, exchange.body)

    def later(self, exchange: HttpExchange) -> None:
        self.seen.append(exchange)
        self.pending.append(exchange)

    def crash(self, exchange: HttpExchange) -> None:
        raise RuntimeError("/srv/secret is not safe to show")

    def refuse(self, exchange: HttpExchange) -> None:
        raise HttpRefusal(400, "the handler refuses")

    def large(self, exchange: HttpExchange) -> None:
        exchange.respond(200, JSON, b"[%b]" % b",".join([b"0.125"] * 4_000))

    def answer(self, index: int = 0) -> None:
        """Answer one pending exchange with its own body."""
        exchange = self.pending.pop(index)
        exchange.respond(200, TEXT, exchange.body)


@dataclass
class Answer:
    """One answer as `http.client` reads it."""

    status: int
    headers: dict[str, str]
    body: bytes


class Caller:
    """Speaks to one connection."""

    def __init__(self, limits: WireLimits | None = None, application: Application | None = None) -> None:
        self.application = application or Application()
        self.writes: list[bytes] = []
        self.closes = 0
        self.reading = True
        self.now = 1_000.0
        self.connection = Http1Connection(
            limits or WireLimits(), self.application, now=lambda: self.now, write=self.writes.append, close=self._close, pause=self._pause,
            resume=self._resume,
        )  # fmt: skip

    @property
    def closed(self) -> bool:
        return self.closes > 0

    @property
    def output(self) -> bytes:
        return b"".join(self.writes)

    def send(self, *pieces: bytes) -> Caller:
        for piece in pieces:
            self.connection.receive(piece)
        return self

    def tick(self, seconds: float) -> Caller:
        """Let time pass, a second a tick."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + 1.0)
            self.connection.tick(self.now)
        return self

    def answers(self, *methods: str) -> list[Answer]:
        return read_answers(self.output, *methods)

    def statuses(self) -> list[int]:
        return [answer.status for answer in self.answers()]

    def _close(self) -> None:
        self.closes += 1

    def _pause(self) -> None:
        self.reading = False

    def _resume(self) -> None:
        self.reading = True


class _Socket:
    """What `http.client` needs of a socket, over bytes that are all here."""

    def __init__(self, data: bytes) -> None:
        self.stream = io.BufferedReader(io.BytesIO(data))
        self.stream.close = lambda: None  # type: ignore[method-assign]

    def makefile(self, mode: str) -> io.BufferedReader:
        return self.stream


def read_answers(data: bytes, *methods: str) -> list[Answer]:
    """Every answer in `data`, read by the standard library; `methods` of the requests where not all are GET or POST."""
    sock = _Socket(data)
    names = list(methods)
    answers = []
    while sock.stream.peek(1):
        response = http.client.HTTPResponse(sock, method=names.pop(0) if names else "GET")  # type: ignore[arg-type]
        response.begin()
        body = response.read()
        answers.append(Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body))
    return answers


def post(target: str = "/echo", body: bytes = b"{}", *fields: str, version: str = "1.1") -> bytes:
    """A request with a length."""
    lines = [f"POST {target} HTTP/{version}", "Host: localhost:8000", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def get(target: str = "/live", *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    """A request without a body."""
    return "\r\n".join([f"{method} {target} HTTP/{version}", "Host: localhost:8000", *fields, "", ""]).encode("latin-1")


def chunked(chunks: list[bytes], target: str = "/echo", *fields: str) -> bytes:
    """A request in chunks."""
    head = [f"POST {target} HTTP/1.1", "Host: localhost:8000", "Transfer-Encoding: chunked", *fields, "", ""]
    return "\r\n".join(head).encode() + b"".join([b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks]) + b"0\r\n\r\n"


def refused(request: bytes, status: int, limits: WireLimits | None = None) -> Caller:
    """Send, expect one error answer that ends the connection, and nothing kept."""
    caller = Caller(limits).send(request)
    answer = caller.answers()[-1]
    assert (status, "close") == (answer.status, answer.headers.get("connection"))
    assert ["error"] == list(json.loads(answer.body))
    assert 0 == caller.connection.buffered_bytes
    assert [200] == Caller(limits).send(get()).statuses()
    return caller
