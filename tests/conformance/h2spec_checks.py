"""h2spec: every case of its generic, HTTP/2 and HPACK suites, the strict ones too, each an outcome of its own.

Cases listed in `h2spec_exceptions.txt` may fail; one of them that passes is a failure, so that the list stays true.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

from outcome import Outcome
from servers import Gateway

PATH = "/v2/models/plus_one/infer"  # a POST is read to its end before it is answered, as the cases on bodies and trailers assume
CASE_TIMEOUT_S, TIMEOUT_S = 3, 560
LARGE_FRAME_CASE, LARGE_HEADER_BYTES = "http2/4.2/3", 250_000  # five such headers are more than the 1 MiB that our SETTINGS allow
CASES = 146  # of the pinned version; a run with fewer has left some out
EXCEPTIONS = Path(__file__).with_name("h2spec_exceptions.txt")


def conforms(binary: Path, gateway: Gateway, *, tls: bool = False) -> Iterator[Outcome]:
    """Every case against the HTTP port; one of them with headers larger than our frames, as it assumes the default size."""
    outcomes = {outcome.name: outcome for outcome in _run(binary, gateway, ["-t", "-k"] if tls else [])}
    large = ["--max-header-length", str(LARGE_HEADER_BYTES), LARGE_FRAME_CASE, *(["-t", "-k"] if tls else [])]
    (judged,) = _run(binary, gateway, large)  # the only case of that run, so its number says nothing
    outcomes[LARGE_FRAME_CASE] = Outcome(LARGE_FRAME_CASE, judged.failure)
    yield from outcomes.values()
    if len(outcomes) != CASES:
        yield Outcome("all-cases", f"{len(outcomes)} of {CASES} cases ran")


def _run(binary: Path, gateway: Gateway, options: list[str]) -> Iterator[Outcome]:
    host, _, port = gateway.http.partition(":")
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        command = [binary, "-S", "-h", host, "-p", port, "-P", PATH, "-o", str(CASE_TIMEOUT_S), "-j", report, *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        if not report.exists():
            raise OSError(f"h2spec wrote no report: {done.stdout[-500:]} {done.stderr[-500:]}")
        yield from _judged(report)


def _judged(report: Path) -> Iterator[Outcome]:
    """The report's test cases, named `suite/section/number-of-the-case`."""
    excepted = exceptions()
    for suite in ElementTree.parse(report).getroot().iter("testsuite"):
        for number, case in enumerate(suite.iter("testcase"), 1):
            name = f"{suite.get('package')}/{number}"
            problem = case.find("failure") if case.find("failure") is not None else case.find("error")
            if case.find("skipped") is not None:
                yield Outcome(name, f"skipped: {case.get('classname')}")
            elif problem is not None:
                detail = re.sub(r"\s+", " ", f"{problem.text or ''} {problem.get('message') or ''}").strip()
                failure = "" if name in excepted else f"{case.get('classname')}: {detail}"
                yield Outcome(f"{name} (excepted: {excepted[name]})" if name in excepted else name, failure)
            else:
                yield Outcome(name, "passes: take it off the list of exceptions" if name in excepted else "")


def exceptions() -> dict[str, str]:
    """Case → reason."""
    lines = [line for line in EXCEPTIONS.read_text().splitlines() if line and not line.startswith("#")]
    return {case: reason for case, _, reason in (line.partition("  ") for line in lines)}
