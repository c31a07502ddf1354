"""A server whose ONNX Runtime has a second execution provider: it runs there, or says by name why not."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from benchmarks import gpu
from gateway import doctor, runtimes
from gateway.client import CallError, Client
from gateway.config import Config, Repository
from gateway.model_settings import ModelSettings
from gateway.serving.model import Model, ModelFault, providers
from gateway.serving.sessions import SessionSettings
from registry.providers import OpenvinoOptions, ProviderOptions
from tests.e2e.server import Server, serving
from tests.gateway.serving import graphs

SETTINGS = """
models:
  plain: {}
  accelerated: {providers: [openvino]}
  several: {providers: [openvino], instances: 2, intra_op_threads: 1}
  alone: {providers: [openvino], isolation: process}
  missing: {providers: [cuda]}
  fallback: {providers: [cuda, openvino]}
  nodevice: {providers: [openvino], provider_options: {openvino: {device: GPU}}}
  nodevice_cpu: {providers: [openvino, cpu], provider_options: {openvino: {device: GPU}}}
  texts: {providers: [openvino]}
  texts_cpu: {providers: [openvino, cpu]}
processes: {workers: 1, spare: false, pin: false}
"""
DENSE = ("plain", "accelerated", "several", "alone", "missing", "fallback", "nodevice", "nodevice_cpu", "triton")
ROWS = np.random.default_rng(0).normal(size=(64, 16)).astype(np.float32)


def dense() -> onnx.ModelProto:
    """y [n, 4] = softmax(relu(x [n, 16] @ a) @ b): enough for a provider to have something to do."""
    rng = np.random.default_rng(1)
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"]), helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "b"], ["s"]), helper.make_node("Softmax", ["s"], ["y"], axis=1),
    ]  # fmt: skip
    weights = {"a": rng.normal(size=(16, 64)).astype(np.float32), "b": rng.normal(size=(64, 4)).astype(np.float32)}
    return graphs.graph(nodes, [graphs.value("x", 1, "n", 16)], [graphs.value("y", 1, "n", 4)], **weights)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server with a model for every case."""
    root = tmp_path_factory.mktemp("models")
    for name in DENSE:
        graphs.saved(root / name / "1" / "model.onnx", dense())
    (root / "triton" / "config.pbtxt").write_text(
        'instance_group { kind: KIND_CPU } optimization { execution_accelerators { cpu_execution_accelerator { name: "openvino" } } }'
    )
    for name in ("texts", "texts_cpu"):
        graphs.saved(root / name / "1" / "model.onnx", graphs.mirror("BYTES"))
    with serving(tmp_path_factory.mktemp("server"), root, SETTINGS) as running:
        yield running


def asked(server: Server, model: str, rows: np.ndarray) -> np.ndarray:
    """Its answer."""
    tensor = {"name": "x", "datatype": "FP32", "shape": list(rows.shape), "data": rows.ravel().tolist()}
    url = f"http://127.0.0.1:{server.http_port}/v2/models/{model}/infer"
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps({"inputs": [tensor]}).encode()), timeout=30) as response:
        (output,) = json.load(response)["outputs"]
    return np.array(output["data"], np.float32).reshape(output["shape"])


def told(server: Server, path: str) -> Any:
    status, body = server.get(path)
    assert 200 == status
    return json.loads(body)


def reason(server: Server, model: str) -> str:
    """Why a model is not there."""
    assert 503 == server.get(f"/v2/models/{model}")[0]
    listed = json.loads(server.get("/v2/repository/index", method="POST")[1])
    return "".join([entry.get("reason", "") for entry in listed if entry["name"] == model])


def test_this_environment_has_one_runtime_and_it_has_the_provider() -> None:
    """Plain ONNX Runtime beside it would have written over its files."""
    assert ["onnxruntime-openvino"] == list(runtimes.installed())
    assert ("cpu", "openvino") == providers()
    asked_for = ModelSettings(providers=("cuda", "cpu"))
    found = doctor.providers(Config(repository=Repository(path=Path()), models={"m": asked_for}), providers())
    assert (doctor.State.WARN, "cpu, openvino; 'm' asks for cuda") == (found.state, found.detail)


@pytest.mark.parametrize("model", ["accelerated", "several", "alone", "fallback", "nodevice_cpu", "triton"])
def test_answers_are_those_of_the_processor(server: Server, model: str) -> None:
    """Row by row, and in batches."""
    expected = asked(server, "plain", ROWS)
    np.testing.assert_allclose(asked(server, model, ROWS), expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(asked(server, model, ROWS[:1]), expected[:1], rtol=1e-3, atol=1e-5)


def test_several_runs_at_once_answer_each_with_its_own(server: Server) -> None:
    """Two instances share a session."""
    expected = asked(server, "plain", ROWS)
    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda row: asked(server, "several", ROWS[row : row + 1]), list(range(64)) * 4))
    np.testing.assert_allclose(np.concatenate(answers), np.concatenate([expected] * 4), rtol=1e-3, atol=1e-5)


def test_where_a_version_runs_is_told(server: Server) -> None:
    """In its metadata, its configuration and the metrics."""
    assert {"provider": "openvino"} == told(server, "/v2/models/accelerated")["properties"]
    assert {"provider": "openvino", "providers_missed": "cuda"} == told(server, "/v2/models/fallback")["properties"]
    assert {"provider": "cpu", "providers_missed": "openvino"} == told(server, "/v2/models/nodevice_cpu")["properties"]
    assert "properties" not in told(server, "/v2/models/plain")
    for model in ("accelerated", "triton"):
        config = told(server, f"/v2/models/{model}/config")
        assert ["openvino"] == [each["name"] for each in config["optimization"]["execution_accelerators"]["cpu_execution_accelerator"]]
        assert ("KIND_CPU", 1) == (config["instance_group"][0]["kind"], config["instance_group"][0]["count"])
    values = server.values()
    for model, provider in (
        ("plain", "cpu"),
        ("accelerated", "openvino"),
        ("alone", "openvino"),
        ("fallback", "openvino"),
        ("texts_cpu", "cpu"),
    ):
        assert 1.0 == values[f'tidegate_model_provider{{model="{model}",provider="{provider}",version="1"}}']
    for model, missed in (("fallback", "cuda"), ("nodevice_cpu", "openvino"), ("texts_cpu", "openvino")):
        assert 1.0 == values[f'tidegate_provider_fallbacks_total{{model="{model}",provider="{missed}",version="1"}}']


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("missing", "provider 'cuda' is not in this installation of ONNX Runtime, which has cpu, openvino"),
        ("nodevice", "provider 'openvino' cannot run it: the runtime could not set it up: its libraries or its device are not there"),
        ("texts", "provider 'openvino' cannot run it: it takes no part of the graph"),
    ],
)
def test_a_provider_that_cannot_be_had_fails_the_version_by_name(server: Server, model: str, why: str) -> None:
    """The runtime itself would have gone to the processor and said nothing."""
    assert why in reason(server, model)
    with Client(f"127.0.0.1:{server.grpc_port}") as client, pytest.raises(CallError, match="UNAVAILABLE"):
        client.infer(model, {"x": ROWS}, timeout_s=5)


def test_a_fallback_is_in_the_log(server: Server) -> None:
    """With the reason."""
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    said = [line["event"] for line in lines if line["level"] == "warning"]
    why = "it is not in this installation of ONNX Runtime"
    assert f"version fallback/1 runs on provider 'openvino' and not on 'cuda': {why}" in said
    assert "version texts_cpu/1 runs on provider 'cpu' and not on 'openvino': it takes no part of the graph" in said


def test_options_reach_the_provider(tmp_path: Path) -> None:
    """A precision that the device cannot have is its refusal, in its words; one that it can is answered."""
    path = str(graphs.saved(tmp_path / "model.onnx", dense()))

    def model(**options: Any) -> Model:
        return Model("m", path, SessionSettings(providers=("openvino",), options=ProviderOptions(openvino=OpenvinoOptions(**options))))

    (answer,) = model(precision="FP32", threads=1, streams=1).run([ROWS])
    np.testing.assert_allclose(answer, Model("m", path, SessionSettings()).run([ROWS])[0], rtol=1e-4, atol=1e-6)
    with pytest.raises(ModelFault, match="provider 'openvino' cannot run it"):
        model(device="NPU")


def test_the_bench_of_devices_runs_here() -> None:
    """With this provider in the place of a GPU's."""
    found = gpu.measure("openvino", 1, 0.05, width=64)
    assert all(rows > 0 for rows in found["runs"][0].values())
