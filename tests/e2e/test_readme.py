"""What the README tells people to type works as it stands, but for the ports."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.client import Client
from gateway.client_rest import RestClient
from gateway.control.child import Child
from gateway.control.ports import choose

pytestmark = pytest.mark.demo
ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


@dataclass(frozen=True, slots=True)
class Served:
    folder: Path
    http: str
    grpc: str


def shell(line: str) -> list[str]:
    """A line of the README as a command of this installation."""
    words = [word.strip("'\"") for word in re.findall(r"'[^']*'|\"[^\"]*\"|\S+", line)]
    return [sys.executable, *({"python": [], "tidegate": ["-m", "gateway.cli"]}[words[0]]), *words[1:]]


def blocks(word: str) -> list[list[str]]:
    """The lines of those shell blocks that have a word."""
    return [block.splitlines() for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL) if word in block]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The three lines under "Serve a model of your own"."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "examples").symlink_to(ROOT / "examples")
    lines = blocks("tidegate publish")[0]
    for line in lines[:2]:
        subprocess.run(shell(line), cwd=folder, check=True, capture_output=True)
    http, grpc, metrics = choose("127.0.0.1", [8000, 8001, 8002])
    flags = ["--http-port", str(http), "--grpc-port", str(grpc), "--metrics-port", str(metrics), "--admin-port", "0"]
    old = Path.cwd()
    os.chdir(folder)
    try:
        child = Child([*shell(lines[2])[3:], *flags], log=folder / "log")
    finally:
        os.chdir(old)
    with child, Client(f"127.0.0.1:{grpc}") as client:
        assert client.wait_ready(60), child.last_lines()
        yield Served(folder, f"127.0.0.1:{http}", f"127.0.0.1:{grpc}")


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL), ids=["ours", "triton"])
def test_the_python_runs(served: Served, code: str) -> None:
    """Each block is a whole program."""
    code = code.replace("127.0.0.1:8001", served.grpc)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=served.folder)
    assert "9.84" in done.stdout


def test_the_rest_request_is_answered(served: Served) -> None:
    """The body that curl sends."""
    path, body = re.findall(r"curl -s http://127\.0\.0\.1:8000(\S+) \\\n  -d '([^']+)'", README)[0]
    answer = RestClient(served.http).call("POST", path, json.loads(body))
    assert [0] == answer["outputs"][0]["data"]


def test_the_request_of_protocol_v1_is_answered(served: Served) -> None:
    """The body that curl sends."""
    path, body = re.findall(r"curl -s http://127\.0\.0\.1:8000(/v1/\S+) -d '([^']+)'", README)[0]
    answer = RestClient(served.http).call("POST", path, json.loads(body))
    assert 0 == answer["predictions"][0]["label"]


def test_a_later_version_is_promoted(served: Served, tmp_path: Path) -> None:
    """As the lines under "A later version serves once somebody decides so" say."""
    shutil.copytree(served.folder / "models", tmp_path / "models")
    shutil.copy(served.folder / "iris.onnx", tmp_path / "better.onnx")
    (tmp_path / "card.md").write_text("# Better\n")
    run = [subprocess.run(shell(line), cwd=tmp_path, check=True, capture_output=True, text=True) for line in blocks("tidegate approve")[0]]
    assert "champion: 1 -> 2\n" == run[2].stdout
    assert "version 2 approved as" in run[3].stdout


def test_the_command_line_answers(served: Served) -> None:
    """`tidegate infer`, with the quotes of a shell."""
    (line,) = [line for line in README.splitlines() if line.startswith("tidegate infer iris --input")]
    done = subprocess.run([*shell(line), "--url", served.grpc], capture_output=True, text=True, check=True)
    assert re.search(r"^  1  2 ", done.stdout, re.MULTILINE)
