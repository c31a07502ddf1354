"""One run of curl and what it reports. Knows no check."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from outcome import equal

TIMEOUT_S = 30
_REPORT = "%{http_code} %{http_version} %{num_connects}\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """The last response of one URL. `head` has every header block that came before it too: 100, trailers."""

    exit: int
    status: int
    version: str
    connects: int  # connections opened for it; 0 when one was reused
    head: str
    body: bytes
    problem: str

    def header(self, name: str) -> str | None:
        """A header or trailer, by its lower-case name."""
        found = [line.partition(":")[2].strip() for line in self.head.splitlines() if line.partition(":")[0].lower() == name]
        return found[-1] if found else None

    def json(self) -> dict:
        """The body, which must be JSON."""
        return json.loads(self.body)


def curl(*arguments: str | Path, data: bytes | None = None) -> Answer:
    """One URL. `data` is what standard input holds, for `--data-binary @-` or `-T -`."""
    return curls(*arguments, data=data)[0]


def curls(*arguments: str | Path, data: bytes | None = None) -> list[Answer]:
    """The transfers of one curl, in order; `-o` is given by us for each `--next`-separated part that starts with a URL."""
    parts: list[list[str | Path]] = [[]]
    for argument in arguments:
        if argument == "--next":
            parts.append([])
        else:
            parts[-1].append(argument)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        command: list[str | Path] = ["curl"]
        for i, part in enumerate(parts):
            own = ["-sS", "--max-time", str(TIMEOUT_S), "-o", folder / f"body{i}", "-D", folder / f"head{i}", "-w", _REPORT]
            command += [*(["--next"] if i else []), *own, *part]
        done = subprocess.run(command, input=data or b"", capture_output=True, timeout=TIMEOUT_S + 10, check=False)
        reports = [line.split() for line in done.stdout.decode().splitlines()]
        problem = done.stderr.decode(errors="replace")
        equal(len(parts), len(reports), problem)
        return [
            Answer(done.returncode, int(status), version, int(connects), _text(folder / f"head{i}"), _bytes(folder / f"body{i}"), problem)
            for i, (status, version, connects) in enumerate(reports)
        ]


def answered(answer: Answer, status: int, version: str | None = None) -> Answer:
    """The transfer ended well, with this status and HTTP version."""
    equal((0, status), (answer.exit, answer.status), f"{answer.problem} {answer.body[:300]!r}")
    if version is not None:
        equal(version, answer.version)
    return answer


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _text(path: Path) -> str:
    return _bytes(path).decode("latin-1")
