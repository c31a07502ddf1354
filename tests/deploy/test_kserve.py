"""The runtimes for KServe: their arguments are the program's, and what they tell KServe is so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Config
from tests.deploy import dockerfile
from tests.deploy.files import DEPLOY, USER, documents, on_the_inference_ports, on_the_metrics_port
from tests.deploy.restricted import violations
from tests.gateway.commands.console import done, serve_here
from tests.gateway.control.desk import Desk

RUNTIMES = {document["metadata"]["name"]: document["spec"] for document in documents("kserve/clusterservingruntime.yaml")}
PROGRAM = dockerfile.only(dockerfile.stages(dockerfile.parse((DEPLOY / "docker/Dockerfile").read_text()))[-1], "ENTRYPOINT").words
WHERE = Path("/mnt/models")  # KServe's storage initializer
MODEL = "flights-a"

runtimes = pytest.mark.parametrize("name", RUNTIMES)


def container(name: str) -> dict[str, Any]:
    """The one that KServe looks for by its name."""
    (found,) = RUNTIMES[name]["containers"]
    assert "kserve-container" == found["name"]
    return dict(found)


def arguments(name: str) -> list[str]:
    """As KServe fills them in for an InferenceService."""
    return [word.replace("{{.Name}}", MODEL) for word in container(name)["args"]]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Config]:
    """The settings that the image's program ends up with for a runtime."""
    seen: list[Config] = []

    def remember(config: Config, reload: Callable[[], Config]) -> int:
        seen.append(config)
        return 0

    def start(name: str) -> Config:
        done(*PROGRAM[1:-1], DEPLOY / "docker/tidegate.yaml", *arguments(name))
        return seen.pop()

    serve_here(monkeypatch, remember)
    return start


def test_there_is_one_for_a_model_and_one_for_a_repository(started: Callable[[str], Config]) -> None:
    """Both serve what KServe has laid down; a model under the name that KServe asks for."""
    assert {"tidegate": MODEL, "tidegate-repository": None} == {name: started(name).repository.model for name in RUNTIMES}
    assert {WHERE} == {started(name).repository.path for name in RUNTIMES}


@runtimes
def test_the_ports_are_those_that_kserve_leads_to(name: str, started: Callable[[str], Config]) -> None:
    """8080, which speaks gRPC too; scrapers go to the metrics port."""
    config = started(name)
    assert [{"name": "http1", "containerPort": config.server.http_port, "protocol": "TCP"}] == container(name)["ports"]
    assert (8080, 9000) == (config.server.http_port, config.server.grpc_port)
    annotations = RUNTIMES[name]["annotations"]
    assert str(config.server.metrics_port) == annotations["prometheus.kserve.io/port"]
    assert on_the_metrics_port(annotations["prometheus.kserve.io/path"])


@runtimes
def test_probes_ask_what_is_served(name: str, started: Callable[[str], Config]) -> None:
    """On the port that a revision is probed on."""
    for probe in ("readinessProbe", "livenessProbe"):
        asked = container(name)[probe]
        assert started(name).server.http_port == asked["httpGet"]["port"]
        assert on_the_inference_ports(asked["httpGet"]["path"])
        assert 2 <= asked["timeoutSeconds"]
        assert 3 <= asked["failureThreshold"]


@runtimes
def test_only_what_is_spoken_is_promised(name: str) -> None:
    """ONNX by each protocol whose calls are routed; it takes no InferenceService from another runtime."""
    desk = Desk()
    paths = {path for route in desk.rest.routes for path in route.names.values()}
    spoken = {
        "v1": {"GET /v1/models", "GET /v1/models/{model}", "POST /v1/models/{model}:predict"} <= paths,
        "v2": {"GET /v2/models/{model}/ready", "POST /v2/models/{model}/infer"} <= paths,
        "grpc-v1": b"/tensorflow.serving.PredictionService/Predict" in desk.calls.methods,
        "grpc-v2": b"/inference.GRPCInferenceService/ModelInfer" in desk.calls.methods,
    }
    assert [protocol for protocol, there in spoken.items() if there] == RUNTIMES[name]["protocolVersions"]
    assert [{"name": "onnx", "version": "1", "autoSelect": False}] == RUNTIMES[name]["supportedModelFormats"]


@runtimes
def test_the_profile_is_restricted(name: str) -> None:
    """As in the plain manifests; the places that are written are mounted, each with a bound."""
    found = container(name)
    assert [] == violations(RUNTIMES[name])
    assert (True, USER) == (found["securityContext"]["readOnlyRootFilesystem"], found["securityContext"]["runAsUser"])
    volumes = {volume["name"]: volume for volume in RUNTIMES[name]["volumes"]}
    assert all(volumes[mount["name"]]["emptyDir"]["sizeLimit"] for mount in found["volumeMounts"])
    assert {"/tmp", "/var/lib/tidegate"} == {mount["mountPath"] for mount in found["volumeMounts"]}
    assert found["resources"]["requests"]["memory"] == found["resources"]["limits"]["memory"]


def test_the_two_differ_in_nothing_else() -> None:
    """So that what is mended in one is mended in the other."""
    one, other = (container(name) for name in RUNTIMES)
    assert {"args"} == {key for key in {*one, *other} if one.get(key) != other.get(key)}
    assert {key: value for key, value in RUNTIMES["tidegate"].items() if key != "containers"} == {
        key: value for key, value in RUNTIMES["tidegate-repository"].items() if key != "containers"
    }
