"""h2spec: every case of its generic, HTTP/2 and HPACK suites, the strict ones too, each an outcome of its own.

Cases listed in `h2spec_exceptions.txt` may fail; one of them that passes is a failure, so that the list stays true.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

from outcome import Outcome
from servers import Gateway

PATH = "/v2/health/live"
CASE_TIMEOUT_S, TIMEOUT_S = 3, 560
CASES = 146  # of the pinned version; a run with fewer has left some out
EXCEPTIONS = Path(__file__).with_name("h2spec_exceptions.txt")


def conforms(binary: Path, gateway: Gateway, *, tls: bool = False) -> Iterator[Outcome]:
    """One run against the HTTP port."""
    host, _, port = gateway.http.partition(":")
    options = ["-t", "-k"] if tls else []
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        command = [binary, "-S", "-h", host, "-p", port, "-P", PATH, "-o", str(CASE_TIMEOUT_S), "-j", report, *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        outcomes = list(_judged(report)) if report.exists() else []
    yield from outcomes
    if len(outcomes) != CASES:
        yield Outcome("all-cases", json.dumps(f"{len(outcomes)} of {CASES} cases ran: {done.stderr[-500:]}"))


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
