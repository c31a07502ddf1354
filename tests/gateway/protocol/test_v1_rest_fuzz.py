"""Any body of `:predict` at all: what is refused, what is taken, what it costs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Code, TidegateError
from gateway.protocol.tensors import Signature
from tests.gateway.protocol.v1_bodies import MIXED, ONE, TEXT, read

ROOT = Path(__file__).resolve().parents[3]
KEYS = st.sampled_from(["instances", "inputs", "signature_name", "x", "tag", "signal", "sensor", "b64", "z"])
STRINGS = st.sampled_from(["x", "NaN", '"', "\\", "\x7f", "YQ==", "serving_default"])
LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | STRINGS
ANY_JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=20)
BODY = st.dictionaries(KEYS, ANY_JSON, max_size=3) | st.fixed_dictionaries({"instances": st.lists(ANY_JSON, max_size=3)})


def outcome(body: bytes, signature: Signature) -> Code:
    try:
        read(body, signature)
    except TidegateError as error:
        return error.code if error.message.isprintable() else Code.INTERNAL
    return Code.OK


@given(BODY | ANY_JSON, st.sampled_from([ONE, TEXT, MIXED]), st.binary(max_size=3))
def test_no_json_does_more_than_be_refused(value: Any, signature: Signature, tail: bytes) -> None:
    """Only TidegateError escapes, with a code for a caller's mistake."""
    assert outcome(json.dumps(value).encode() + tail, signature) in {Code.OK, Code.INVALID_ARGUMENT, Code.TOO_LARGE}


@given(st.lists(st.tuples(st.integers(0, 80), st.binary(min_size=1, max_size=2)), max_size=4), st.booleans())
def test_no_change_of_a_good_body_does_more_than_be_refused(changes: list[tuple[int, bytes]], named: bool) -> None:
    """A few bytes of it overwritten."""
    bodies = [b'{"inputs":[[1,-Infinity],[3,4.5]],"later":1}', b'{"signature_name":"","instances":[{"x":[1,NaN]},{"x":[3,4.5]}]}']
    body = bodies[named]
    for at, piece in changes:
        body = body[:at] + piece + body[at + len(piece) :]
    assert outcome(body, ONE) in {Code.OK, Code.INVALID_ARGUMENT}


def accepts(text: bytes) -> bool:
    """What the standard library makes of a body for the one input `x`: the strict reading of keys and numbers."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError
        return dict(pairs)

    try:
        body = json.loads(text.decode(), object_pairs_hook=unique, parse_constant=float.fromhex)
        (rows,) = [body[key] for key in ("instances", "inputs") if key in body]
        by_name = all(isinstance(row, dict) and list(row) == ["x"] for row in rows) if "instances" in body else isinstance(rows, dict)
        values = rows if not by_name else [row["x"] for row in rows] if "instances" in body else rows["x"]
        numbers = [values] if "inputs" in body and not isinstance(values, list) else values
        assert body.get("signature_name", "") in {"", "serving_default"}
        return bool(numbers or "inputs" in body) and all(type(number) in {int, float} for number in numbers)
    except (ValueError, KeyError, TypeError, AssertionError):
        return False


PIECES = st.sampled_from(
    ['"instances"', '"inputs"', '"x"', '"a"', '"a":1,', ":", ",", "1", "2.5", "[", "]", "{", "}", '{"x":', " ", "[]", '"', "\\", "null", ""]
)


@given(
    st.sampled_from(['{"instances":[1,2]}', '{"instances":[{"x":1},{"x":2}]}', '{"inputs":{"x":[1,2]},"a":0}']),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12), PIECES), max_size=2),
)
def test_a_body_is_taken_exactly_if_the_strict_reading_takes_it(text: str, edits: list[tuple[int, int, str]]) -> None:
    """Counted quotes and the shape read off the brackets, against the standard library and a walk; deeper lists are not looked at here."""
    for at, length, piece in edits:
        text = text[:at] + piece + text[at + length :]
    if "[[" not in text.replace(" ", "") and ",[" not in text.replace(" ", ""):
        assert accepts(text.encode()) == (outcome(text.encode(), ONE) is Code.OK)


MEMORY = """
import os, sys
sys.path.insert(0, sys.argv[1])
from gateway.errors import TidegateError
from gateway.limits import RequestLimits
from gateway.protocol.tensors import Signature, TensorSpec
from gateway.protocol.v1_rest import decode
size = 16 << 20
def fill(piece, tail, head=b'{"instances":['): return head + piece * ((size - len(head) - len(tail)) // len(piece)) + tail
bodies = {
    "named": fill(b'{"x":0},', b'{"x":0}]}'), "named with NaN": fill(b'{"x":NaN},', b'{"x":0}]}'), "bare": fill(b"{},", b"{}]}"),
    "zeros": fill(b"0,", b"0]}"), "rows": fill(b"[0],", b"[0]]}"), "tokens": fill(b"NaN,", b"0]}"), "empty lists": fill(b"[],", b"[]]}"),
    "ragged at the end": fill(b"[1],", b"[1,2]]}"), "empty and not": fill(b"[],", b"[1]]}"), "not empty and empty": fill(b"[1],", b"[]]}"),
    "deep and not": fill(b"[[[[[[[]]]]]]],", b"[[1]]]}"), "null at the end": fill(b"[0,0],", b"[0,null]]}"),
    "strings": fill(b'"",', b'""]}'), "bytes": fill(b'{"b64":""},', b'{"b64":""}]}'), "named strings": fill(b'{"x":""},', b'{"x":""}]}'),
    "unknown": fill(b"[],", b"[]]}", b'{"later":['), "unknown names": fill(b'"a":0,', b'"b":0}}', b'{"inputs":{'),
}
def memory(key): return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key)) >> 10
def cost(body, datatype):
    signature = Signature("m", (TensorSpec("x", datatype, (-1, 2)),), (), 8)
    reader, writer = os.pipe()
    if not os.fork():
        open("/proc/self/clear_refs", "w").write("5")  # the peak counts from here
        before = memory("VmRSS")
        try: taken = decode(body, model="m", version="", signature=signature, limits=RequestLimits())
        except TidegateError: pass
        os.write(writer, b"%d" % (memory("VmHWM") - before))
        os._exit(0)
    os.wait()
    return int(os.read(reader, 100))
worst = {(name, datatype): cost(body, datatype) for name, body in bodies.items() for datatype in ("FP64", "BYTES")}
print(max(worst.values()), worst)
"""


def test_hostile_bodies_cost_a_bounded_amount_of_memory() -> None:
    """Sixteen MiB of whatever costs objects elsewhere: never more than 240 MiB on top of the bodies themselves."""
    ran = subprocess.run([sys.executable, "-c", MEMORY, str(ROOT)], capture_output=True, text=True, check=True, timeout=110)
    assert int(ran.stdout.split()[0]) <= 240, ran.stdout
