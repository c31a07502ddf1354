"""What each failure is called on the wire: one table from `errors.Code` to HTTP and gRPC, and the reason phrases of HTTP.

Refuses to know why a request failed. A caller that should come back is told when, in both languages at once.
"""

from __future__ import annotations

import math

import msgspec

from gateway.errors import Code

NEVER = -1  # the gRPC retry pushback that tells a client to stop


class Answer(msgspec.Struct, frozen=True):
    """One failure in both languages."""

    http: int
    grpc: int  # number of a google.rpc.Code
    retry_after_s: int | None = None  # HTTP Retry-After
    pushback_ms: int | None = None  # grpc-retry-pushback-ms; NEVER forbids a retry, None leaves it to the caller's policy


ANSWERS: dict[Code, Answer] = {
    Code.OK: Answer(200, 0),
    Code.INVALID_ARGUMENT: Answer(400, 3),
    Code.NOT_FOUND: Answer(404, 5),
    Code.TOO_LARGE: Answer(413, 8, pushback_ms=NEVER),  # gRPC clients retry RESOURCE_EXHAUSTED, and this can never fit
    Code.OVERLOADED: Answer(429, 8, retry_after_s=1, pushback_ms=1_000),
    Code.UNAVAILABLE: Answer(503, 14, retry_after_s=1, pushback_ms=1_000),
    Code.DEADLINE_EXCEEDED: Answer(504, 4),
    Code.CANCELLED: Answer(499, 1),  # 499 is for the log; nobody is there to read it
    Code.INTERNAL: Answer(500, 13, pushback_ms=NEVER),  # the same input would fail the model again
    Code.UNIMPLEMENTED: Answer(501, 12),
    Code.UNAUTHENTICATED: Answer(401, 16),
    Code.PERMISSION_DENIED: Answer(403, 7),
    Code.ALREADY_EXISTS: Answer(409, 6),
    Code.FAILED_PRECONDITION: Answer(409, 9),
    Code.REQUEST_TIMEOUT: Answer(408, 14),  # UNAVAILABLE: nothing was executed, so sending it again is safe
}

REASONS: dict[int, bytes] = {
    100: b"Continue",
    200: b"OK",
    201: b"Created",
    202: b"Accepted",
    204: b"No Content",
    301: b"Moved Permanently",
    302: b"Found",
    303: b"See Other",
    304: b"Not Modified",
    307: b"Temporary Redirect",
    308: b"Permanent Redirect",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    406: b"Not Acceptable",
    408: b"Request Timeout",
    409: b"Conflict",
    410: b"Gone",
    411: b"Length Required",
    412: b"Precondition Failed",
    413: b"Content Too Large",
    414: b"URI Too Long",
    415: b"Unsupported Media Type",
    417: b"Expectation Failed",
    421: b"Misdirected Request",
    422: b"Unprocessable Content",
    424: b"Failed Dependency",
    428: b"Precondition Required",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    499: b"Client Closed Request",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
    507: b"Insufficient Storage",
}


def http_status(code: Code) -> int:
    """The status of an HTTP answer."""
    return ANSWERS[code].http


def grpc_status(code: Code) -> int:
    """The number for grpc-status."""
    return ANSWERS[code].grpc


def grpc_pushback(code: Code, wait_s: float | None = None) -> int | None:
    """Milliseconds for grpc-retry-pushback-ms, NEVER to forbid a retry, None to say nothing. `wait_s` is better than the usual."""
    return ANSWERS[code].pushback_ms if wait_s is None else math.ceil(wait_s * 1e3)


def retry_headers(code: Code, wait_s: float | None = None) -> list[tuple[bytes, bytes]]:
    """What an HTTP answer adds to its headers: Retry-After where coming back helps, in whole seconds. `wait_s` as for `grpc_pushback`."""
    seconds = ANSWERS[code].retry_after_s if wait_s is None else max(1, math.ceil(wait_s))
    return [] if seconds is None else [(b"retry-after", b"%d" % seconds)]
