"""Serves a model with the installed `tidegate` program and asks it over HTTP; the client that ships in the wheel asks over gRPC."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from onnx import TensorProto, helper, save


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def write_model(root: Path) -> None:
    """y = x + x for rows of two numbers."""
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 2]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "double", tensors[:1], tensors[1:])
    (root / "double" / "1").mkdir(parents=True)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), root / "double" / "1" / "model.onnx")


def wait_ready(server: subprocess.Popen[bytes], url: str) -> None:
    """Readiness is polled by the kernel's clock: each refused connection returns at once, each accepted one waits for its answer."""
    for _ in range(600):
        if server.poll() is not None:
            raise SystemExit(f"the server ended with {server.returncode}")
        try:
            urllib.request.urlopen(f"{url}/v2/health/ready", timeout=5)
            return
        except (urllib.error.URLError, ConnectionError):
            try:
                server.wait(timeout=0.1)
            except subprocess.TimeoutExpired:
                continue
    raise SystemExit("the server was not ready within a minute")


def main(program: str, models: Path) -> None:
    write_model(models)
    ports = [free_port() for _ in range(3)]
    names = ("--http-port", "--grpc-port", "--metrics-port")
    flags = [part for name, port in zip(names, ports, strict=True) for part in (name, str(port))]
    server = subprocess.Popen([program, "serve", "--repository", str(models), *flags, "--admin-port", "0"])
    try:
        url = f"http://127.0.0.1:{ports[0]}"
        wait_ready(server, url)
        body = json.dumps({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2.5]}]}).encode()
        answer = json.load(urllib.request.urlopen(f"{url}/v2/models/double/infer", data=body, timeout=10))
        assert answer["outputs"][0]["data"] == [2, 5], answer
        asked = subprocess.run(
            [program, "infer", "double", "--input", "x=[[1,2.5]]", "--url", f"127.0.0.1:{ports[1]}", "--json"],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        assert "5.0" in asked.stdout, asked.stdout
    finally:
        server.send_signal(signal.SIGTERM)
        status = server.wait(timeout=30)
    assert status == 0, status
    print("the wheel installs, serves and stops")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
