"""Cases 51–70: what may be wrong with the body of a REST request."""

from __future__ import annotations

import json
import struct

from gateway.errors import Code
from tests.e2e.peer_http1 import INFER
from tests.e2e.rows import GOOD_BODY, ROW, Case, Rest, body, call, infer, item, rest, tensor

INVALID, TOO_LARGE, OK, INTERNAL = Code.INVALID_ARGUMENT, Code.TOO_LARGE, Code.OK, Code.INTERNAL
JSON_ONLY = "a gRPC message has no JSON"
BINARY = "application/octet-stream"
GOOD_TEXT = json.dumps(GOOD_BODY)


def data(values: str, datatype: str = "FP32", shape: str = "[1,4]") -> str:
    """A body whose data is this text."""
    return '{"inputs":[{"name":"x","datatype":"%s","shape":%s,"data":%s}]}' % (datatype, shape, values)  # noqa: UP031


def binary_item(size: object, *, shape: object = (1, 4), **more: object) -> dict:
    return item(shape=shape, data=None, parameters={"binary_data_size": size}) | more


def binary(
    label: str, code: Code, description: dict | bytes, tail: bytes, *, length: str | None = None, model: str = "rows", **more: str
) -> Rest:
    """A body of JSON and `tail`; `length` in place of the right one."""
    text = description if isinstance(description, bytes) else json.dumps(description).encode()
    headers = {"content-type": BINARY, "inference-header-content-length": str(len(text)) if length is None else length, **more}
    return rest(label, code, text + tail, model=model, headers=headers)


def twice() -> bytes:
    """The length header sent twice, with the same value."""
    text = GOOD_TEXT.encode()
    line = f"inference-header-content-length: {len(text)}\r\n"
    head = f"POST {INFER.format('rows')} HTTP/1.1\r\nhost: a\r\n{line}{line}content-type: {BINARY}\r\ncontent-length: {len(text)}\r\n\r\n"
    return head.encode() + text


ONE = json.dumps(body(binary_item(16))).encode()


def check_tokens(found: bytes) -> None:
    """Not null, and readable by every client that reads Triton's answers."""
    assert b"[NaN,-Infinity]" in found.replace(b" ", b"")


CASES = [
    Case(
        number=51,
        what="a body that is empty or no object",
        grpc="case 41",
        http=[rest(repr(text), INVALID, text) for text in ("", "null", "[]", '"x"', "7", "true", " ")],
    ),
    Case(
        number=52,
        what="broken JSON: truncated, with a tail, BOM, comments, UTF-16, no UTF-8, half a surrogate pair",
        grpc="case 41",
        http=[
            rest("truncated", INVALID, GOOD_TEXT[:-2]),
            rest("tail", INVALID, GOOD_TEXT + "x"),
            rest("second object", INVALID, GOOD_TEXT + GOOD_TEXT),
            rest("BOM", INVALID, b"\xef\xbb\xbf" + GOOD_TEXT.encode()),
            rest("comment", INVALID, "/* */" + GOOD_TEXT),
            rest("trailing comma", INVALID, data("[0,0,0,0,]")),
            rest("single quotes", INVALID, GOOD_TEXT.replace('"', "'")),
            rest("UTF-16", INVALID, GOOD_TEXT.encode("utf-16")),
            rest("no UTF-8", INVALID, data("[0,0,0,0]").encode().replace(b'"x"', b'"\xff"')),
            rest("surrogate", INVALID, GOOD_TEXT.replace('"x"', '"\\ud800"')),
            rest("bad escape", INVALID, GOOD_TEXT.replace('"x"', '"\\x41"')),
            rest("raw line break in a text", INVALID, GOOD_TEXT.replace('"x"', '"x\n"')),
        ],
    ),
    Case(
        number=53,
        what="JSON that is nested 120, 2,000 and 250,000 deep",
        grpc="case 41 has deep groups",
        http=[rest(f"{depth} lists as data", INVALID, data("[" * depth + "0" + "]" * depth)) for depth in (120, 2_000, 250_000)]
        + [rest(f"{depth} unclosed", INVALID, "[" * depth) for depth in (120, 250_000)]
        + [
            rest(f"{depth} objects as a later key", INVALID, GOOD_TEXT[:-1] + ',"k":' + '{"a":' * depth + "0" + "}" * (depth + 1))
            for depth in (120, 250_000)
        ],
    ),
    Case(
        number=54,
        what="a key twice in one object",
        grpc="protobuf takes the last one, as its specification says",
        http=[
            rest("inputs", INVALID, GOOD_TEXT[:-1] + ',"inputs":[]}'),
            rest("shape", INVALID, GOOD_TEXT.replace('"shape"', '"shape":[9,9],"shape"')),
            rest("escaped", INVALID, GOOD_TEXT.replace('"shape"', '"sh\\u0061pe":[9,9],"shape"')),
            rest("parameter", INVALID, GOOD_TEXT[:-1] + ',"parameters":{"a":1,"a":2}}'),
        ],
    ),
    Case(
        number=55,
        what="NaN and Infinity as tokens",
        grpc="floats have bytes for them: case 117",
        http=[
            rest("FP32", OK, data("[NaN,Infinity,-Infinity,0]")),
            rest("INT32", INVALID, data("[NaN]", "INT32", "[1,1]"), model="same_int32"),
        ]
        + [rest(f"{token} as shape", INVALID, data("[0,0,0,0]", shape=f"[{token},4]")) for token in ("NaN", "Infinity")]
        + [rest(token, INVALID, data(f"[{token},0,0,0]")) for token in ("nan", "inf", "+Infinity", "-NaN", "Inf")],
        note="read for floating types, as Triton and TF-Serving do",
    ),
    Case(
        number=56,
        what="numbers out of range: 1e999, 5,000 digits, 1e39 for FP32",
        grpc="case 33",
        http=[rest(text[:12], INVALID, data(f"[{text},0,0,0]")) for text in ("1e999", "-1e999", "1E400", "1e39", "9" * 5_000, "3.5e38")]
        + [
            rest("-0", OK, data("[-0,-0.0,0,1e-999]")),
            rest("5,000 digits for INT64", INVALID, data("[%s]" % ("9" * 5_000), "INT64", "[1,1]"), model="same_int64"),
        ]
        + [rest("70,000 for FP16", INVALID, data("[70000]", "FP16", "[1,1]"), model="same_fp16")]
        + [rest(text, INVALID, data(f"[{text},0,0,0]")) for text in ("01", "+1", ".5", "1.", "0x1", "1_000")],
    ),
    Case(
        number=57,
        what="an output that is NaN or infinite",
        grpc=[call("ln -1", OK, infer(tensor(shape=(2, 1)), raw=[struct.pack("<2f", -1, 0)], model="logarithm"))],
        http=[
            rest("ln -1 and ln 0", OK, data("[-1,0]", shape="[2,1]"), model="logarithm", check=check_tokens),
            binary(
                "ln -1 in binary",
                OK,
                body(binary_item(4, shape=[1, 1]), parameters={"binary_data_output": True}),
                struct.pack("<f", -1),
                model="logarithm",
            ),
        ],
        neighbours="logarithm",
        note="JSON answers carry NaN and Infinity tokens; `rest.strict_json` makes them an error that names the output",
    ),
    Case(
        number=58,
        what="values of another JSON type than the datatype's",
        grpc="case 32",
        http=[
            rest("1.5 for INT32", INVALID, data("[1.5]", "INT32", "[1,1]"), model="same_int32"),
            rest("1.0 for INT32", INVALID, data("[1.0]", "INT32", "[1,1]"), model="same_int32"),
            rest("1e2 for INT32", INVALID, data("[1e2]", "INT32", "[1,1]"), model="same_int32"),
            rest("text for FP32", INVALID, data('["1",0,0,0]')),
            rest("true for FP32", INVALID, data("[true,0,0,0]")),
            rest("true for INT32", INVALID, data("[true]", "INT32", "[1,1]"), model="same_int32"),
            rest("null", INVALID, data("[null,0,0,0]")),
            rest("number for BYTES", INVALID, data("[1]", "BYTES", "[1,1]"), model="same_bytes"),
            rest("text for BOOL", INVALID, data('["true"]', "BOOL", "[1,1]"), model="same_bool"),
            rest("object as data", INVALID, data('{"0":0}')),
            rest("text as data", INVALID, data('"0,0,0,0"')),
            rest("number as data", INVALID, data("0")),
        ],
    ),
    Case(
        number=59,
        what="nested data: ragged, not as the shape says, deeper than the rank; flat is right",
        grpc="typed contents are flat",
        http=[
            rest("nested", OK, data("[[0,0,0,0]]")),
            rest("flat", OK, data("[0,0,0,0]")),
            rest("ragged", INVALID, data("[[0,0],[0,0,0]]", shape="[2,4]")),
            rest("[2,2] for [1,4]", INVALID, data("[[0,0],[0,0]]")),
            rest("[4,1] for [1,4]", INVALID, data("[[0],[0],[0],[0]]")),
            rest("deeper than the rank", INVALID, data("[[[0,0,0,0]]]")),
            rest("mixed", INVALID, data("[[0,0,0],0]")),
            rest("half flat", INVALID, data("[0,[0,0,0]]")),
        ],
    ),
    Case(
        number=60,
        what="a text that stands for far more bytes than it has",
        grpc="case 33: varints grow at most eightfold, within limits.request.max_typed_bytes",
        http=[
            rest(
                "8 Mi zeros for FP64",
                OK,
                lambda: data("[" + "0," * ((8 << 20) - 100) + "0]", "FP64", f"[1,{(8 << 20) - 99}]").encode(),
                model="same_fp64",
            ),
            rest(
                "over the bound on tensors",
                TOO_LARGE,
                lambda: data("[" + "0," * (8 << 20) + "0]", "FP64", f"[1,{(8 << 20) + 1}]").encode(),
                model="same_fp64",
            ),
            rest("17 MiB of JSON", TOO_LARGE, lambda: GOOD_TEXT.encode() + b" " * (17 << 20)),
        ],
    ),
    Case(
        number=61,
        what="a million inputs",
        grpc="case 40",
        http=[
            rest("empty objects", INVALID, lambda: b'{"inputs":[' + b"{}," * 999_999 + b"{}]}"),
            rest("whole inputs", INVALID, lambda: b'{"inputs":[' + b",".join([json.dumps(item(data=[0])).encode()] * 100_000) + b"]}"),
        ],
    ),
    Case(
        number=62,
        what="strings as one text or in the wrong number",
        grpc="case 37",
        http=[
            rest("base64", INVALID, data('"AQAAAGE="', "BYTES", "[1,1]"), model="same_bytes"),
            rest("2 for 3", INVALID, data('["a","b"]', "BYTES", "[3,1]"), model="same_bytes"),
        ],
    ),
    Case(
        number=63,
        what="unknown keys, and a model_name that is not the path's",
        grpc="a message names its model once",
        http=[
            rest("unknown key", OK, body(item(), unknown={"a": [1]})),
            rest("another model", INVALID, body(item(), model_name="other")),
            rest("another version", INVALID, body(item(), model_version="7")),
            rest("the same model", OK, body(item(), model_name="rows")),
        ],
    ),
    Case(
        number=64,
        what="binary_data_size: missing, negative, fractional, beyond the body, overflowing",
        grpc="raw contents carry their own length",
        http=[
            binary("missing", INVALID, body(item(data=None)), ROW),
            *(
                binary(str(size)[:24], INVALID, body(binary_item(size)), ROW)
                for size in (-1, 16.0, "16", True, 17, 1 << 31, 1 << 63, 1 << 64, None)
            ),
            binary(
                "sum overflows",
                INVALID,
                body(binary_item((1 << 63) - 1, name="a"), binary_item((1 << 63) - 1, name="b")),
                ROW,
                model="pair",
            ),
            rest("without the header", INVALID, body(binary_item(16))),
        ],
    ),
    Case(
        number=65,
        what="a binary size that is not the shape's",
        grpc="case 30",
        http=[binary(str(size), INVALID, body(binary_item(size)), bytes(size)) for size in (0, 12, 20, 32)],
    ),
    Case(
        number=66,
        what="`data` and `binary_data_size` in one input",
        grpc="case 28",
        http=[binary("both", INVALID, body(binary_item(16, data=[0, 0, 0, 0])), ROW)],
    ),
    Case(
        number=67,
        what="Inference-Header-Content-Length: negative, no number, signed, too large, inside the JSON, 0, sent twice",
        grpc=JSON_ONLY,
        http=[
            *(
                binary(repr(length), INVALID, ONE, ROW, length=length)
                for length in ("-1", "abc", "+5", "99999999999", "9" * 30, "", "0x10", "1e2", "٣")
            ),
            binary("beyond the body", INVALID, ONE, ROW, length=str(len(ONE) + 17)),
            binary("inside the JSON", INVALID, ONE, ROW, length=str(len(ONE) - 1)),
            binary("behind the JSON", INVALID, ONE, ROW, length=str(len(ONE) + 1)),
            binary("0 with two inputs", INVALID, b"", ROW, length="0", model="pair"),
            binary("0 with a wrong size", INVALID, b"", ROW[:-1], length="0"),
            binary("0 with one input", OK, b"", ROW, length="0"),
            Rest("twice", twice(), 400, INVALID.name),
        ],
    ),
    Case(
        number=68,
        what="bytes behind the last binary input",
        grpc="case 27",
        http=[binary("1", INVALID, ONE, ROW + b"\0"), binary("behind JSON data", INVALID, GOOD_TEXT.encode(), b"\0")],
    ),
    Case(
        number=69,
        what="the length header on a body of type application/json",
        grpc=JSON_ONLY,
        http=[binary("application/json", OK, ONE, ROW, **{"content-type": "application/json"})],
        note="accepted, as the extension's own client sends it",
    ),
    Case(
        number=70,
        what="`binary_data` that is no boolean",
        grpc=JSON_ONLY,
        http=[
            rest(repr(value), INVALID, body(item(), outputs=[{"name": "y", "parameters": {"binary_data": value}}]))
            for value in ("yes", 1, 1.5)
        ]
        + [rest("binary_data_output as text", INVALID, body(item(), parameters={"binary_data_output": "true"}))],
    ),
]
