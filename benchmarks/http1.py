"""What HTTP/1.1 costs a request without sockets: `Http1Connection` beside a bare httptools protocol.

The bare protocol has no limits, timeouts, routes, order of answers or exchanges: it is the price of splitting, not of serving.
`python -m benchmarks.http1` prints one JSON object as its last line and writes benchmarks/results/http1.json; `--quick --json -` only
prints. Rounds alternate; a ratio is the median of those within each round. Figures are microseconds of CPU a request.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httptools

from benchmarks import command
from benchmarks.machine import describe_machine, describe_versions
from gateway.limits import WireLimits
from gateway.wire.exchange import Headers, HttpExchange, HttpHandler
from gateway.wire.http1 import Http1Connection

RESULT = Path(__file__).parent / "results" / "http1.json"
ROUNDS, REQUESTS = 15, 20_000
QUICK_ROUNDS = 7

_BODY = b'{"inputs":[{"name":"x","shape":[1,16],"datatype":"FP32","data":[' + b",".join([b"0.125"] * 16) + b"]}]}"
_ANSWER = b'{"model_name":"lr","outputs":[{"name":"p","datatype":"FP32","shape":[1,2],"data":[0.1,0.9]}]}'
_JSON = [(b"content-type", b"application/json")]
_CLIENT = b"User-Agent: python-requests/2.32\r\nAccept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive\r\n"


class Bare:
    """The least that serves the same requests with httptools: no limits, no order, no checks."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._parser = httptools.HttpRequestParser(self)
        self.receive = self._parser.feed_data
        self._headers: Headers = []
        self._body: list[bytes] = []

    def on_message_begin(self) -> None:
        self._headers, self._body = [], []

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_body(self, piece: bytes) -> None:
        self._body.append(piece)

    def on_message_complete(self) -> None:
        assert self._parser.get_method() == b"POST"
        assert len(b"".join(self._body)) == len(_BODY)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(_ANSWER)
        self._write(head + _ANSWER)


class Echoless:
    """An application that answers every request at once."""

    def open_http(self, method: str, target: bytes, headers: Headers) -> HttpHandler:
        return _answer


def _answer(exchange: HttpExchange) -> None:
    exchange.respond(200, _JSON, _ANSWER)


def requests(kind: str) -> list[bytes]:
    """The reads of one run, one request each."""
    fields = {"constant": b"", "changing": b"X-Request-Id: %032x\r\n", "many": _CLIENT + b"X-Request-Id: %032x\r\n"}[kind]
    head = b"POST /v2/models/lr/infer HTTP/1.1\r\nHost: localhost:8000\r\n%bContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return [head % (fields % index if fields else b"", len(_BODY)) + _BODY for index in range(REQUESTS)]


def measure(rounds: int) -> dict[str, Any]:
    """Both, on every kind of head, in turns."""
    measurements: dict[str, Any] = {}
    for kind in ("constant", "changing", "many"):
        reads = requests(kind)
        runs = [{"gateway_us": _run(_gateway, reads), "httptools_us": _run(Bare, reads)} for _ in range(rounds)]
        median = {key: round(statistics.median(run[key] for run in runs), 3) for key in runs[0]}
        ratio = round(statistics.median(run["gateway_us"] / run["httptools_us"] for run in runs), 3)
        measurements[kind] = {"runs": runs, "median": median, "ratio": ratio}
    return measurements


def _gateway(write: Callable[[bytes], None]) -> Http1Connection:
    return Http1Connection(
        WireLimits(), Echoless(), now=time.monotonic, write=write, close=_nothing, pause=_nothing, resume=_nothing
    )  # fmt: skip


def _run(make: Callable[[Callable[[bytes], None]], Any], reads: list[bytes]) -> float:
    answers: list[int] = []
    connection = make(lambda data: answers.append(len(data)))
    start = time.process_time()
    for read in reads:
        connection.receive(read)
    spent = time.process_time() - start
    assert len(answers) == len(reads), "every request is answered by itself"
    return round(spent / len(reads) * 1e6, 3)


def _nothing() -> None:
    """No transport to steer."""


def main(arguments: list[str] | None = None) -> int:
    """Run, write, print."""
    options = command.parser(__doc__).parse_args(arguments)
    machine = describe_machine()
    measurements = measure(QUICK_ROUNDS if options.quick else ROUNDS)
    result = {"machine": machine, "versions": describe_versions(), "measurements": measurements, "bars": []}
    return command.conclude(result, options.json, RESULT)


if __name__ == "__main__":
    sys.exit(main())
