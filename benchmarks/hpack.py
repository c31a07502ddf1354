"""What decoding a request's header block costs: `Decoder` beside the `hpack` library, on blocks that differ in every request.

Ours is what the server does with a block that it does not know: `read_request`, which also orders the fields, reads the timeout and holds
the metadata against RFC 9113, and leaves them as bytes. That both mean the same fields is checked first, block by block.

`python -m benchmarks.hpack` prints one JSON object as its last line and writes benchmarks/results/hpack.json; `--quick --json -` only
prints. Rounds alternate; a ratio is taken within each round and the median is judged. Figures are microseconds of CPU a block: seven
constant fields and, but for `constant`, a timeout and a request id of 32 characters. `gil` is the Huffman kernel beside a busy Python
thread, keeping the GIL as it does and releasing it, in calls a second.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hpack
import numba
import numpy as np

from benchmarks import command
from benchmarks.load.headers import HeaderStyle, encode_blocks
from benchmarks.machine import describe_machine, describe_versions
from gateway.limits import WireLimits
from gateway.wire.hpack import Decoder, unpack_fields
from kernels import huffman

RESULT = Path(__file__).parent / "results" / "hpack.json"
ROUNDS, QUICK_ROUNDS, BLOCKS = 15, 7, 1024
GIL_S = 0.2  # one run beside the busy thread
STYLES = {
    "constant": HeaderStyle(),
    "plain": HeaderStyle(varying=True),
    "plain_indexed": HeaderStyle(varying=True, indexed=True),
    "huffman": HeaderStyle(varying=True, huffman=True),
    "huffman_indexed": HeaderStyle(varying=True, huffman=True, indexed=True),
}
BOUNDS = {"constant": 12.0, "plain": 8.0, "plain_indexed": 5.0, "huffman": 7.0, "huffman_indexed": 5.0}  # times the library's speed
GIL_BOUND = 1.2

Decode = Callable[[bytes], object]


def measure(rounds: int, seed: int) -> dict[str, Any]:
    """Both decoders in turns on every style of headers, then the kernel with and without the GIL."""
    measurements = {}
    for name, style in STYLES.items():
        blocks = encode_blocks("localhost:8001", style=style, count=BLOCKS, seed=seed)
        _compare(blocks)
        measurements[name] = _with_medians(
            [{"gateway_us": _run(_gateway(), blocks), "hpack_us": _run(_library(), blocks)} for _ in range(rounds)]
        )
    measurements["gil"] = _with_medians(_contended(rounds))
    return measurements


def judge(measurements: dict[str, Any]) -> list[dict[str, Any]]:
    """One bar a style and one for the GIL: the median of the ratios within a round."""
    bars = [_bar(f"{name}_vs_hpack", measurements[name], "hpack_us", "gateway_us", bound) for name, bound in BOUNDS.items()]
    return [*bars, _bar("huffman_kernel_keeps_gil", measurements["gil"], "kept_per_s", "released_per_s", GIL_BOUND)]


def _bar(name: str, measurement: dict[str, Any], top: str, bottom: str, bound: float) -> dict[str, Any]:
    value = statistics.median(run[top] / run[bottom] for run in measurement["runs"])
    return {"name": name, "value": round(value, 2), "op": ">=", "bound": bound, "holds": value >= bound}


def _with_medians(runs: list[dict[str, float]]) -> dict[str, Any]:
    return {"runs": runs, "median": {key: round(statistics.median(run[key] for run in runs), 3) for key in runs[0]}}


def _decoder() -> Decoder:
    limits = WireLimits()
    return Decoder(max_table_bytes=4096, max_header_bytes=limits.max_header_bytes, max_headers=limits.max_headers)


def _gateway() -> Decode:
    return _decoder().read_request


def _library() -> Decode:
    decode = hpack.Decoder().decode
    return lambda block: decode(block, raw=True)


def _compare(blocks: list[bytes]) -> None:
    ours, timed, oracle = _decoder(), _decoder(), _library()
    for block in blocks:
        fields = [tuple(field) for field in oracle(block)]
        assert fields == ours.decode(block), "a run counts only if both say the same"
        size, front, _, _ = timed.read_request(block)
        assert front > 0, "a run counts only if none of the work is left for later"
        assert sorted(fields) == sorted(unpack_fields(timed.text[:size].tobytes()))


def _run(decode: Decode, blocks: list[bytes]) -> float:
    start = time.process_time()
    for block in blocks:
        decode(block)
    return round((time.process_time() - start) / len(blocks) * 1e6, 3)


def _contended(rounds: int) -> list[dict[str, float]]:
    text = huffman.encode(b"0123456789abcdef" * 2)
    released = numba.njit(huffman.decode_string.signatures, nogil=True)(huffman.decode_string.py_func)
    out = np.empty(huffman.MAX_EXPANSION * len(text), np.uint8)
    with _busy_thread():
        return [
            {"kept_per_s": _rate(huffman.decode_string, text, out), "released_per_s": _rate(released, text, out)} for _ in range(rounds)
        ]


def _rate(kernel: Callable[..., int], text: bytes, out: np.ndarray) -> float:
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < GIL_S:
        assert kernel(text, 0, len(text), out, 0) > 0
        calls += 1
    return round(calls / GIL_S)


@contextmanager
def _busy_thread() -> Iterator[None]:
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            pass

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def main(arguments: list[str] | None = None) -> int:
    """Run, judge, write."""
    options = command.parser(__doc__, seed="the timeouts and request ids").parse_args(arguments)
    machine = describe_machine()
    measurements = measure(QUICK_ROUNDS if options.quick else ROUNDS, options.seed)
    bars = judge(measurements)
    result = {"machine": machine, "versions": describe_versions(), "seed": options.seed, "measurements": measurements, "bars": bars}
    return command.conclude(result, options.json, RESULT)


if __name__ == "__main__":
    sys.exit(main())
