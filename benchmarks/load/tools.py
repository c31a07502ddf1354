"""h2load and wrk, run as they are: independent load generators whose figures stand beside the replayer's.

Both abandon what is in flight when their time is up, so a server's count may exceed theirs by up to that many.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load.headers import INFER_PATH

BODIES_SCRIPT = Path(__file__).with_name("bodies.lua")


class ToolError(Exception):
    """A load generator that failed or reported failed requests."""


@dataclass(frozen=True, slots=True)
class Post:
    """What h2load sends: one request, over and over. `http1`: over HTTP/1.1, one in flight on a connection."""

    path: str
    fields: tuple[str, ...]
    http1: bool = False


GRPC = Post(INFER_PATH, ("content-type: application/grpc", "te: trailers"))


def h2load(
    address: tuple[str, int], body: bytes, *, connections: int, streams: int, warmup_s: int, seconds: int, cpu: int,
    post: Post = GRPC, secure: bool = False,
) -> float:  # fmt: skip
    """Requests per second with one constant body, over TLS where `secure`. h2load sees HTTP statuses only, not gRPC's."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        headers = [part for field in post.fields for part in ("-H", field)]
        version = ["--h1"] if post.http1 else []
        size = ["-c", str(connections), "-m", str(streams), "-D", str(seconds), "--warm-up-time", str(warmup_s)]
        text = _run(["h2load", *version, *size, "-d", file.name, *headers, _url(address, post.path, secure)], cpu)
    return read_h2load(text)


def wrk(
    address: tuple[str, int], path: str, bodies: Sequence[bytes], *, connections: int, seconds: int, cpu: int, secure: bool = False
) -> float:
    """HTTP/1.1 POSTs per second, the JSON bodies in turn, over TLS where `secure`."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"\n".join(bodies))
        file.flush()
        size = ["-t", "1", "-c", str(connections), "-d", f"{seconds}s", "-s", str(BODIES_SCRIPT)]
        text = _run(["wrk", *size, _url(address, path, secure), "--", file.name], cpu)
    return read_wrk(text)


def read_h2load(text: str) -> float:
    """Requests per second from h2load's report. Raises `ToolError` where any failed."""
    rate = re.search(r"finished in [\d.]+\w+, ([\d.]+) req/s", text)
    counts = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", text)
    if not rate or not counts or int(counts[1]) == 0 or any(int(count) for count in counts.groups()[1:]):
        raise ToolError(f"h2load: {text.strip()[-400:]}")
    return float(rate[1])


def read_wrk(text: str) -> float:
    """Requests per second from wrk's report. Raises `ToolError` where any answer was not 2xx or a socket failed."""
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    if not rate or "Non-2xx" in text or "Socket errors" in text:
        raise ToolError(f"wrk: {text.strip()[-400:]}")
    return float(rate[1])


def version(tool: str) -> str:
    """What a tool says of itself, or `absent`."""
    try:
        result = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "absent"
    return (result.stdout + result.stderr).splitlines()[0].split(" Copyright")[0]


def _url(address: tuple[str, int], path: str, secure: bool) -> str:
    return "{}://{}:{}{}".format("https" if secure else "http", *address, path)


def _run(command: list[str], cpu: int) -> str:
    result = subprocess.run(["taskset", "-c", str(cpu), *command], capture_output=True, text=True, check=False, timeout=120)
    if result.returncode:
        raise ToolError(f"{command[0]}: {(result.stderr or result.stdout).strip()[-400:]}")
    return result.stdout
