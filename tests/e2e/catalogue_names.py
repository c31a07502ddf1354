"""Cases 96–122: names, routing and state, authorisation, observability, and valid requests with evil data."""

from __future__ import annotations

import json
import struct
from urllib.parse import quote

import numpy as np

from gateway.errors import Code
from gateway.pb import inference_pb2 as pb
from tests.e2e import catalogue_scenes as scenes
from tests.e2e.models import QUOTED, TABLE
from tests.e2e.peer_http1 import request
from tests.e2e.rows import GOOD, GOOD_BODY, ROW, Call, Case, Rest, Scene, body, call, infer, item, refused, rest, tensor

OK, INVALID, NOT_FOUND, UNAVAILABLE = Code.OK, Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.UNAVAILABLE
INTERNAL, LATE = Code.INTERNAL, Code.DEADLINE_EXCEEDED
SURFACE = "part 4: surface"
ROLLOUTS = "part 6: rollouts"
IDENTITY = "tests/e2e/test_identity.py"
SERVICE = "/inference.GRPCInferenceService/"
GRPC_DENIED = 7

TRAVERSALS = ("../etc", "a/../b", "..", "/etc/passwd", "rows/", " rows", "rows ", " ..", ".. ", "\t", "\0")
ODD_NAMES = ("con", ".", "...", "rows..1", "ｒows", "ro\u0301ws", "\u202erows", "🙂", "r" * 300, "ROWS", "_unknown")
VERSIONS = ("0", "-1", "01", "1.0", "٣", "latest", "1" + "0" * 30, "1/../2", " 1", "1 ", "+1", "1e0")


def named(label: str, model: str, version: str = "") -> tuple[Call, Rest]:
    """An unknown name over both transports."""
    target = f"/v2/models/{quote(model, safe='')}" + (f"/versions/{quote(version, safe='')}" if version else "") + "/infer"
    over_http = Rest(
        label, request("POST", target, b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[0,0,0,0]}]}'), 404, "NOT_FOUND"
    )
    return call(label, NOT_FOUND, infer(tensor(), raw=[ROW], model=model, version=version)), over_http


def ids(*numbers: int) -> bytes:
    return infer(tensor("id", "INT64", (len(numbers),)), raw=[np.array(numbers, "<i8").tobytes()], model="embedding")


def json_ids(*numbers: int) -> dict:
    return body(item("id", "INT64", [len(numbers)], list(numbers)))


def floats(*values: float) -> bytes:
    return infer(tensor(), raw=[struct.pack("<4f", *values)])


def expanded(*size: int) -> bytes:
    return infer(tensor(shape=(1,)), tensor("n", "INT64", (len(size),)), raw=[bytes(4), np.array(size, "<i8").tobytes()], model="spread")


def json_expanded(*size: int) -> dict:
    return body(item(shape=[1], data=[0]), item("n", "INT64", [len(size)], list(size)))


def steps(count: int, timeout_us: int) -> bytes:
    return infer(tensor("steps", "INT64", ()), raw=[struct.pack("<q", count)], model="loop", parameters={"timeout": timeout_us})


def check_not_ready(answer: bytes) -> None:
    """The protocol's answer, not an error's."""
    assert {"name": "broken", "ready": False} == json.loads(answer)


def check_nonfinite(message: bytes) -> None:
    """NaN stays NaN, infinities keep their sign, denormals may become 0."""
    raw = pb.ModelInferResponse.FromString(message).raw_output_contents[0]
    y = np.frombuffer(raw, np.float32)
    assert np.isnan(y[0])
    assert [-np.inf, np.inf] == list(y[1:3])
    assert abs(y[3]) < 1e-37


TRAVERSED = [named(repr(name), name) for name in TRAVERSALS]
ODD = [named(repr(name[:12]), name) for name in ODD_NAMES]
UNVERSIONED = [named(repr(version[:12]), "rows", version) for version in VERSIONS]

CASES = [
    Case(
        number=96,
        what="model names that walk through a file system",
        grpc=[grpc for grpc, _ in TRAVERSED] + [call("empty", NOT_FOUND, infer(tensor(), raw=[ROW], model=""))],
        http=[http for _, http in TRAVERSED] + [refused("empty", 404, request("POST", "/v2/models//infer", b"{}"))],
        note="a name is a key of a table; no file is touched by a request",
    ),
    Case(
        number=97,
        what="model names that are nearly one: look-alikes, other cases, other alphabets, 300 characters",
        grpc=[grpc for grpc, _ in ODD],
        http=[http for _, http in ODD],
    ),
    Case(
        number=98,
        what="versions that are none",
        grpc=[grpc for grpc, _ in UNVERSIONED],
        http=[http for _, http in UNVERSIONED],
    ),
    Case(
        number=99,
        what="a version that is not served, or has failed to load",
        grpc=[
            call("9", NOT_FOUND, infer(tensor(), raw=[ROW], version="9")),
            call("failed", UNAVAILABLE, infer(tensor(), raw=[ROW], model="broken")),
            call("failed, by number", UNAVAILABLE, infer(tensor(), raw=[ROW], model="broken", version="1")),
            call("good beside failed", OK, infer(tensor(), raw=[ROW], model="rows", version="1")),
        ],
        http=[
            rest("failed", UNAVAILABLE, GOOD_BODY, model="broken"),
            Rest("9", request("POST", "/v2/models/rows/versions/9/infer", b'{"inputs":[]}'), 404, "NOT_FOUND"),
            refused("readiness of the failed one", 503, request("GET", "/v2/models/broken/ready"), check=check_not_ready),
        ],
        note="versions that are loaded while others serve: tests/e2e/test_lifecycle.py",
    ),
    Case(number=100, what="a version that is unloaded while its requests are in flight", elsewhere="tests/e2e/test_lifecycle.py"),
    Case(number=101, what="an alias that was just deleted", elsewhere="tests/e2e/test_lifecycle.py"),
    Case(number=102, what="1,024 loads and unloads of one model at once", elsewhere="tests/gateway/control/test_loads.py"),
    Case(
        number=103,
        what="loading with overrides, files, paths or addresses",
        grpc=[Call(name, b"\x12\x04rows", GRPC_DENIED, path=SERVICE + name) for name in ("RepositoryModelLoad", "RepositoryModelUnload")],
        http=[
            refused(
                verb, 403, request("POST", f"/v2/repository/models/rows/{verb}", b'{"parameters":{"config":"{}","file:1/model.onnx":"AA"}}')
            )
            for verb in ("load", "unload")
        ],
        note="denied, unless repository.model_control is explicit; files want load_files too: tests/gateway/control/test_loads.py",
    ),
    Case(number=104, what="promotion to a version whose digest or signature is wrong", elsewhere="tests/registry/test_signatures.py"),
    Case(number=105, what="canary weights that are none", later=ROLLOUTS),
    Case(number=106, what="two promotions at once", elsewhere="tests/registry/test_publishers.py"),
    Case(
        number=107,
        what="credentials: none, wrong, huge, twice, in the query",
        elsewhere=IDENTITY,
        note="every route with every kind of credential: tests/gateway/control/test_access.py",
    ),
    Case(
        number=108,
        what="tokens: alg none, key confusion, crit, kid, times, audiences",
        elsewhere="tests/gateway/control/test_access.py",
        note="over both transports; issuers that change and go away: tests/gateway/control/test_credentials.py",
    ),
    Case(
        number=109,
        what="an inference credential on the admin API, an admin verb on the inference port",
        elsewhere=IDENTITY,
        note="an administrator's verb needs the scope `admin` on any port",
    ),
    Case(
        number=110,
        what="another tenant's model",
        elsewhere="tests/gateway/control/test_guard.py",
        note="403, decided by the name before anybody looks whether there is such a model: one that does not exist is refused alike",
    ),
    Case(
        number=111,
        what="random models, methods, user agents and ids",
        grpc=[Scene("2,000 calls", scenes.random_calls)],
        http=[Scene("2,000 requests", scenes.random_requests)],
        note="what names no loaded model is counted under `_unknown`; 2,000 of each kind are sent instead of 100,000",
    ),
    Case(
        number=112,
        what="a tensor name with quotes, backslashes and line breaks",
        grpc=[
            call("used", OK, infer(tensor(QUOTED, shape=(1, 1)), raw=[bytes(4)], model="quoted")),
            call("missed", INVALID, infer(tensor(shape=(1, 1)), raw=[bytes(4)], model="quoted")),
        ],
        http=[
            rest("used", OK, body(item(QUOTED, shape=[1, 1], data=[0])), model="quoted"),
            rest("missed", INVALID, body(item(shape=[1, 1], data=[0])), model="quoted"),
            refused("metadata", 200, request("GET", "/v2/models/quoted")),
        ],
        note="labels of metrics hold names of models only; refusing such a name at publish belongs to part 2",
    ),
    Case(
        number=113,
        what="line breaks, escape sequences and JSON where a log might repeat them",
        grpc=[
            call("id", OK, infer(tensor(), raw=[ROW], id_='a\r\n{"level":"error"}\x1b[31m')),
            call("model", NOT_FOUND, infer(tensor(), raw=[ROW], model='m\r\n{"level":"error"}\x1b[31m')),
            Call("traceparent", GOOD, 0, "OK", metadata=[("traceparent", "00-zz"), ("user-agent", '\x1b[31m{"a":1}')]),
        ],
        http=[
            rest("traceparent", OK, GOOD_BODY, headers={"traceparent": "00-zz", "user-agent": '{"a":1}'}),
            refused("escape sequence", 400, request("GET", "/v2", headers={"user-agent": "\x1b[31m"}), closes=True),
        ],
    ),
    Case(
        number=114,
        what="the metrics page: long queries, slow and many readers",
        grpc="the page is HTTP",
        http=[Scene("scrapers", scenes.scrapers)],
    ),
    Case(
        number=115,
        what="a flood of health probes",
        grpc=[Scene("ServerLive", scenes.grpc_probes)],
        http=[Scene("health", scenes.http_probes)],
    ),
    Case(
        number=116,
        what="an id beyond the table, in a batch with seven good ones",
        grpc=[call(str(wrong), INVALID, ids(wrong)) for wrong in (TABLE, -TABLE - 1, 1 << 62)]
        + [call("one of three rows", INVALID, ids(1, TABLE, 2))],
        http=[rest(str(wrong), INVALID, json_ids(wrong), model="embedding") for wrong in (TABLE, -TABLE - 1, 1 << 62)],
        neighbours="embedding",
    ),
    Case(
        number=117,
        what="NaN, infinities and denormals as input",
        grpc=[
            call("all", OK, floats(np.nan, np.inf, -np.inf, 1e-42), check=check_nonfinite),
            call("denormals", OK, floats(1e-40, 1e-41, 1e-42, 1e-43)),
        ],
        http=[rest("all", OK, '{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[NaN,Infinity,-Infinity,1e-42]}]}')],
        note="the default of JSON is case 55; drift counts them in part 5",
    ),
    Case(
        memory_bytes=256 << 20,
        number=118,
        what="an input that makes the output explode",
        grpc=[
            call("1 Ki", OK, expanded(1 << 10, 1)),
            *(
                call(f"2^{size.bit_length() - 1} floats", INTERNAL, expanded(size, 1))
                for size in (1 << 25, 1 << 28, 1 << 33, 1 << 40, 1 << 62)
            ),
        ],
        http=[
            rest("2^28 floats", INTERNAL, json_expanded(1 << 28, 1), model="spread"),
            rest("2^40 floats", INTERNAL, json_expanded(1 << 20, 1 << 20), model="spread"),
        ],
    ),
    Case(
        number=119,
        what="an input that makes a loop run for ever",
        grpc=[call("2^40 steps", LATE, steps(1 << 40, 200_000)), call("10 steps after it", OK, steps(10, 5_000_000))],
        http=[
            rest("2^40 steps", LATE, body(item("steps", "INT64", [], [1 << 40]), parameters={"timeout": 200_000}), model="loop"),
            rest("10 steps after it", OK, body(item("steps", "INT64", [], [10]), parameters={"timeout": 5_000_000}), model="loop"),
        ],
        note="the run is terminated; a process that does not listen is ended where the model has one of its own",
    ),
    Case(
        number=120,
        what="an input that crashes the process",
        elsewhere="tests/gateway/serving/test_isolated_faults.py",
        note="of a model that has one of its own; a worker that dies takes its connections along",
    ),
    Case(
        number=121,
        what="one request of 8 MiB among a hundred small ones",
        grpc=[Scene("large and small", scenes.large_among_small)],
        http=[Scene("large and small", scenes.large_among_small_http)],
        note="small ones pass it between two of its runs; the latencies are measured by `make bench-tenants`",
    ),
    Case(number=122, what="the same request a million times", later=SURFACE, note="quotas of a tenant"),
]
