"""Cases 26–50: what may be wrong with the contents of a gRPC call and with the call around them."""

from __future__ import annotations

import json
import zlib

from gateway.errors import Code
from gateway.pb import inference_pb2 as pb
from tests.e2e.catalogue_scenes import duplicate_ids, duplicate_ids_http, half_requests, timed_calls
from tests.e2e.catalogue_tensors import RAW_A, A, B, varint
from tests.e2e.peer_http2 import prefixed
from tests.e2e.rows import GOOD, RESET, ROW, Call, Case, Scene, body, call, infer, item, rest, tensor

INVALID, TOO_LARGE, OK, UNIMPLEMENTED = Code.INVALID_ARGUMENT, Code.TOO_LARGE, Code.OK, Code.UNIMPLEMENTED
PROTOBUF_ONLY = "a REST body has no such part"
SERVICE = "/inference.GRPCInferenceService/"
GRPC_OK, GRPC_INTERNAL, GRPC_UNIMPLEMENTED, GRPC_EXHAUSTED, GRPC_INVALID, GRPC_DEADLINE = 0, 13, 12, 8, 3, 4


def strings(*elements: bytes, count: int | None = None) -> bytes:
    """One tensor of strings, each with its right length."""
    data = b"".join(len(element).to_bytes(4, "little") + element for element in elements)
    return texts(data, len(elements) if count is None else count)


def texts(data: bytes, count: int = 1) -> bytes:
    """One tensor of `count` strings whose packed form is `data`."""
    return infer(tensor(datatype="BYTES", shape=(count, 1)), raw=[data], model="same_bytes")


def typed(datatype: str, count: int = 1, **contents: object) -> bytes:
    return infer(tensor(datatype=datatype, shape=(1, count), **contents), model=f"same_{datatype.lower()}")


def parameters(count: int) -> bytes:
    return GOOD + b"".join(
        b"\x22" + varint(len(entry)) + entry for entry in (b"\x0a\x06%06d\x12\x02\x08\x01" % index for index in range(count))
    )


def wire(label: str, expect: int, payload: bytes, **more: object) -> Call:
    """A call whose body is not one good message: it never reaches inference."""
    return Call(label, payload, expect, framed=False, **more)  # type: ignore[arg-type]


def path(label: str, value: str | bytes, expect: int = GRPC_UNIMPLEMENTED) -> Call:
    return Call(label, GOOD, expect, metadata=[(":path", value)])


def deep_groups() -> bytes:
    return GOOD + b"\x7b" * 5_000 + b"\x7c" * 5_000


def gzipped(data: bytes, *, truncated: bool = False) -> bytes:
    packer = zlib.compressobj(wbits=31)
    data = packer.compress(data) + packer.flush()
    return b"\1" + len(data[: -4 if truncated else None]).to_bytes(4, "big") + (data[:-4] if truncated else data)


CASES = [
    Case(
        number=26,
        what="fewer raw contents than inputs",
        grpc=[call("1 of 2", INVALID, infer(A, B, raw=[RAW_A], model="pair"))],
        http=PROTOBUF_ONLY,
    ),
    Case(
        number=27,
        what="more raw contents than inputs",
        grpc=[call("2 of 1", INVALID, infer(tensor(), raw=[ROW, ROW])), call("100,000", INVALID, lambda: GOOD + b"\x3a\x00" * 100_000)],
        http="case 68",
    ),
    Case(
        number=28,
        what="raw and typed contents in one request",
        grpc=[
            call("of one input", INVALID, infer(tensor(fp32_contents=[0] * 4), raw=[ROW])),
            call("of two inputs", INVALID, infer(tensor("a", shape=(1, 2), fp32_contents=[0, 0]), B, raw=[RAW_A], model="pair")),
        ],
        http="case 66",
    ),
    Case(
        number=29,
        what="neither raw nor typed contents",
        grpc=[
            call("no data", INVALID, infer(tensor())),
            call("no strings", INVALID, infer(tensor(datatype="BYTES", shape=(1, 1)), model="same_bytes")),
        ],
        http=[rest("no data", INVALID, body(item(data=None)))],
    ),
    Case(
        number=30,
        what="raw contents of another size than the shape's",
        grpc=[call(f"{size} bytes", INVALID, infer(tensor(), raw=[bytes(size)])) for size in (0, 15, 17, 32)],
        http="case 65",
    ),
    Case(
        number=31,
        what="typed contents of another length than the shape's",
        grpc=[call(f"{count} numbers", INVALID, infer(tensor(fp32_contents=[0] * count))) for count in (1, 3, 5, 8)]
        + [call("3 strings for 2", INVALID, infer(tensor(datatype="BYTES", shape=(2, 1), bytes_contents=[b""] * 3), model="same_bytes"))],
        http=[rest(f"{count} numbers", INVALID, body(item(data=[0] * count))) for count in (0, 1, 3, 5, 8)],
    ),
    Case(
        number=32,
        what="typed contents in a field of another datatype, or in two fields",
        grpc=[
            call("int_contents for FP32", INVALID, infer(tensor(int_contents=[0] * 4))),
            call("fp64_contents for FP32", INVALID, infer(tensor(fp64_contents=[0] * 4))),
            call("two fields", INVALID, infer(tensor(fp32_contents=[0] * 4, int_contents=[0] * 4))),
            call("int_contents for INT64", INVALID, typed("INT64", int_contents=[1])),
        ],
        http=PROTOBUF_ONLY,
    ),
    Case(
        number=33,
        what="a typed value that its datatype cannot hold",
        grpc=[
            call(f"{value} as {datatype}", INVALID, typed(datatype, **{field: [value]}))
            for datatype, field, value in (
                ("INT8", "int_contents", 300),
                ("INT8", "int_contents", -129),
                ("UINT8", "uint_contents", 256),
                ("INT16", "int_contents", 1 << 15),
                ("UINT16", "uint_contents", 1 << 16),
            )
        ],
        http=[
            rest(
                f"{value} as {datatype}",
                INVALID,
                body(item(datatype=datatype, shape=[1, 1], data=[value])),
                model=f"same_{datatype.lower()}",
            )
            for datatype, value in (("INT8", 300), ("UINT8", -1), ("INT16", 1 << 15), ("UINT64", 1 << 64), ("INT64", -(1 << 63) - 1))
        ],
    ),
    Case(
        number=34,
        what="a BOOL byte that is neither 0 nor 1",
        grpc=[
            call(str(byte), INVALID, infer(tensor(datatype="BOOL", shape=(1, 2)), raw=[bytes([1, byte])], model="same_bool"))
            for byte in (2, 255)
        ],
        http=[rest("2", INVALID, body(item(datatype="BOOL", shape=[1, 2], data=[1, 2])), model="same_bool")],
    ),
    Case(number=35, what="strings that end within a length", grpc=[call("3 bytes", INVALID, texts(b"\1\0\0"))], http=PROTOBUF_ONLY),
    Case(
        number=36,
        what="a string length of 4 GiB",
        grpc=[call("2^32 - 1", INVALID, texts(b"\xff\xff\xff\xff")), call("2^31", INVALID, texts(b"\0\0\0\x80abc"))],
        http=PROTOBUF_ONLY,
    ),
    Case(
        number=37,
        what="strings that are too short, too long, too few or too many",
        grpc=[
            call("short", INVALID, texts(b"\x05\0\0\0abc")),
            call("long", INVALID, texts(b"\x01\0\0\0abc")),
            call("1 of 2", INVALID, strings(b"a", count=2)),
            call("2 of 1", INVALID, strings(b"a", b"b", count=1)),
        ],
        http=[rest("2 of 1", INVALID, body(item(datatype="BYTES", shape=[1, 1], data=["a", "b"])), model="same_bytes")],
    ),
    Case(
        number=38,
        what="a string that is not UTF-8",
        grpc=[call(repr(text), INVALID, strings(text)) for text in (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80")]
        + [call("typed", INVALID, infer(tensor(datatype="BYTES", shape=(1, 1), bytes_contents=[b"\xff"]), model="same_bytes"))],
        http=[
            rest("surrogate", INVALID, b'{"inputs":[{"name":"x","datatype":"BYTES","shape":[1,1],"data":["\\ud800"]}]}', model="same_bytes")
        ],
    ),
    Case(
        number=39,
        what="strings with NUL, of the largest size, a million empty ones, and over each bound",
        grpc=[
            call("NUL", OK, strings(b"a\0b")),
            call("1 MiB", OK, lambda: strings(b"a" * (1 << 20))),
            call("1 MiB and 1", TOO_LARGE, lambda: strings(b"a" * ((1 << 20) + 1))),
            call("10^6 empty", OK, lambda: texts(bytes(4 * 10**6), 10**6)),
            call("2^20 and 1 empty", TOO_LARGE, lambda: texts(bytes(4 * ((1 << 20) + 1)), (1 << 20) + 1)),
        ],
        http=[
            rest("NUL", OK, body(item(datatype="BYTES", shape=[1, 1], data=["a\0b"])), model="same_bytes"),
            rest(
                "1 MiB",
                OK,
                lambda: b'{"inputs":[{"name":"x","datatype":"BYTES","shape":[1,1],"data":["%b"]}]}' % (b"a" * (1 << 20)),
                model="same_bytes",
            ),
            rest(
                "10^6 empty",
                OK,
                lambda: b'{"inputs":[{"name":"x","datatype":"BYTES","shape":[1000000,1],"data":[%b""]}]}' % (b'"",' * 999_999),
                model="same_bytes",
            ),
            rest(
                "1 MiB and 1",
                TOO_LARGE,
                lambda: b'{"inputs":[{"name":"x","datatype":"BYTES","shape":[1,1],"data":["%b"]}]}' % (b"a" * ((1 << 20) + 1)),
                model="same_bytes",
            ),
            rest(
                "2^20 and 1 empty",
                TOO_LARGE,
                lambda: b'{"inputs":[{"name":"x","datatype":"BYTES","shape":[1048577,1],"data":[%b""]}]}' % (b'"",' * (1 << 20)),
                model="same_bytes",
            ),
        ],
    ),
    Case(
        number=40,
        what="two million empty inputs in 4 MiB",
        grpc=[call("inputs", INVALID, lambda: b"\x2a\0" * (2 << 20)), call("outputs", TOO_LARGE, lambda: GOOD + b"\x32\0" * (2 << 20))],
        http="case 61",
    ),
    Case(
        number=41,
        what="bytes that are no message",
        grpc=[
            call("garbage", INVALID, b"\xff" * 40),
            call("truncated", INVALID, GOOD[:-5]),
            call("id that is not UTF-8", INVALID, GOOD + b"\x1a\x01\xff"),
            call("inputs as numbers", INVALID, b"\x0a\x04rows\x28\x01\x28\x02"),
            call("name as a number", Code.NOT_FOUND, b"\x08\x01" + GOOD[6:]),
            call("deep groups", INVALID, deep_groups()),
            call("group without end", INVALID, GOOD + b"\x7b"),
            call("length beyond the end", INVALID, GOOD + b"\x0a\xff\xff\xff\xff\x0f"),
            call("empty", Code.NOT_FOUND, b""),
        ],
        http="cases 51 and 52",
        note="a field of the wrong wire type is an unknown one, as protobuf has it: what is then missing decides, inputs or the name",
    ),
    Case(
        number=42,
        what="fields of a later protocol",
        grpc=[
            call("unknown number", OK, GOOD + b"\xfa\x3f\x03abc"),
            call("unknown varint", OK, GOOD + b"\xf8\x3f\x01"),
            call(
                "unknown field of an input",
                OK,
                b"\x0a\x04rows\x2a\x12\x0a\x01x\x12\x04FP32\x1a\x02\x01\x04\x9a\x06\x02ab" + b"\x3a\x10" + ROW,
            ),
        ],
        http=[
            rest("unknown key", OK, body(item(), later=[1, {"a": None}])),
            rest("unknown key of an input", OK, body(item() | {"later": 1})),
        ],
    ),
    Case(
        number=43,
        what="parameters: unknown, of the wrong type, without a value, 100,000",
        grpc=[
            call("unknown", OK, infer(tensor(), raw=[ROW], parameters={"mine": 1, "yours": "a"})),
            call("priority as text", INVALID, infer(tensor(), raw=[ROW], parameters={"priority": "high"})),
            call("timeout below 0", INVALID, infer(tensor(), raw=[ROW], parameters={"timeout": -1})),
            call("reserved", INVALID, infer(tensor(), raw=[ROW], parameters={"triton_final_response": True})),
            call("no value", OK, GOOD + b"\x22\x08\x0a\x04none\x12\x00"),
            call("sequence", UNIMPLEMENTED, infer(tensor(), raw=[ROW], parameters={"sequence_id": 7})),
            call("shared memory", UNIMPLEMENTED, infer(tensor(parameters={"shared_memory_region": "r"}), raw=[ROW])),
            call("100,000", TOO_LARGE, lambda: parameters(100_000)),
        ],
        http=[
            rest("unknown", OK, body(item(), parameters={"mine": 1, "yours": "a"})),
            rest("priority as text", INVALID, body(item(), parameters={"priority": "high"})),
            rest("priority as boolean", INVALID, body(item(), parameters={"priority": True})),
            rest("reserved", INVALID, body(item(), parameters={"triton_final_response": True})),
            rest("sequence", UNIMPLEMENTED, body(item(), parameters={"sequence_id": 7})),
            rest("shared memory", UNIMPLEMENTED, body(item(parameters={"shared_memory_region": "r"}))),
            rest("classification", UNIMPLEMENTED, body(item(), outputs=[{"name": "y", "parameters": {"classification": 2}}])),
            rest("100,000", TOO_LARGE, body(item(), parameters={f"p{index}": 1 for index in range(100_000)})),
        ],
    ),
    Case(
        number=44,
        what="an id of 1 MiB, with control characters, and the same id twice in flight",
        grpc=[
            call("256 bytes", OK, infer(tensor(), raw=[ROW], id_="i" * 256)),
            call("257 bytes", INVALID, infer(tensor(), raw=[ROW], id_="i" * 257)),
            call("1 MiB", INVALID, lambda: infer(tensor(), raw=[ROW], id_="i" * (1 << 20))),
            call("CRLF and NUL", OK, infer(tensor(), raw=[ROW], id_="a\r\nb\0"), check=lambda message: check_id(message, "a\r\nb\0")),
            Scene("the same id twice", duplicate_ids),
        ],
        http=[
            rest("256 bytes", OK, body(item(), id="i" * 256)),
            rest("257 bytes", INVALID, body(item(), id="i" * 257)),
            rest("1 MiB", INVALID, lambda: json.dumps(body(item(), id="i" * (1 << 20))).encode()),
            rest("CRLF and NUL", OK, body(item(), id="a\r\nb\0"), check=lambda answer: check_json_id(answer, "a\r\nb\0")),
            Scene("the same id twice", duplicate_ids_http),
        ],
        note="an id goes back to its caller alone, so its characters are the caller's affair; the log never holds it",
    ),
    Case(
        number=45,
        what="a unary call without a message, and with two",
        grpc=[
            wire("none", GRPC_UNIMPLEMENTED, b""),
            wire("two", GRPC_OK, prefixed(GOOD) + prefixed(GOOD), counted="OK"),
            wire("half a prefix", GRPC_INTERNAL, b"\0\0\0"),
            Scene("never", half_requests),
        ],
        http="case 76",
        slow=True,
    ),
    Case(
        number=46,
        what="grpc-timeout of zero, tiny, huge, malformed",
        grpc=[
            Call("0S", GOOD, GRPC_DEADLINE, "DEADLINE_EXCEEDED", metadata=[("grpc-timeout", "0S")]),
            Call("1n", GOOD, GRPC_DEADLINE, "DEADLINE_EXCEEDED", metadata=[("grpc-timeout", "1n")]),
            Call("absent", GOOD, GRPC_OK, "OK"),
            Call("99999999H", GOOD, GRPC_OK, "OK", metadata=[("grpc-timeout", "99999999H")]),
            *(
                Call(value, GOOD, GRPC_INTERNAL, metadata=[("grpc-timeout", value)])
                for value in ("1", "S", "1X", "-1S", "999999999S", "1.5S", "1 S")
            ),
            Scene("together", timed_calls),
        ],
        http=[rest("timeout parameter of 1 µs", Code.DEADLINE_EXCEEDED, body(item(), parameters={"timeout": 1}))],
    ),
    Case(
        number=47,
        what="a message over the limit, and one that only says so",
        grpc=[
            wire("33 MiB", GRPC_EXHAUSTED, lambda: b"\0\x02\x10\0\0" + bytes(33 << 20)),
            wire("says 1 GiB", GRPC_EXHAUSTED, b"\0\x40\0\0\0a"),
        ],
        http="case 71",
    ),
    Case(
        number=48,
        what="compressed messages: without an encoding, unknown, corrupt",
        grpc=[
            wire("flag without encoding", GRPC_INTERNAL, b"\1" + prefixed(GOOD)[1:]),
            wire("flag of 2", GRPC_INTERNAL, b"\2" + prefixed(GOOD)[1:]),
            wire("unknown encoding", GRPC_UNIMPLEMENTED, gzipped(GOOD), metadata=[("grpc-encoding", "brotli")]),
            wire("gzip, which is off", GRPC_UNIMPLEMENTED, gzipped(GOOD), metadata=[("grpc-encoding", "gzip")]),
            wire("corrupt", GRPC_UNIMPLEMENTED, b"\1\0\0\0\x04abcd", metadata=[("grpc-encoding", "gzip")]),
        ],
        http="cases 83 and 84",
    ),
    Case(
        number=49,
        what="paths that are almost a method",
        grpc=[
            path("double slash", "//inference.GRPCInferenceService/ModelInfer"),
            path("escaped", "/inference.GRPCInferenceService/Model%49nfer"),
            path("trailing slash", SERVICE + "ModelInfer/"),
            path("wrong case", SERVICE + "modelinfer"),
            path("dot segment", "/x/.." + SERVICE + "ModelInfer"),
            path("query", SERVICE + "ModelInfer?a=1"),
            path("not ASCII", b"/inference.GRPCInferenceService/ModelInf\xc3\xa9r"),
            path("1 KiB", "/" + "a" * 1_024),
            path("unknown method", SERVICE + "Nothing"),
            path("no slash", "inference.GRPCInferenceService/ModelInfer", RESET),
            path("empty", "", RESET),
        ],
        http="case 79",
        note="reflection is a service of this server, so its path is answered",
    ),
    Case(
        number=50,
        what="metadata: too large, too many, not base64, with line breaks, forged, twice",
        grpc=[
            Call("20 KiB", GOOD, GRPC_EXHAUSTED, metadata=[("k", "v" * 20_000)]),
            Call("2,000 keys", GOOD, GRPC_EXHAUSTED, metadata=[(f"k{index}", "v") for index in range(2_000)]),
            Call("-bin that is not base64", GOOD, GRPC_OK, "OK", metadata=[("trace-bin", "*?")]),
            Call("CRLF", GOOD, RESET, metadata=[("k", "a\r\nb: c")]),
            Call("NUL", GOOD, RESET, metadata=[("k", "a\0")]),
            Call("upper case", GOOD, RESET, metadata=[("Key", "v")]),
            Call("authorization twice", GOOD, GRPC_OK, "OK", metadata=[("authorization", "Bearer a"), ("authorization", "Bearer b")]),
            Call("forged x-forwarded-for", GOOD, GRPC_OK, "OK", metadata=[("x-forwarded-for", "127.0.0.1"), ("x-forwarded-host", "admin")]),
        ],
        http="case 78",
        note="the limit is 16 KiB and 64 fields; where credentials are asked for, two of them are refused: case 107",
    ),
]


def check_json_id(answer: bytes, expected: str) -> None:
    assert expected == json.loads(answer)["id"]


def check_id(message: bytes, expected: str) -> None:
    assert expected == pb.ModelInferResponse.FromString(message).id
