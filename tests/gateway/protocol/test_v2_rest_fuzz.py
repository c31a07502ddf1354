"""Any body at all: what is refused, what is taken, what it costs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Code, TidegateError
from gateway.limits import RequestLimits
from gateway.protocol.binding import bind
from gateway.protocol.tensors import BoundRequest, Signature, TensorSpec
from gateway.protocol.v2_rest import decode

ROOT = Path(__file__).resolve().parents[3]
LIMITS = RequestLimits()
SIGNATURE = Signature("m", (TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1,)),), 8)
GOOD = '{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}'
SIZED = '{"name":"x","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}'
EIGHT = bytes(8)


def infer(body: bytes | str, header_length: bytes | None = None, signature: Signature = SIGNATURE) -> BoundRequest:
    sent = body.encode() if isinstance(body, str) else body
    got, _ = decode(sent, header_length=header_length, model="m", version="1", signature=signature, limits=LIMITS)
    return bind(signature, got, LIMITS)


def inputs(text: str) -> str:
    return '{"inputs":[' + text + "]}"


def binary(text: str, tail: bytes = EIGHT) -> tuple[bytes, bytes]:
    return text.encode() + tail, b"%d" % len(text.encode())


KEYS = st.sampled_from(
    ["inputs", "outputs", "id", "name", "shape", "datatype", "data", "parameters", "binary_data_size", "binary_data", "model_name", "z"]
)
SCALARS = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.sampled_from(["x", "y", "FP32", "BYTES", "NaN", '"', "\\", "\x7f"])
)
ANY_JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=20)
INPUT = st.fixed_dictionaries(
    {"name": SCALARS | st.just("x"), "shape": st.just([1, 2]) | ANY_JSON, "datatype": st.just("FP32") | SCALARS},
    optional={"data": ANY_JSON, "parameters": ANY_JSON},
)
BODY = st.fixed_dictionaries(
    {"inputs": st.lists(INPUT, max_size=3) | ANY_JSON}, optional={"outputs": ANY_JSON, "id": SCALARS, "parameters": ANY_JSON, "z": ANY_JSON}
)


def outcome(body: bytes, header_length: bytes | None) -> Code:
    try:
        infer(body, header_length)
    except TidegateError as error:
        return error.code if error.message.isprintable() else Code.INTERNAL
    return Code.OK


REFUSALS = {Code.OK, Code.INVALID_ARGUMENT, Code.TOO_LARGE, Code.UNIMPLEMENTED}


@given(BODY | ANY_JSON, st.none() | st.binary(max_size=12))
def test_no_json_does_more_than_be_refused(value: Any, tail: bytes | None) -> None:
    """Only TidegateError escapes, with a code for a caller's mistake."""
    text = json.dumps(value).encode()
    assert outcome(text + (tail or b""), None if tail is None else b"%d" % len(text)) in REFUSALS


@given(st.binary(max_size=200), st.none() | st.integers(0, 200).map(lambda length: b"%d" % length) | st.binary(max_size=5))
def test_no_bytes_do_more_than_be_refused(body: bytes, header_length: bytes | None) -> None:
    """Nor does any header."""
    assert outcome(body, header_length) in REFUSALS


@given(
    st.sampled_from([inputs(GOOD).encode(), inputs(SIZED).encode() + EIGHT]),
    st.lists(st.tuples(st.integers(0, 120), st.binary(min_size=1, max_size=2)), max_size=4),
    st.booleans(),
)
def test_no_change_of_a_good_body_does_more_than_be_refused(body: bytes, changes: list[tuple[int, bytes]], with_header: bool) -> None:
    """A few bytes of it overwritten."""
    for at, piece in changes:
        body = body[:at] + piece + body[at + len(piece) :]
    assert outcome(body, b"%d" % (len(body) - 8) if with_header else None) in REFUSALS


def accepts(text: bytes) -> bool:
    """What the standard library makes of a JSON body with one input for `x`: the strict reading of keys and numbers."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError
        return dict(pairs)

    try:
        body = json.loads(text.decode(), object_pairs_hook=unique)
        (item,) = body["inputs"]
        known = {"name": "x", "shape": [1, 2], "datatype": "FP32"}
        numbers = item["data"][0] if len(item["data"]) == 1 else item["data"]
        return {key: item[key] for key in known} == known and len(numbers) == 2 and all(type(number) in {int, float} for number in numbers)
    except (ValueError, KeyError, TypeError, IndexError):
        return False


PIECES = st.sampled_from(
    [
        '"name"',
        '"x"',
        ":",
        ",",
        "1",
        "2.5",
        '"shape"',
        "[1,2]",
        '"datatype"',
        '"FP32"',
        '"data"',
        "{",
        "}",
        "[",
        "]",
        '"z"',
        " ",
        "[[1,2]]",
        "NaN",
    ]
)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12), PIECES), max_size=2))
def test_a_body_is_taken_exactly_if_the_strict_reading_takes_it(edits: list[tuple[int, int, str]]) -> None:
    """The quick reading by counted quotes, against the standard library with a check of every key."""
    text = inputs(GOOD)
    for at, length, piece in edits:
        text = text[:at] + piece + text[at + length :]
    assert accepts(text.encode()) == (outcome(text.encode(), None) is Code.OK)


MEMORY = """
import os, sys
sys.path.insert(0, sys.argv[1])
from gateway.errors import TidegateError
from gateway.limits import RequestLimits
from gateway.protocol.v2_rest import decode
size = 16 << 20
def fill(head, piece, tail): return head + piece * ((size - len(head) - len(tail)) // len(piece)) + tail
X = b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"%s","data":[%s'
bodies = {
    "lists": fill(X % (b"FP32", b"["), b"[],", b"[]]]}]}"), "objects": fill(X % (b"FP32", b""), b"{},", b"{}]}]}"),
    "inputs": fill(b'{"inputs":[', b"{},", b"{}]}"), "small inputs": fill(b'{"inputs":[', b'{"name":"","shape":0,"datatype":""},', b"1]}"),
    "outputs": fill(b'{"outputs":[', b'{"name":""},', b"1]}"), "parameters": fill(b'{"parameters":{', b'"a":1,', b'"b":1}}'),
    "unknown": fill(b'{"later":[', b"[],", b"[]]}"), "shape":
        fill(b'{"inputs":[{"name":"x","shape":[', b"999,", b'1],"datatype":"","data":0}]}'),
    "strings": fill(X % (b"BYTES", b""), b'"",', b'""]}]}'), "nan": fill(X % (b"FP32", b""), b"NaN,", b"1]}]}"),
    "zeros": b'{"inputs":[{"name":"x","datatype":"FP64","shape":[8388001],"data":[' + b"0," * 8_388_000 + b"0]}]}",
    "rows": b'{"inputs":[{"name":"x","datatype":"INT8","shape":[4000001,1],"data":[' + b"[0]," * 4_000_000 + b"[0]]}]}",
    "tokens": b'{"inputs":[{"name":"x","datatype":"FP64","shape":[4000001],"data":[' + b"NaN," * 4_000_000 + b"0]}]}",
    "texts": b'{"inputs":[{"name":"x","datatype":"BYTES","shape":[1048576],"data":[' + b'"\\xc4\\x80abcdefghij",' * 1_048_575 + b'""]}]}',
}
def memory(key): return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key)) >> 10
def cost(body):
    reader, writer = os.pipe()
    if not os.fork():
        open("/proc/self/clear_refs", "w").write("5")  # the peak counts from here
        before = memory("VmRSS")
        try: taken = decode(body, header_length=None, model="m", version="", limits=RequestLimits())
        except TidegateError: pass
        os.write(writer, b"%d" % (memory("VmHWM") - before))
        os._exit(0)
    os.wait()
    return int(os.read(reader, 100))
worst = {name: cost(body) for name, body in bodies.items()}
print(max(worst.values()), worst)
"""


def test_hostile_bodies_cost_little_memory() -> None:
    """Sixteen MiB of whatever costs objects elsewhere: never more than 192 MiB on top of the bodies themselves."""
    ran = subprocess.run([sys.executable, "-c", MEMORY, str(ROOT)], capture_output=True, text=True, check=True, timeout=100)
    assert int(ran.stdout.split()[0]) <= 192, ran.stdout
