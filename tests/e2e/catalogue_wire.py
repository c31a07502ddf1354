"""Cases 71–95: HTTP/1.1 framing, connections, TLS and HTTP/2."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

from tests.e2e import catalogue_floods as floods
from tests.e2e import catalogue_scenes as scenes
from tests.e2e.catalogue_bodies import GOOD_TEXT
from tests.e2e.catalogue_tls import bad_tls
from tests.e2e.peer_http1 import INFER, request
from tests.e2e.rows import GOOD, Call, Case, Rest, Scene, refused

PATH = INFER.format("rows")
BODY = GOOD_TEXT.encode()
HTTP1_ONLY = "framing of HTTP/1.1"
LIMIT = 32 << 20


def post(*lines: str | bytes, body: bytes = b"", host: str = "host: a", target: str = PATH) -> bytes:
    """A POST whose head is written line by line."""
    raw = [line if isinstance(line, bytes) else line.encode() for line in (f"POST {target} HTTP/1.1", *([host] if host else []), *lines)]
    return b"\r\n".join(raw) + b"\r\n\r\n" + body


def chunks(*pieces: bytes, last: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + last


def chunked(body: bytes, *lines: str) -> bytes:
    return post("transfer-encoding: chunked", "content-type: application/json", *lines, body=body)


def length(value: str, body: bytes = b"{}") -> bytes:
    return post(f"content-length: {value}", body=body)


def closed(label: str, status: int, data: bytes | Callable[[], bytes]) -> Rest:
    """Answered and closed: what follows cannot be told apart."""
    return refused(label, status, data, closes=True)


def target(label: str, value: str | bytes, status: int = 404, *, closes: bool = False) -> Rest:
    return refused(label, status, request("GET", value), closes=closes)


def coded(label: str, coding: str, body: bytes, status: int, *, counted: str = "", closes: bool = False) -> Rest:
    return Rest(label, request("POST", PATH, body, {"content-encoding": coding}), status, counted, closes)


def deflated(data: bytes) -> bytes:
    return zlib.compress(data)


def bomb() -> bytes:
    """32 MiB and 1 from 32 KiB."""
    return gzip.compress(b" " * (LIMIT + 1))


CASES = [
    Case(
        number=71,
        what="a Content-Length over the limit",
        grpc="case 47",
        http=[closed("limit and 1", 413, length(str(LIMIT + 1))), closed("2^60", 413, length(str(1 << 60)))],
    ),
    Case(
        number=72,
        what="a chunked body that grows past the limit",
        grpc="case 47",
        http=[closed("33 MiB", 413, lambda: chunked(chunks(*[bytes(1 << 20)] * 33)))],
    ),
    Case(
        number=73,
        what="a million chunks of one byte",
        grpc="case 91 has empty and small DATA frames",
        http=[
            closed("1,000,000", 413, lambda: chunked(b"1\r\n \r\n" * 1_000_000 + b"0\r\n\r\n")),
            Rest("1,000", chunked(b"1\r\n \r\n" * 1_000 + chunks(BODY)), 200, "OK"),
        ],
    ),
    Case(
        number=74,
        what="two lengths, or one that two parsers could read differently",
        grpc=[Call("content-length twice", GOOD, -1, metadata=[("content-length", "5"), ("content-length", "6")])],
        http=[
            closed(
                "Content-Length and Transfer-Encoding", 400, post("content-length: 2", "transfer-encoding: chunked", body=chunks(b"{}"))
            ),
            closed("twice", 400, post("content-length: 2", "content-length: 3", body=b"{}")),
            closed("twice the same", 400, post("content-length: 2", "content-length: 2", body=b"{}")),
            *(closed(repr(value), 400, length(value)) for value in ("+2", "0x2", "2, 2", "-2", "2 2", "٢", "", "1e1")),
            closed("gzip, chunked", 501, post("transfer-encoding: gzip, chunked", body=chunks(b"{}"))),
            closed("chunked twice", 501, post("transfer-encoding: chunked", "transfer-encoding: chunked", body=chunks(b"{}"))),
            closed("xchunked", 501, post("transfer-encoding: xchunked", body=chunks(b"{}"))),
            closed("blank before the colon", 400, post("content-length : 2", body=b"{}")),
            closed("folded", 400, post("content-length: 2", " 3", body=b"{}")),
        ],
    ),
    Case(
        number=75,
        what="broken chunks: size, extension, line end, trailers",
        grpc=HTTP1_ONLY,
        http=[
            *(
                closed(f"size {size!r}", 400, chunked(size + b"\r\n{}\r\n0\r\n\r\n"))
                for size in (b"g", b"-2", b"+2", b"0x2", b"", b" 2", b"2 2", b"f" * 17)
            ),
            closed("extension of 1 MiB", 400, lambda: chunked(b"2;" + b"e" * (1 << 20) + b"\r\n{}\r\n0\r\n\r\n")),
            closed("no line end behind the data", 400, chunked(b"2\r\n{}0\r\n\r\n")),
            closed("LF alone", 400, chunked(b"2\n{}\n0\n\n")),
            closed("trailers", 400, chunked(chunks(BODY, last=b"0\r\nx: y\r\n\r\n"))),
            Rest("extension", chunked(b"%x;a=b\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)), 200, "OK"),
        ],
    ),
    Case(
        number=76,
        what="slow peers: heads and bodies byte by byte, answers that are not read",
        grpc="case 94 and 95",
        http=[Scene("slow", scenes.slow_peers)],
        slow=True,
    ),
    Case(
        number=77,
        what="more connections than allowed",
        grpc=[Scene("idle", scenes.crowd)],
        http="one limit for both",
        note="a connection over the limit is closed at once; the metrics port has connections of its own",
        slow=True,
    ),
    Case(
        number=78,
        what="headers of 1 MiB, 1,000 headers, underscores",
        grpc="case 50",
        http=[
            closed("1 MiB", 431, lambda: request("GET", "/v2", headers={"k": "v" * (1 << 20)})),
            closed("17 KiB", 431, request("GET", "/v2", headers={"k": "v" * (17 << 10)})),
            closed("1,000", 431, request("GET", "/v2", headers={f"k{index}": "v" for index in range(1_000)})),
            refused("underscores", 200, request("GET", "/v2", headers={"content_length": "5", "transfer_encoding": "chunked"})),
        ],
    ),
    Case(
        number=79,
        what="targets: 100 KiB, NUL, escapes, dot segments, backslashes, overlong UTF-8",
        grpc="case 49",
        http=[
            closed("100 KiB", 414, request("GET", "/v2/" + "a" * 100_000)),
            closed("5 KiB", 414, request("GET", "/v2/" + "a" * 5_000)),
            target("NUL", b"/v2/\0", 400, closes=True),
            target("blank", b"/v2/models/a b", 400, closes=True),
            target("not ASCII", "/v2/models/é".encode(), 400, closes=True),
            *(
                target(value, value)
                for value in (
                    "/v2/models/%00",
                    "/v2/models/%2e%2e%2fetc",
                    "/v2/models/%252e",
                    "/v2/..;/admin",
                    "/v2\\models",
                    "/v2/models/%c0%ae",
                    "/v2/models/%ff",
                    "/v2/models/%E2%80%AE",
                    "/v2/models/../../etc/passwd",
                    "//v2",
                    "/V2",
                    "/v2/models/rows/%69nfer/x",
                    "/v2/models/%zz",
                    "/v2/health",
                    "/v2/health/live/",
                    "/v1",
                    "/v2/models//infer",
                    "/admin",
                    "/metrics",
                )
            ),
        ],
    ),
    Case(
        number=80,
        what="verbs and versions",
        grpc=[Call("GET", GOOD, 12, metadata=[(":method", "GET")])],
        http=[
            *(refused(verb, 405, request(verb, PATH)) for verb in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "FOO")),
            refused("POST to health", 405, request("POST", "/v2/health/live")),
            closed("TRACE", 405, request("TRACE", "/v2")),
            closed("CONNECT", 405, b"CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n"),
            closed("HTTP/1.2", 505, b"GET /v2 HTTP/1.2\r\nhost: a\r\n\r\n"),
            closed("HTTP/2.0", 505, b"GET /v2 HTTP/2.0\r\nhost: a\r\n\r\n"),
            closed("HTTP/1.0", 200, b"GET /v2 HTTP/1.0\r\n\r\n"),
            refused("absolute form", 200, b"GET http://a/v2 HTTP/1.1\r\nhost: a\r\n\r\n"),
            refused("OPTIONS *", 404, b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n"),
            Rest(
                "h2c upgrade",
                request(
                    "POST", PATH, BODY, {"connection": "upgrade, http2-settings", "upgrade": "h2c", "http2-settings": "AAMAAABkAAQAAP__"}
                ),
                200,
                "OK",
            ),
            Rest("HEAD", request("HEAD", "/v2/health/live"), 200, is_head=True),
            closed("lower case", 400, b"get /v2 HTTP/1.1\r\nhost: a\r\n\r\n"),
            Scene("HTTP/0.9", scenes.http09),
        ],
        note="an h2c upgrade is ignored: the request is served over HTTP/1.1",
    ),
    Case(
        number=81,
        what="Host: malformed, missing, twice",
        grpc=[Call("authority with a path", GOOD, 0, "OK", metadata=[(":authority", "a/../admin?")])],
        http=[
            *(
                closed(repr(host), 400, post("content-length: 0", host=f"host: {host}"))
                for host in ("a/../admin?", "a b", "a@b", "", "a:b", "[::1", "a#b", "a\\b")
            ),
            closed("missing", 400, post("content-length: 0", host="")),
            closed("twice", 400, post("host: b", "content-length: 0")),
            closed("absolute form with a bad host", 400, b"GET http://a/../b?@c/v2 HTTP/1.1\r\n\r\n"),
        ],
        note=":authority is never used for routing",
    ),
    Case(
        number=82,
        what="content types: wrong, missing, forms, pickles",
        grpc="a request with another content type than application/grpc is HTTP",
        http=[
            *(
                refused(kind, 415, request("POST", PATH, BODY, {"content-type": kind}))
                for kind in (
                    "text/plain",
                    "multipart/form-data; boundary=x",
                    "application/vnd.bentoml+pickle",
                    "application/xml",
                    "application/jsonx",
                    "application/grpc",
                )
            ),
            Rest("missing", post(f"content-length: {len(BODY)}", body=BODY), 200, "OK"),
            Rest("with parameters", request("POST", PATH, BODY, {"content-type": "Application/JSON; charset=utf-8"}), 200, "OK"),
        ],
    ),
    Case(
        number=83,
        what="content codings: gzip, deflate, others, twice, a bomb",
        grpc="case 48",
        http=[
            coded("gzip", "gzip", gzip.compress(BODY), 200, counted="OK"),
            coded("deflate", "deflate", deflated(BODY), 200, counted="OK"),
            *(coded(coding, coding, BODY, 415) for coding in ("br", "zstd", "gzip, gzip", "compress", "unknown")),
            Rest("bomb", lambda: request("POST", PATH, bomb(), {"content-encoding": "gzip"}), 413, "", True),
            Rest("bomb in chunks", lambda: chunked(chunks(bomb()), "content-encoding: gzip"), 413, "", True),
        ],
        note="gzip and deflate are accepted, within the body limit and a ratio of 100: what is served may cost that",
    ),
    Case(
        number=84,
        what="gzip that is corrupt, truncated, or goes on behind its end",
        grpc="case 48",
        http=[
            coded("corrupt", "gzip", gzip.compress(BODY)[:12] + b"\xff" * 20, 400, closes=True),
            coded("truncated", "gzip", gzip.compress(BODY)[:-6], 400, closes=True),
            coded("tail", "gzip", gzip.compress(BODY) + b"tail", 400, closes=True),
            coded("not gzip at all", "gzip", BODY, 400, closes=True),
            coded("truncated deflate", "deflate", deflated(BODY)[:-3], 400, closes=True),
        ],
    ),
    Case(
        number=85,
        what="Expect: 100-continue",
        grpc=HTTP1_ONLY,
        http=[
            closed("over the limit", 413, post("expect: 100-continue", f"content-length: {LIMIT + 1}")),
            closed("another expectation", 417, post("expect: 200-ok", "content-length: 2", body=b"{}")),
            Rest(
                "good", post("expect: 100-continue", "content-type: application/json", f"content-length: {len(BODY)}", body=BODY), 200, "OK"
            ),
        ],
    ),
    Case(
        number=86,
        what="a thousand pipelined requests; a peer that stops sending",
        grpc=[Scene("128 streams at once", scenes.all_streams)],
        http=[Scene("1,000 requests", scenes.pipelined), Scene("half-close", scenes.half_close)],
    ),
    Case(
        number=87,
        what="peers that leave in mid-body and in mid-answer",
        grpc=[Scene("RST_STREAM and close", scenes.leaving_http2)],
        http=[Scene("close", scenes.leaving_http1)],
    ),
    Case(
        number=88,
        what="headers that an inference server has no use for",
        grpc=[Call("range and accept", GOOD, 0, "OK", metadata=[("range", "bytes=0-1,2-"), ("accept", "text/html"), ("if-match", "*")])],
        http=[
            Rest(
                "range, conditions, accept",
                request(
                    "POST",
                    PATH,
                    BODY,
                    {"range": "bytes=" + "0-1," * 500, "if-none-match": "*", "accept": "text/html", "accept-encoding": "gzip;q=0.1," * 500},
                ),
                200,
                "OK",
            ),
        ],
    ),
    Case(
        number=89,
        what="TLS: plaintext, old versions, no, expired and foreign client certificates, a stalled handshake",
        grpc=[Scene("TLS", bad_tls)],
        http="one listener for both",
        slow=True,
    ),
    Case(number=90, what="rapid reset (CVE-2023-44487)", grpc=[Scene("100,000 streams", floods.rapid_reset)], http="HTTP/2 only"),
    Case(
        number=91,
        what="floods: CONTINUATION, HPACK bomb, empty DATA, SETTINGS, PRIORITY, windows of 0 and beyond 2^31, streams reset by us",
        grpc=[Scene(name, play) for name, play in floods.FLOODS.items()],
        http="HTTP/2 only",
    ),
    Case(number=92, what="PING flood", grpc=[Scene("10,000 PINGs", floods.pings)], http="HTTP/2 only"),
    Case(number=93, what="more streams than allowed at once", grpc=[Scene("200 streams", floods.too_many_streams)], http="case 86"),
    Case(
        number=94,
        what="a hundred streams whose message never comes",
        grpc=[Scene("no DATA", scenes.silent_streams)],
        http="case 76",
        slow=True,
    ),
    Case(
        number=95,
        what="a receive window of 0 and answers that are never read",
        grpc=[Scene("no window", scenes.no_window)],
        http="case 76",
        slow=True,
    ),
]
