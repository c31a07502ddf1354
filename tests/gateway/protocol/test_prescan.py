"""The scan of large requests before protobuf parses them: counts, codes, time and memory (cases 20, 40 and 43)."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import Code, TidegateError
from gateway.limits import RequestLimits
from gateway.pb import inference_pb2 as pb
from gateway.protocol.prescan import FIELDS_BESIDE_STRINGS, prescan

ROOT = Path(__file__).resolve().parents[3]
LIMITS = RequestLimits()
HEAD = {"name": "x", "datatype": "FP32", "shape": [1, 2]}


def message(**fields: Any) -> bytes:
    return pb.ModelInferRequest(**fields).SerializeToString()


def refusal(sent: bytes) -> tuple[Code, str]:
    with pytest.raises(TidegateError) as refused:
        prescan(sent, LIMITS)
    return refused.value.code, refused.value.message


def test_raw_contents_are_cut_out_in_order() -> None:
    """What is left is the message without them; they are views of the message, empty ones too."""
    raws = [b"abcd", b"", bytes(300)]
    rest, got = prescan(message(model_name="m", id="i", inputs=[HEAD] * 3, raw_input_contents=raws), LIMITS)
    assert message(model_name="m", id="i", inputs=[HEAD] * 3) == rest
    assert raws == [bytes(data) for data in got]


def test_a_memoryview_is_scanned_as_it_is() -> None:
    """The wire may hand over a part of its buffer."""
    sent = message(inputs=[HEAD], raw_input_contents=[b"abcd"])
    rest, [raw] = prescan(memoryview(b"#" + sent)[1:], LIMITS)
    assert (message(inputs=[HEAD]), b"abcd") == (rest, bytes(raw))


PARAMETERS = {f"p{i}": pb.InferParameter(bool_param=True) for i in range(33)}
STRINGS = {"bytes_contents": [b""] * (LIMITS.max_string_elements // 2 + 1)}


@pytest.mark.parametrize(
    ("fields", "code", "text"),
    [
        ({"inputs": [{}] * 65}, Code.INVALID_ARGUMENT, "more than 64 inputs"),
        ({"outputs": [{}] * 65}, Code.TOO_LARGE, "more than 64 outputs"),
        ({"raw_input_contents": [b""] * 65}, Code.INVALID_ARGUMENT, "more than 64 raw input contents"),
        ({"parameters": PARAMETERS}, Code.TOO_LARGE, "the request has more than 32 parameters"),
        ({"inputs": [{"shape": [1] * 9}]}, Code.INVALID_ARGUMENT, "more than 8 dimensions"),
        ({"inputs": [{"parameters": PARAMETERS}]}, Code.TOO_LARGE, "an input has more than 32 parameters"),
        ({"inputs": [{"contents": STRINGS}] * 2}, Code.TOO_LARGE, f"more than {LIMITS.max_string_elements} string elements"),
        ({"outputs": [{"parameters": PARAMETERS}]}, Code.TOO_LARGE, "a requested output has more than 32 parameters"),
    ],
)
def test_each_count_has_its_limit(fields: dict[str, Any], code: Code, text: str) -> None:
    """One more than the limit is refused with the code of the catalogue, whatever bytes follow."""
    got = refusal(message(**fields) + b"\xff")
    assert code == got[0]
    assert text in got[1]


def test_counts_per_tensor_are_of_each_tensor() -> None:
    """Two inputs with as many dimensions and parameters as one may have are fine, and a shape may come unpacked."""
    full = {"shape": [1] * 8, "parameters": dict(list(PARAMETERS.items())[:32])}
    prescan(message(inputs=[full, full], outputs=[{"parameters": full["parameters"]}] * 2), LIMITS)
    assert Code.INVALID_ARGUMENT == refusal(b"\x2a\x12" + b"\x18\x01" * 9)[0]


def test_unknown_fields_are_bounded() -> None:
    """A later client's fields pass; a million and more of them are no client's."""
    prescan(b"\x78\x01" * FIELDS_BESIDE_STRINGS, LIMITS)
    most = LIMITS.max_string_elements + FIELDS_BESIDE_STRINGS
    assert (Code.TOO_LARGE, f"the request has more than {most} fields") == refusal(b"\x78\x01" * (most + 1))


def seconds(sent: bytes) -> float:
    """The best of three: what the scan takes when nothing else runs."""
    best = float("inf")
    for _ in range(3):
        begin = time.perf_counter()
        with contextlib.suppress(TidegateError):
            prescan(sent, LIMITS)
        best = min(best, time.perf_counter() - begin)
    return best


def test_data_is_skipped_by_its_length() -> None:
    """32 MiB in one raw content take no longer than 64 KiB: far below the 3 ms that reading them would."""
    sent = message(model_name="m", inputs=[HEAD], raw_input_contents=[bytes(32 << 20)])
    assert 0.001 > seconds(sent)


def test_hostile_messages_take_time_linear_in_their_fields() -> None:
    """Two million tiny fields are left at the first excess, or after as many as a request may have."""
    assert 0.001 > seconds(b"\x2a\x00" * (2 << 20))
    assert 0.5 > seconds(b"\x78\x01" * (2 << 20))


MEASURE = """
import ctypes
import re
from gateway.errors import TidegateError
from gateway.limits import RequestLimits
from gateway.protocol.v2_grpc import Decoder
from tests_hostile import MESSAGES

def resident(field):
    with open("/proc/self/status") as status:
        return int(re.search(field + r":\\s+(\\d+)", status.read())[1]) << 10

decoder = Decoder(RequestLimits())
for name, make in MESSAGES.items():
    message = make()
    ctypes.CDLL(None).malloc_trim(0)  # what building the message left behind would hide what decoding takes
    with open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")
    before = resident("VmRSS")
    try:
        decoder.decode(message)
    except TidegateError:
        pass
    print(name, len(message), resident("VmHWM") - before)
"""
HOSTILE = """
import struct
from gateway.pb import inference_pb2 as pb

def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out) + bytes([n])

def typed(datatype, count, contents):
    head = pb.ModelInferRequest.InferInputTensor(datatype=datatype, shape=[count]).SerializeToString()
    body = head + b"\\x2a" + varint(len(contents)) + contents
    return b"\\x2a" + varint(len(body)) + body

M = 1 << 20
MESSAGES = {
    "warm": lambda: typed("INT64", 1, b"\\x18\\x01") + b"\\x7a\\x80\\x80\\x04" + bytes(1 << 16),
    "empty_inputs": lambda: b"\\x2a\\x00" * (2 * M),
    "empty_inputs_small": lambda: b"\\x2a\\x00" * (32 << 10),
    "empty_outputs_small": lambda: b"\\x32\\x00" * (32 << 10),
    "empty_raws": lambda: b"\\x3a\\x00" * (2 * M),
    "packed_shape": lambda: b"\\x2a" + varint(4 * M + 5) + b"\\x1a" + varint(4 * M) + bytes(4 * M),
    "packed_integers": lambda: typed("UINT64", 16 * M, b"\\x2a" + varint(16 * M) + bytes(16 * M)),
    "two_packed_integers": lambda: 2 * typed("INT64", 15 * M, b"\\x1a" + varint(15 * M) + bytes(15 * M)),
    "most_packed_integers": lambda: typed("INT64", 8 * M, b"\\x1a" + varint(8 * M) + bytes(8 * M)),
    "typed_floats": lambda: typed("FP32", 7 * M, b"\\x32" + varint(28 * M) + bytes(28 * M)),
    "single_integers": lambda: typed("INT64", M, b"\\x18\\x01" * M),
    "strings": lambda: typed("BYTES", M, b"\\x42\\x02ab" * M),
    "raw_strings": lambda: (
        pb.ModelInferRequest(inputs=[{"datatype": "BYTES", "shape": [M]}]).SerializeToString()
        + b"\\x3a" + varint(6 * M) + b"\\x02\\0\\0\\0ab" * M
    ),
    "unknown_fields": lambda: b"\\x78\\x01" * M,
    "contents_in_pieces": lambda: b"\\x2a" + varint(120_000) + b"\\x2a\\x00" * 60_000,
}
"""


def test_case_40_peak_memory_is_bounded(tmp_path: Path) -> None:
    """Hostile requests cost at most 50 times their bytes and 256 MiB to decode or refuse, measured in a process of their own."""
    (tmp_path / "tests_hostile.py").write_text(HOSTILE)
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{tmp_path}"}
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=False, env=environment)
    assert "" == done.stderr
    costs = {name: (int(size), int(peak)) for name, size, peak in (line.split() for line in done.stdout.splitlines())}
    del costs["warm"]
    noise = 1 << 20
    over = {name: cost for name, cost in costs.items() if cost[1] > min(50 * cost[0] + noise, 256 << 20)}
    assert {} == over
    assert 200 << 20 > costs["empty_inputs"][1]
