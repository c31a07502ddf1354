"""The document at /v2/openapi.json: valid, and true of a live server whatever schemathesis asks it, with and without credentials."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from pathlib import Path

from curl import answered, curl
from outcome import Outcome, equal
from servers import Gateway

FOLDER = Path(__file__).parent / "openapi"
SEED, MAX_EXAMPLES, TIMEOUT_S = 1, 10, 300
_VALIDATE = "import json, sys; from openapi_spec_validator import validate; validate(json.load(sys.stdin))"


def valid(python: Path, gateway: Gateway) -> None:
    """By openapi-spec-validator; nobody needs a credential to read it."""
    document = answered(curl(f"http://{gateway.http}/v2/openapi.json"), 200).body
    done = subprocess.run([python, "-c", _VALIDATE], input=document, capture_output=True, timeout=TIMEOUT_S, check=False)
    equal(0, done.returncode, done.stderr.decode()[-1500:])


def fuzzed(python: Path, gateway: Gateway, name: str, *options: str) -> Iterator[Outcome]:
    """An outcome for each operation of the document. `options` are schemathesis'."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, report = Path(scratch) / "openapi", Path(scratch) / "junit.xml"
        shutil.copytree(FOLDER, folder)
        written: Sequence[str | Path] = ("--report", "junit", "--report-junit-path", report, "--no-color")
        bounded = ("--seed", str(SEED), "--max-examples", str(MAX_EXAMPLES))
        command = [python.with_name("schemathesis"), "run", f"http://{gateway.http}/v2/openapi.json", *written, *bounded, *options]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        found = list(_read(report, name)) if report.exists() else []
    yield from found
    if not found or done.returncode != any(each.failure for each in found):
        problems = f"exit status {done.returncode} after {len(found)} operations: {(done.stdout + done.stderr)[-1500:]}"
        yield Outcome(f"{name}-program", json.dumps(problems, ensure_ascii=False))


def new_key(tidegate: Path, file: Path) -> str:
    """An API key with every scope."""
    scopes = [part for scope in ("infer:*", "meta", "admin") for part in ("--scope", scope)]
    done = subprocess.run([tidegate, "key", "new", "fuzz", *scopes, "--file", file], capture_output=True, text=True, check=True)
    return re.search(r"tidegate_\w+", done.stdout)[0]  # type: ignore[index]


def _read(report: Path, name: str) -> Iterator[Outcome]:
    for case in ET.parse(report).iter("testcase"):
        problems = [f"{problem.get('message') or ''} {problem.text or ''}" for problem in (*case.iter("failure"), *case.iter("error"))]
        yield Outcome(f"{name} {case.get('name')}", json.dumps(" ".join(problems)[:2000], ensure_ascii=False) if problems else "")


CHECKS = [valid]
