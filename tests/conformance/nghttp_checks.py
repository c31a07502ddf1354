"""What nghttp must see, frame by frame: windows, padding, priorities, trailers, large headers, many streams."""

from __future__ import annotations

import re
import struct
import subprocess
import tempfile
import time
from pathlib import Path

import curl_checks as bodies
from outcome import contains, equal
from servers import Gateway

TIMEOUT_S = 30
_GRPC = ("-H", ":method: POST", "-H", "content-type: application/grpc", "-H", "te: trailers")


def nghttp(*arguments: str, body: bytes | None = None, end: int = 0) -> str:
    """The log of one run, in which the connection must have ended without an error."""
    with tempfile.TemporaryDirectory() as scratch:
        data = []
        if body is not None:
            path = Path(scratch) / "body"
            path.write_bytes(body)
            data = ["-d", str(path)]
        command = ["nghttp", "-v", "-t", str(TIMEOUT_S), *data, *arguments]
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S + 10, check=False)
    log = done.stdout.decode("latin-1") + done.stderr.decode("latin-1")
    equal(end, done.returncode, log[-1500:])
    errors = [line for line in re.findall(r"recv (?:RST_STREAM|GOAWAY) frame.*\n.*", log) if "NO_ERROR" not in line]
    equal([], errors)
    return log


def statuses(log: str) -> list[str]:
    """The status of every answer."""
    return re.findall(r"recv \(stream_id=\d+\) :status: (\d+)", log)


def get(gateway: Gateway) -> None:
    """SETTINGS both ways and their acknowledgement, then the answer."""
    log = nghttp("-n", f"http://{gateway.http}/v2/health/live")
    equal(["200"], statuses(log))
    settings = re.findall(r"(send|recv) SETTINGS frame <length=\d+, flags=(0x0\d)", log)
    equal({("send", "0x00"), ("recv", "0x00"), ("recv", "0x01")}, set(settings) - {("send", "0x01")})  # it may leave before its own


def many_requests(gateway: Gateway) -> None:
    """1,000 requests on one connection, as many at once as the server allows."""
    equal(["200"] * 1000, statuses(nghttp("-n", "-m", "1000", f"http://{gateway.http}/v2/models/plus_one")))


def many_bodies(gateway: Gateway) -> None:
    """200 inferences on one connection."""
    log = nghttp("-n", "-m", "200", "-H", "content-type: application/json", bodies.infer(gateway.http), body=bodies.ROW)
    equal(["200"] * 200, statuses(log))


def small_windows(gateway: Gateway) -> None:
    """2 MiB both ways to a peer whose windows hold 1,023 bytes of a stream and 4,095 of the connection."""
    headers = [part.lower() if part != "-H" else part for part in bodies.LARGE_HEADERS]
    log = nghttp("-n", "-s", "-w", "10", "-W", "12", *headers, bodies.infer(gateway.http, "echo"), body=bodies.LARGE)
    equal(["200"], statuses(log))
    received = [int(length) for length in re.findall(r"recv DATA frame <length=(\d+)", log)]
    equal(True, sum(received) > 1 << 21 and max(received) <= 1023)


def large_windows(gateway: Gateway) -> None:
    """The same to a peer with windows of 1 GiB, and two at once to one of 16 KiB."""
    headers = [part.lower() if part != "-H" else part for part in bodies.LARGE_HEADERS]
    url = bodies.infer(gateway.http, "echo")
    equal(["200"], statuses(nghttp("-n", "-w", "30", "-W", "30", *headers, url, body=bodies.LARGE)))
    equal(["200", "200"], statuses(nghttp("-n", "-m", "2", "-w", "14", "-W", "14", *headers, url, body=bodies.LARGE)))


def upload_windows_open(gateway: Gateway) -> None:
    """Our windows open again as a body is read: 24 MiB is more than both of them."""
    values = 6 << 20
    head = b'{"inputs":[{"name":"DATA","datatype":"FP32","shape":[1,%d],"parameters":{"binary_data_size":%d}}],' % (values, 4 * values)
    head += b'"parameters":{"binary_data_output":true}}'
    headers = ("-H", f"inference-header-content-length: {len(head)}", "-H", "content-type: application/octet-stream")
    log = nghttp("-n", *headers, bodies.infer(gateway.http, "echo"), body=head + bytes(4 * values))
    equal(["200"], statuses(log))
    contains("recv WINDOW_UPDATE frame", log)


def too_large(gateway: Gateway) -> None:
    """A body over the limit: 413 before it has been sent, and RST_STREAM NO_ERROR to stop the rest."""
    head = ("-H", "content-type: application/octet-stream", "-H", "inference-header-content-length: 100")
    log = nghttp("-n", *head, bodies.infer(gateway.http, "echo"), body=bytes(40 << 20))
    equal(["413"], statuses(log))


def padding(gateway: Gateway) -> None:
    """Padded HEADERS and DATA."""
    headers = ("-H", "content-type: application/json", "-b", "255")
    equal(["200"], statuses(nghttp("-n", *headers, bodies.infer(gateway.http), body=bodies.ROW)))


def priorities(gateway: Gateway) -> None:
    """PRIORITY frames, weights and dependencies are read and ignored; a client that sends none is served too."""
    url = f"http://{gateway.http}/v2/health/live"
    for options in (["-p", "256"], ["-p", "1"], ["--no-dep"], ["--no-rfc7540-pri"]):
        equal(["200"] * 3, statuses(nghttp("-n", "-m", "3", *options, url)))


def trailers(gateway: Gateway) -> None:
    """Trailers behind a request's body."""
    headers = ("-H", "content-type: application/json", "--trailer", "checksum: none", "--no-content-length")
    equal(["200"], statuses(nghttp("-n", *headers, bodies.infer(gateway.http), body=bodies.ROW)))


def expect_continue(gateway: Gateway) -> None:
    """A body that waits for 100."""
    headers = ("-H", "content-type: application/json", "--expect-continue")
    log = nghttp("-n", *headers, bodies.infer(gateway.http), body=bodies.ROW)
    equal("200", statuses(log)[-1])


def header_tables(gateway: Gateway) -> None:
    """Header tables of no byte and of 64 KiB, on either side."""
    url = f"http://{gateway.http}/v2/models/plus_one"
    for size in ("0", "100", "65536"):
        log = nghttp("-n", "-m", "20", "-c", size, "--encoder-header-table-size", size, "-H", "x-tenant: a-value-to-be-indexed", url)
        equal(["200"] * 20, statuses(log))


def headers_too_large(gateway: Gateway) -> None:
    """32 KiB of headers: over the limit, refused as such, and the next stream is served."""
    equal(["431", "431"], statuses(nghttp("-n", "-m", "2", "--continuation", f"http://{gateway.http}/v2/health/live")))


def upgrade_refused(gateway: Gateway) -> None:
    """`Upgrade: h2c` is answered over HTTP/1.1, which nghttp takes for a refusal."""
    contains("HTTP Upgrade failed", nghttp("-n", "-u", f"http://{gateway.http}/v2/health/live", end=0))


def grpc_request(model: str, name: str, *values: float) -> bytes:
    """A framed ModelInferRequest with one row of floats, its fields written by hand."""
    tensor = b"\x0a" + _text(name) + b"\x12\x04FP32\x1a\x02\x01" + bytes([len(values)])
    raw = struct.pack(f"<{len(values)}f", *values)
    message = b"\x0a" + _text(model) + b"\x2a" + bytes([len(tensor)]) + tensor + b"\x3a" + bytes([len(raw)]) + raw
    return struct.pack(">BI", 0, len(message)) + message


def _text(text: str) -> bytes:
    return bytes([len(text.encode())]) + text.encode()


def deadline(gateway: Gateway) -> None:
    """The server keeps `grpc-timeout` by itself: DEADLINE_EXCEEDED in the trailers and on time, though the caller would wait."""
    url = f"http://{gateway.grpc}/inference.GRPCInferenceService/ModelInfer"
    started = time.perf_counter()
    contains("grpc-status: 4", nghttp(*_GRPC, "-H", "grpc-timeout: 100m", url, body=grpc_request("slow_nghttp", "STEPS", 3000)))
    equal(True, time.perf_counter() - started < 1.0)
    contains("grpc-status: 4", nghttp(*_GRPC, "-H", "grpc-timeout: 1n", url, body=grpc_request("plus_one", "ROW", 1, 2, 3, 4)))
    contains("grpc-status: 0", nghttp(*_GRPC, "-H", "grpc-timeout: 99999999H", url, body=grpc_request("plus_one", "ROW", 1, 2, 3, 4)))


def percent_encoding(gateway: Gateway) -> None:
    """The bytes of `grpc-message`: UTF-8, percent-encoded, printable ASCII as it is."""
    url = f"http://{gateway.grpc}/inference.GRPCInferenceService/ModelInfer"
    log = nghttp(*_GRPC, url, body=grpc_request("m%\u2602", "ROW", 1))
    contains("grpc-status: 5", log)
    contains("m%25%E2%98%82", log)


CHECKS = [
    get, many_requests, many_bodies, small_windows, large_windows, upload_windows_open, too_large, padding, priorities, trailers,
    expect_continue, header_tables, headers_too_large, upgrade_refused, deadline, percent_encoding,
]  # fmt: skip


def over_tls(gateway: Gateway, _: Path) -> None:
    """ALPN chooses h2."""
    log = nghttp("-n", "-m", "10", "-y", f"https://{gateway.http}/v2/health/live")
    equal(["200"] * 10, statuses(log))
    contains("The negotiated protocol: h2", log)
