"""perf_analyzer as it comes in a wheel of tritonclient: it measures on both protocols, and reads what we say of versions and their times.

Its statistics are those of the extension: it asks for them before and after each level of load, and its report subtracts.
"""

from __future__ import annotations

import csv
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from outcome import equal
from servers import Gateway

TIMEOUT_S = 120
LEVELS = range(1, 5)  # requests under way at once
# Short windows, and no demand that they agree: what is held is that the tool can work, not what it measures.
SHORT = ("--measurement-interval", "500", "--stability-percentage", "999", "--max-trials", "4", "--verbose-csv")


def environment(python: Path) -> dict[str, str]:
    """The program is linked to a library of CUDA, of which it needs no device; it comes in a wheel too."""
    (cuda,) = python.parent.parent.glob("lib/python*/site-packages/nvidia/cuda_runtime/lib")
    return {**os.environ, "LD_LIBRARY_PATH": str(cuda)}


def unary_grpc(python: Path, gateway: Gateway) -> None:
    """ModelInfer, one call after another."""
    measured(python, "-i", "grpc", "-u", gateway.grpc)


def streaming_grpc(python: Path, gateway: Gateway) -> None:
    """ModelStreamInfer."""
    measured(python, "-i", "grpc", "-u", gateway.grpc, "--streaming", "--async")


def http(python: Path, gateway: Gateway) -> None:
    """REST with binary tensors."""
    measured(python, "-i", "http", "-u", gateway.http)


def batches(python: Path, gateway: Gateway) -> None:
    """Eight rows a request, asynchronously, on both."""
    measured(python, "-i", "grpc", "-u", gateway.grpc, "--async", "-b", "8", rows=8)
    measured(python, "-i", "http", "-u", gateway.http, "--async", "-b", "8", rows=8)


def json_tensors(python: Path, gateway: Gateway) -> None:
    """REST with tensors in JSON."""
    measured(python, "-i", "http", "-u", gateway.http, "--input-tensor-format", "json", "--output-tensor-format", "json")


def measured(python: Path, *options: str, rows: int = 1) -> None:
    """It ends well, and its report is plausible."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.csv"
        levels = f"{LEVELS.start}:{LEVELS.stop - 1}"
        command = [python.with_name("perf_analyzer"), "-m", "plus_one", *options, "--concurrency-range", levels, *SHORT, "-f", report]
        done = subprocess.run(command, env=environment(python), capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        equal(0, done.returncode, f"{' '.join(options)}: {(done.stdout + done.stderr)[-1500:]}")
        lines = list(csv.DictReader(report.read_text().splitlines()))
    equal([str(level) for level in LEVELS], sorted(line["Concurrency"] for line in lines), done.stdout[-1000:])
    for line in lines:
        plausible(line, rows)


def plausible(line: dict[str, str], rows: int) -> None:
    """More than nothing was answered; the times of the server, which are averages in µs, are parts of those of the client."""
    rate, whole = float(line["Inferences/Second"]), float(line["Avg latency"])
    equal(True, rate > rows, str(line))
    parts = [float(line[f"Server {part}"]) for part in ("Queue", "Compute Input", "Compute Infer", "Compute Output")]
    equal(True, 0 < sum(parts) <= whole and parts[2] > 0, str(line))


CHECKS: list[Callable[[Path, Gateway], None]] = [unary_grpc, streaming_grpc, http, batches, json_tensors]
