"""Cases 1–25: what may be wrong with the description of a tensor."""

from __future__ import annotations

from gateway.errors import Code
from gateway.pb import inference_pb2 as pb
from tests.e2e.rows import GOOD, ROW, Case, body, call, infer, item, rest, tensor

INVALID, TOO_LARGE, OK, UNAVAILABLE = Code.INVALID_ARGUMENT, Code.TOO_LARGE, Code.OK, Code.UNAVAILABLE
A, B = tensor("a", shape=(1, 2)), tensor("b", "INT64", (1, 1))
RAW_A, RAW_B = bytes(8), bytes(8)
ITEM_A, ITEM_B = item("a", shape=[1, 2], data=[0, 0]), item("b", "INT64", [1, 1], [0])
MAX_BATCH = 256  # batching.max_batch_size


def rows(count: int) -> bytes:
    return infer(tensor(shape=(count, 4)), raw=[ROW * count])


def json_rows(count: int) -> dict:
    return body(item(shape=[count, 4], data=[0] * (4 * count)))


def shaped(shape: object, data: object = (0, 0, 0, 0)) -> dict:
    return body(item(shape=shape, data=data))


def many_dimensions() -> bytes:
    """4 Mi entries of one byte each."""
    field = b"\x0a\x01x\x12\x04FP32\x1a" + varint(4 << 20) + b"\x01" * (4 << 20)
    return b"\x0a\x04rows\x2a" + varint(len(field)) + field


def varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes([*encoded, number])


def outputs(count: int) -> bytes:
    return GOOD + b"\x32\x03\x0a\x01y" * count


def raw_name(name: bytes) -> bytes:
    field = b"\x0a" + varint(len(name)) + name + b"\x12\x04FP32\x1a\x02\x01\x04"
    return b"\x0a\x04rows\x2a" + varint(len(field)) + field + b"\x3a\x10" + ROW


CASES = [
    Case(
        number=1,
        what="`inputs` missing, empty, null or an object",
        grpc=[call("no inputs", INVALID, infer())],
        http=[
            rest("missing", INVALID, {}),
            rest("empty", INVALID, {"inputs": []}),
            rest("null", INVALID, {"inputs": None}),
            rest("object", INVALID, {"inputs": item()}),
        ],
    ),
    Case(
        number=2,
        what="one required input is missing",
        grpc=[call("a alone", INVALID, infer(A, raw=[RAW_A], model="pair"))],
        http=[rest("a alone", INVALID, body(ITEM_A), model="pair")],
    ),
    Case(
        number=3,
        what="an input that the model does not have",
        grpc=[
            call("x and w", INVALID, infer(tensor(), tensor("w"), raw=[ROW, ROW])),
            call("w alone", INVALID, infer(tensor("w"), raw=[ROW])),
        ],
        http=[rest("x and w", INVALID, body(item(), item("w"))), rest("w alone", INVALID, body(item("w")))],
    ),
    Case(
        number=4,
        what="one input twice",
        grpc=[
            call("x twice", INVALID, infer(tensor(), tensor(), raw=[ROW, ROW])),
            call("a twice, b missing", INVALID, infer(A, A, raw=[RAW_A, RAW_A], model="pair")),
        ],
        http=[
            rest("x twice", INVALID, body(item(), item())),
            rest("a twice, b missing", INVALID, body(ITEM_A, ITEM_A), model="pair"),
        ],
    ),
    Case(
        number=5,
        what="an input name that is empty, 1 MiB long, has NUL, or is half a surrogate pair",
        grpc=[
            call("empty", INVALID, raw_name(b"")),
            call("1 MiB", INVALID, lambda: raw_name(b"n" * (1 << 20))),
            call("NUL", INVALID, raw_name(b"x\0")),
            call("escape sequence", INVALID, raw_name(b"\x1b[31mx\r\n")),
            call("surrogate", INVALID, raw_name(b"\xed\xa0\x80")),
        ],
        http=[
            rest("empty", INVALID, body(item(""))),
            rest(
                "1 MiB",
                INVALID,
                lambda: b'{"inputs":[{"name":"' + b"n" * (1 << 20) + b'","datatype":"FP32","shape":[1,4],"data":[0,0,0,0]}]}',
            ),
            rest("NUL", INVALID, body(item("x\0"))),
            rest("escape sequence", INVALID, body(item("\x1b[31mx\r\n"))),
            rest("surrogate", INVALID, b'{"inputs":[{"name":"\\ud800","datatype":"FP32","shape":[1,4],"data":[0,0,0,0]}]}'),
        ],
    ),
    Case(
        number=6,
        what="an output that the model does not have",
        grpc=[
            call("q", INVALID, infer(tensor(), raw=[ROW], outputs=["q"])),
            call("y and q", INVALID, infer(tensor(), raw=[ROW], outputs=["y", "q"])),
        ],
        http=[rest("q", INVALID, body(item(), outputs=[{"name": "q"}])), rest("empty", INVALID, body(item(), outputs=[{"name": ""}]))],
    ),
    Case(
        number=7,
        what="an output asked for twice, or 100,000 times",
        grpc=[call("twice", INVALID, outputs(2)), call("100,000 times", TOO_LARGE, lambda: outputs(100_000))],
        http=[
            rest("twice", INVALID, body(item(), outputs=[{"name": "y"}] * 2)),
            rest("100,000 times", TOO_LARGE, body(item(), outputs=[{"name": "y"}] * 100_000)),
        ],
    ),
    Case(
        number=8,
        what="a datatype that is not the model's",
        grpc=[
            call("FP64", INVALID, infer(tensor(datatype="FP64"), raw=[bytes(32)])),
            call("INT32", INVALID, infer(tensor(datatype="INT32"), raw=[ROW])),
        ],
        http=[rest("FP64", INVALID, body(item(datatype="FP64"))), rest("BYTES", INVALID, body(item(datatype="BYTES", data=["a"] * 4)))],
    ),
    Case(
        number=9,
        what="a datatype that does not exist",
        grpc=[call(repr(name), INVALID, infer(tensor(datatype=name), raw=[ROW])) for name in ("FP7", "", "fp32", "STRING")],
        http=[rest(repr(name), INVALID, body(item(datatype=name))) for name in ("FP7", "", "fp32", "STRING")],
    ),
    Case(
        number=10,
        what="FP16 or BF16 in typed contents",
        grpc=[
            call(name, INVALID, infer(tensor(datatype=name, shape=(1, 2), fp32_contents=[1, 2]), model=f"same_{name.lower()}"))
            for name in ("FP16", "BF16")
        ],
        http=[
            rest(name, OK, body(item(datatype=name, shape=[1, 2], data=[1, 2])), model=f"same_{name.lower()}") for name in ("FP16", "BF16")
        ],
        note="typed contents have no field for them; JSON numbers are read",
    ),
    Case(
        number=11,
        what="a datatype that the runtime does not support",
        grpc=[call("BF16 addition", UNAVAILABLE, infer(tensor(datatype="BF16", shape=(1, 1)), raw=[b"\0\0"], model="half"))],
        http=[rest("BF16 addition", UNAVAILABLE, body(item(datatype="BF16", shape=[1, 1], data=[0])), model="half")],
        note="such a version fails to load, so it never serves: 503 instead of 501",
    ),
    Case(
        number=12,
        what="a wrong rank, a missing batch dimension among them",
        grpc=[
            call("[4]", INVALID, infer(tensor(shape=[4]), raw=[ROW])),
            call("[1,1,4]", INVALID, infer(tensor(shape=[1, 1, 4]), raw=[ROW])),
        ],
        http=[rest("[4]", INVALID, shaped([4])), rest("[1,1,4]", INVALID, shaped([1, 1, 4]))],
    ),
    Case(
        number=13,
        what="a wrong fixed dimension",
        grpc=[
            call("[1,5]", INVALID, infer(tensor(shape=[1, 5]), raw=[bytes(20)])),
            call("[3,2]", INVALID, infer(tensor(shape=[3, 2]), raw=[bytes(24)], model="fixed")),
        ],
        http=[
            rest("[1,5]", INVALID, shaped([1, 5], [0] * 5)),
            rest("[3,2]", INVALID, body(item(shape=[3, 2], data=[0] * 6)), model="fixed"),
        ],
    ),
    Case(
        number=14,
        what="-1 in a request's shape",
        grpc=[
            call("[-1,4]", INVALID, infer(tensor(shape=[-1, 4]), raw=[ROW])),
            call("[1,-4]", INVALID, infer(tensor(shape=[1, -4]), raw=[ROW])),
        ],
        http=[rest("[-1,4]", INVALID, shaped([-1, 4])), rest("[1,-4]", INVALID, shaped([1, -4]))],
    ),
    Case(
        number=15,
        what="negative dimensions, also two with a positive product",
        grpc=[
            call("[2,-5]", INVALID, infer(tensor(shape=[2, -5]), raw=[ROW])),
            call("[-1,-4]", INVALID, infer(tensor(shape=[-1, -4]), raw=[ROW])),
        ],
        http=[rest("[2,-5]", INVALID, shaped([2, -5])), rest("[-1,-4]", INVALID, shaped([-1, -4]))],
    ),
    Case(
        number=16,
        what="a dimension of 0",
        grpc=[
            call("[0,4]", INVALID, infer(tensor(shape=[0, 4]), raw=[b""])),
            call("[1,0]", INVALID, infer(tensor(shape=[1, 0]), raw=[b""], model="same_int32")),
            call("[0,3] where allowed", OK, infer(tensor(datatype="FP64", shape=[0, 3]), raw=[b""], model="same_fp64")),
            call("[3,0] where allowed", OK, infer(tensor(datatype="FP64", shape=[3, 0]), raw=[b""], model="same_fp64")),
        ],
        http=[
            rest("[0,4]", INVALID, shaped([0, 4], [])),
            rest("[1,0]", INVALID, body(item(datatype="INT32", shape=[1, 0], data=[])), model="same_int32"),
            rest("[0,3] where allowed", OK, body(item(datatype="FP64", shape=[0, 3], data=[])), model="same_fp64"),
            rest("[3,0] where allowed", OK, body(item(datatype="FP64", shape=[3, 0], data=[])), model="same_fp64"),
        ],
        note="`allow_empty` of a model lets them through",
    ),
    Case(
        number=17,
        what="a product of dimensions above 2^64",
        grpc=[call("2^4 × (2^60 + 2)", INVALID, infer(tensor(shape=[1 << 4, (1 << 60) + 2]), raw=[bytes(128)], model="same_fp32"))],
        http=[rest("2^4 × (2^60 + 2)", INVALID, body(item(shape=[1 << 4, (1 << 60) + 2], data=[0] * 32)), model="same_fp32")],
    ),
    Case(
        number=18,
        what="a byte size above 2^64",
        grpc=[call("2^2 × (2^60 + 2)", INVALID, infer(tensor(shape=[1 << 2, (1 << 60) + 2]), raw=[ROW * 2], model="same_fp32"))],
        http=[rest("2^2 × (2^60 + 2)", INVALID, body(item(shape=[1 << 2, (1 << 60) + 2], data=[0] * 8)), model="same_fp32")],
    ),
    Case(
        number=19,
        what="a dimension that is no int64",
        grpc=[
            call("2^63 - 1", INVALID, infer(tensor(shape=[(1 << 63) - 1, 4]), raw=[ROW])),
            call("-2^63", INVALID, infer(tensor(shape=[-(1 << 63), 4]), raw=[ROW])),
        ],
        http=[
            rest(name, INVALID, '{"inputs":[{"name":"x","datatype":"FP32","shape":[%s,4],"data":[0,0,0,0]}]}' % name)  # noqa: UP031
            for name in (str(1 << 63), str(1 << 70), "1e3", "1.0", '"1"', "true", "null", "[1]")
        ],
    ),
    Case(
        number=20,
        what="a shape of four million entries",
        grpc=[call("4 Mi", INVALID, many_dimensions)],
        http=[
            rest("4 Mi", INVALID, lambda: b'{"inputs":[{"name":"x","datatype":"FP32","shape":[' + b"1," * (4 << 20) + b'1],"data":[0]}]}')
        ],
    ),
    Case(
        number=21,
        what="a shape that is large and costs nothing to send",
        grpc=[
            call("[10^9] strings", INVALID, infer(tensor(datatype="BYTES", shape=[10**9, 1]), raw=[bytes(4)], model="same_bytes")),
            call("[10^6] strings", INVALID, infer(tensor(datatype="BYTES", shape=[10**6, 1]), raw=[bytes(4)], model="same_bytes")),
            call("[2^24] numbers", INVALID, infer(tensor(shape=[1 << 22, 4]), raw=[ROW])),
            call("[2^22] varints", INVALID, infer(tensor(datatype="INT64", shape=[1 << 22, 1], int64_contents=[1]), model="same_int64")),
            call("[2^24] varints", TOO_LARGE, infer(tensor(datatype="INT64", shape=[1 << 24, 1], int64_contents=[1]), model="same_int64")),
        ],
        http=[
            rest("[10^9] strings", INVALID, body(item(datatype="BYTES", shape=[10**9, 1], data=["a"])), model="same_bytes"),
            rest("[2^24] numbers", INVALID, shaped([1 << 22, 4])),
        ],
        note="2^24 varints would be over limits.request.max_typed_bytes, which is looked at before their number is",
    ),
    Case(
        number=22,
        what="a batch of max_batch_size, of one more, and of many more",
        grpc=[
            call(str(count), OK, rows(count), check=lambda message, count=count: check_rows(message, count))
            for count in (MAX_BATCH, MAX_BATCH + 1, 5 * MAX_BATCH + 3)
        ],
        http=[rest(str(count), OK, json_rows(count)) for count in (MAX_BATCH, MAX_BATCH + 1, 5 * MAX_BATCH + 3)],
        note="a larger request is split, not refused",
    ),
    Case(
        number=23,
        what="inputs with different numbers of rows",
        grpc=[call("1 and 2", INVALID, infer(A, tensor("b", "INT64", (2, 1)), raw=[RAW_A, RAW_B * 2], model="pair"))],
        http=[rest("1 and 2", INVALID, body(ITEM_A, item("b", "INT64", [2, 1], [0, 0])), model="pair")],
    ),
    Case(
        number=24,
        what="a scalar for a batched model",
        grpc=[
            call("[]", INVALID, infer(tensor(shape=[]), raw=[bytes(4)])),
            call("[] strings", INVALID, infer(tensor(datatype="BYTES", shape=[]), raw=[bytes(4)], model="same_bytes")),
        ],
        http=[rest("[]", INVALID, shaped([], [0])), rest("[] of a number", INVALID, shaped([], 0))],
    ),
    Case(
        number=25,
        what="a free dimension of a million",
        grpc=[call("[1,10^6]", OK, lambda: infer(tensor(shape=[1, 10**6]), raw=[bytes(4 * 10**6)], model="same_fp32"))],
        http=[
            rest(
                "[1,10^6]",
                OK,
                lambda: b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1000000],"data":[' + b"0," * 999_999 + b"0]}]}",
                model="same_fp32",
            )
        ],
        note="it waits in a lane of its own and runs alone, within limits.serving.max_batch_bytes, so it is served",
    ),
]


def check_rows(message: bytes, count: int) -> None:
    """All rows came back, in two outputs."""
    answer = pb.ModelInferResponse.FromString(message)
    assert [[count, 4], [count]] == [list(output.shape) for output in answer.outputs]
    assert [16 * count, 4 * count] == [len(raw) for raw in answer.raw_output_contents]
