"""Runs a client program and reads its verdicts: one line `ok NAME` or `FAIL NAME: REASON` per check."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from outcome import Outcome

TIMEOUT_S = 240.0


def checked(command: Sequence[str | Path], environment: dict[str, str], folder: Path | None = None) -> Iterator[Outcome]:
    """The outcomes of one program. One that stops before its last check, or makes none, is a failure of its own."""
    try:
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        written, problems, status = done.stdout, done.stderr, f"exit status {done.returncode}"
    except subprocess.TimeoutExpired as late:
        written, problems, status = _text(late.stdout), _text(late.stderr), f"no end after {TIMEOUT_S:.0f} s"
    found = list(_read(written))
    yield from found
    if status != ("exit status 1" if any(each.failure for each in found) else "exit status 0") or not found:
        yield Outcome("program", json.dumps(f"{status} after {len(found)} checks: {problems[-1500:]}", ensure_ascii=False))


def _read(written: str) -> Iterator[Outcome]:
    for line in written.splitlines():
        verdict, _, rest = line.partition(" ")
        if verdict == "ok":
            yield Outcome(rest)
        elif verdict == "FAIL":
            name, _, reason = rest.partition(": ")
            yield Outcome(name, reason or "no reason given")


def _text(captured: bytes | str | None) -> str:
    return captured.decode(errors="replace") if isinstance(captured, bytes) else captured or ""
