"""What curl must get: HTTP/1.1 and HTTP/2 on either port, bodies of every framing, refusals that leave the connection usable."""

from __future__ import annotations

import gzip
import json
import struct
import tempfile
import zlib
from pathlib import Path

from curl import Answer, answered, curl, curls
from outcome import contains, equal
from servers import Gateway

JSON = ("-H", "Content-Type: application/json")
H2 = "--http2-prior-knowledge"
ROW = json.dumps({"id": "one", "inputs": [{"name": "ROW", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}).encode()
NEXT = [2.0, 3.0, 4.0, 5.0]
_VALUES = 1 << 19
_DATA = struct.pack(f"<{_VALUES}f", *range(_VALUES))
_LARGE_HEAD = json.dumps({
    "inputs": [{"name": "DATA", "datatype": "FP32", "shape": [1, _VALUES], "parameters": {"binary_data_size": len(_DATA)}}],
    "parameters": {"binary_data_output": True},
}).encode()  # fmt: skip
LARGE = _LARGE_HEAD + _DATA  # 2 MiB of tensor behind its JSON
LARGE_HEADERS = ("-H", f"Inference-Header-Content-Length: {len(_LARGE_HEAD)}", "-H", "Content-Type: application/octet-stream")


def infer(address: str, model: str = "plus_one", scheme: str = "http") -> str:
    """The URL of a model's infer call."""
    return f"{scheme}://{address}/v2/models/{model}/infer"


def is_next(answer: Answer) -> None:
    """The answer to ROW."""
    equal(("one", NEXT), (answer.json()["id"], answer.json()["outputs"][0]["data"]))


def is_large(answer: Answer) -> None:
    """The answer to LARGE: the same 2 MiB, behind their JSON."""
    length = int(answer.header("inference-header-content-length") or -1)
    equal(True, answer.body[length:] == _DATA)
    equal(len(_DATA), json.loads(answer.body[:length])["outputs"][0]["parameters"]["binary_data_size"])


def get(gateway: Gateway) -> None:
    """HTTP/1.1, with the length and type of its body."""
    answer = answered(curl(f"http://{gateway.http}/v2/health/live"), 200, "1.1")
    equal((str(len(answer.body)), True), (answer.header("content-length"), answer.json()["live"]))
    contains("application/json", answer.header("content-type") or "")


def prior_knowledge(gateway: Gateway) -> None:
    """HTTP/2 without TLS, GET and POST."""
    equal(True, answered(curl(H2, f"http://{gateway.http}/v2/health/live"), 200, "2").json()["live"])
    is_next(answered(curl(H2, *JSON, "--data-binary", "@-", infer(gateway.http), data=ROW), 200, "2"))


def either_port(gateway: Gateway) -> None:
    """REST by both protocols on the gRPC port."""
    for option, version in (("--http1.1", "1.1"), (H2, "2")):
        is_next(answered(curl(option, *JSON, "--data-binary", "@-", infer(gateway.grpc), data=ROW), 200, version))


def upgrade_ignored(gateway: Gateway) -> None:
    """`Upgrade: h2c` is answered over HTTP/1.1, with and without a body."""
    answer = answered(curl("--http2", f"http://{gateway.http}/v2/health/live"), 200, "1.1")
    equal(False, " 101" in answer.head)
    is_next(answered(curl("--http2", *JSON, "--data-binary", "@-", infer(gateway.http), data=ROW), 200, "1.1"))


def keep_alive(gateway: Gateway) -> None:
    """One connection for several requests, errors among them. (Over TLS for HTTP/2: curl 7.88 cannot reuse one without.)"""
    reuses(infer(gateway.http), "--http1.1")


def reuses(url: str, *options: str | Path) -> None:
    """Good, malformed, of an unknown model, by a wrong method, good: five answers on one connection."""
    lost = url.replace("plus_one", "no_such_model")
    parts = [(*JSON, "-d", ROW.decode(), url), (*JSON, "-d", "{", url), (*JSON, "-d", ROW.decode(), lost), ("-X", "DELETE", url)]
    arguments = [*options, *parts[0]]
    for part in (*parts[1:], parts[0]):
        arguments += ["--next", *options, *part]
    answers = curls(*arguments)
    equal([(200, 1), (400, 0), (404, 0), (405, 0), (200, 0)], [(answer.status, answer.connects) for answer in answers], answers[0].problem)
    is_next(answers[-1])


def expect_continue(gateway: Gateway) -> None:
    """2 MiB that wait for 100 Continue."""
    waiting = ("--http1.1", "-H", "Expect: 100-continue", *LARGE_HEADERS, "--data-binary", "@-")
    answer = answered(curl(*waiting, infer(gateway.http, "echo"), data=LARGE), 200)
    contains("HTTP/1.1 100", answer.head)
    is_large(answer)


def expect_refused(gateway: Gateway) -> None:
    """A body over the limit, and a wrong path: the final status comes without a 100."""
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(40 << 20)
        for url, status in ((infer(gateway.http, "echo"), 413), (f"http://{gateway.http}/nowhere", 404)):
            answer = curl("--http1.1", "-H", "Expect: 100-continue", *LARGE_HEADERS, "-X", "POST", "-T", file.name, url)
            equal((status, False), (answer.status, "HTTP/1.1 100" in answer.head), answer.problem)


def too_large(gateway: Gateway) -> None:
    """A body over the limit that is sent all the same: 413, and the next caller is served. (For HTTP/2 see nghttp: curl 7.88
    does not read an answer that a RST_STREAM with NO_ERROR follows, RFC 9113 §8.1.)"""
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(40 << 20)
        answer = curl("--http1.1", "-H", "Expect:", *LARGE_HEADERS, "--data-binary", f"@{file.name}", infer(gateway.http, "echo"))
        equal(413, answer.status, answer.problem)
    get(gateway)


def compressed_request(gateway: Gateway) -> None:
    """gzip and deflate bodies, by either protocol; one that is not what it says is refused."""
    for option in ("--http1.1", H2):
        for coding, body in (("gzip", gzip.compress(ROW)), ("deflate", zlib.compress(ROW))):
            encoded = ("-H", f"Content-Encoding: {coding}", *JSON, "--data-binary", "@-", infer(gateway.http))
            is_next(answered(curl(option, *encoded, data=body), 200))
            answered(curl(option, *encoded, data=b"not " + body), 400)


def compressed_response(gateway: Gateway) -> None:
    """Whatever coding the server chooses of those that curl accepts, curl reads it."""
    for option in ("--http1.1", H2):
        is_next(answered(curl(option, "--compressed", *JSON, "--data-binary", "@-", infer(gateway.http), data=ROW), 200))


def gzip_large(gateway: Gateway) -> None:
    """A compressed binary request: the JSON's length is that of the decompressed body."""
    encoded = ("-H", "Content-Encoding: gzip", *LARGE_HEADERS, "--data-binary", "@-")
    is_large(answered(curl(*encoded, infer(gateway.http, "echo"), data=gzip.compress(LARGE, 1)), 200))


def head(gateway: Gateway) -> None:
    """The headers of GET without a body, and the connection goes on."""
    url = f"http://{gateway.http}/v2/models/plus_one"
    asked, got = curls("--http1.1", "-I", url, "--next", "--http1.1", url)
    equal((200, 0, got.header("content-length")), (asked.status, got.connects, asked.header("content-length")))
    asked = answered(curl(H2, "-I", url), 200, "2")
    equal(got.header("content-length"), asked.header("content-length"))


def method_not_allowed(gateway: Gateway) -> None:
    """405 with the methods that are allowed, and a JSON error."""
    for option in ("--http1.1", H2):
        for method, url, allowed in (("GET", infer(gateway.http), "POST"), ("DELETE", f"http://{gateway.http}/v2/health/live", "GET")):
            answer = answered(curl(option, "-X", method, url), 405)
            contains(allowed, answer.header("allow") or "")
            contains("error", answer.json())


def not_found(gateway: Gateway) -> None:
    """404 names a model, percent-encoded in the path; unknown paths have a JSON error too."""
    for option in ("--http1.1", H2):
        answer = answered(curl(option, *JSON, "--data-binary", "@-", infer(gateway.http, "mod%C3%A8le%20%E2%98%82"), data=ROW), 404)
        contains("modèle ☂", answer.json()["error"])
        contains("error", answered(curl(option, f"http://{gateway.http}/nowhere"), 404).json())


def chunked(gateway: Gateway) -> None:
    """A body of unknown length, small and 2 MiB."""
    upload = ("--http1.1", "-X", "POST", "-T", "-")
    is_next(answered(curl(*upload, *JSON, infer(gateway.http), data=ROW), 200))
    is_large(answered(curl(*upload, *LARGE_HEADERS, infer(gateway.http, "echo"), data=LARGE), 200))


def http2_upload(gateway: Gateway) -> None:
    """2 MiB both ways over HTTP/2, with and without a length."""
    url = infer(gateway.http, "echo")
    is_large(answered(curl(H2, *LARGE_HEADERS, "--data-binary", "@-", url, data=LARGE), 200, "2"))
    is_large(answered(curl(H2, *LARGE_HEADERS, "-X", "POST", "-T", "-", url, data=LARGE), 200, "2"))


def large_json(gateway: Gateway) -> None:
    """An answer of 65,536 numbers as JSON, by either protocol."""
    body = json.dumps({"inputs": [{"name": "START", "datatype": "FP32", "shape": [1, 1], "data": [5]}]})
    for option in ("--http1.1", H2):
        answer = answered(curl(option, *JSON, "-d", body, infer(gateway.http, "ramp")), 200)
        equal(True, answer.json()["outputs"][0]["data"] == [5.0 + i for i in range(65_536)])


def grpc_by_hand(gateway: Gateway) -> None:
    """gRPC as bytes: an empty ServerLive message on either port, its status in the trailers."""
    for address in (gateway.grpc, gateway.http):
        url = f"http://{address}/inference.GRPCInferenceService/ServerLive"
        headers = ("-H", "Content-Type: application/grpc", "-H", "TE: trailers")
        answer = answered(curl(H2, *headers, "--data-binary", "@-", url, data=bytes(5)), 200, "2")
        equal(("0", b"\0\0\0\0\x02\x08\x01"), (answer.header("grpc-status"), answer.body))
        answer = answered(curl(H2, *headers, "--data-binary", "@-", url + "Not", data=bytes(5)), 200, "2")
        equal(("12", b""), (answer.header("grpc-status"), answer.body))


def metrics(gateway: Gateway) -> None:
    """The third port: Prometheus text and health, nothing to be changed."""
    contains("tidegate_requests_total{", answered(curl(f"http://{gateway.metrics}/metrics"), 200).body.decode())
    answered(curl(f"http://{gateway.metrics}/v2/health/live"), 200)
    equal(True, curl(*JSON, "-d", ROW.decode(), infer(gateway.metrics)).status in (404, 405))


CHECKS = [
    get, prior_knowledge, either_port, upgrade_ignored, keep_alive, expect_continue, expect_refused, too_large, compressed_request,
    compressed_response, gzip_large, head, method_not_allowed, not_found, chunked, http2_upload, large_json, grpc_by_hand, metrics,
]  # fmt: skip
