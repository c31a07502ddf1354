"""A registry that is served by its aliases: versions that answer differently, asked in every way over both transports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2

from gateway.client import CallError
from gateway.client_rest import RestClient, infer_path
from gateway.control.health import CHECK
from gateway.pb import inference_pb2 as pb
from registry.names import blob_key
from registry.parts import Parts
from registry.schema import contract_file
from registry.serving import Serving
from tests.e2e import models
from tests.e2e.server import Server, serving
from tests.gateway.control.desk import INFER, STREAM, infer, tensors
from tests.gateway.serving import graphs
from tests.gateway.serving.registries import published

ROW = [1.0, 2.0, 3.0, 4.0]
SIGNS = {"1": 1.0, "2": -1.0}
METADATA = "/inference.GRPCInferenceService/ModelMetadata"


def fill(root: Path) -> None:
    """`rows`: 1, the champion, is y = x, 2 is y = -x, and 3 is chosen by nobody; in `lost` the champion's file is damaged.

    `fixed` is a product whose author says three columns and no batching; the others lack a champion or any alias.
    """
    plain, negative, other = (models.rows(sign) for sign in (1.0, -1.0, 2.0))
    published(root, "rows", plain, negative, other, aliases={"champion": 1, "challenger": 2})
    published(root, "headless", negative, aliases={"challenger": 1})
    published(root, "idle", plain)
    parts = Parts(contract=contract_file({"inputs": {"a": {"shape": [-1, 3]}}}), serving=Serving(format=1, batching=False))
    published(root, "fixed", graphs.product(), aliases={"champion": 1}, parts=parts)
    store = published(root, "lost", other, negative, aliases={"champion": 1, "challenger": 2})
    blob = root / blob_key(store.manifest("lost", 1).model.digest)
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes().replace(b"Mul", b"Div"))


class StreamRefusalError(Exception):
    """An answer of a stream that carries an error."""


class Asked:
    """One server over one transport, without retries."""

    def __init__(self, server: Server, transport: str, stack: ExitStack) -> None:
        self.transport = transport
        self.rest = RestClient(f"127.0.0.1:{server.http_port}")
        target = f"127.0.0.1:{server.grpc_port}"
        self.channel = stack.enter_context(grpc.insecure_channel(target, options=[("grpc.enable_retries", 0)]))

    def infer(self, model: str, version: str) -> tuple[str, list[float]]:
        """(version, y) of the answer to one row."""
        if self.transport == "http":
            item = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": ROW}
            answer = self.rest.call("POST", infer_path(model, version), {"inputs": [item]})
            return answer["model_version"], answer["outputs"][0]["data"]
        message = infer(model, np.array([ROW], np.float32), version=version)
        if self.transport == "grpc":
            answered = self.channel.unary_unary(INFER)(message, timeout=30)
        else:
            (answer,) = self.channel.stream_stream(STREAM)(iter([message]), timeout=30)
            read = pb.ModelStreamInferResponse.FromString(answer)
            if read.error_message:
                raise StreamRefusalError(read.error_message)
            answered = read.infer_response.SerializeToString()
        return pb.ModelInferResponse.FromString(answered).model_version, tensors(answered)["y"][0]

    def refusal(self, model: str, version: str) -> tuple[str, str]:
        """(code, text); a stream has only the text."""
        with pytest.raises((CallError, grpc.RpcError, StreamRefusalError)) as caught:
            self.infer(model, version)
        error = caught.value
        if isinstance(error, CallError):
            return error.code.name, error.message
        return (error.code().name, error.details()) if isinstance(error, grpc.Call) else ("", str(error))

    def metadata(self, model: str, version: str) -> tuple[list[str], dict[str, list[int]]]:
        """(versions, shapes of the inputs)."""
        if self.transport == "http":
            found = self.rest.metadata(model, version)
            return list(found.versions), {spec.name: list(spec.shape) for spec in found.inputs}
        asked = pb.ModelMetadataRequest(name=model, version=version).SerializeToString()
        answer = pb.ModelMetadataResponse.FromString(self.channel.unary_unary(METADATA)(asked, timeout=30))
        return list(answer.versions), {tensor.name: list(tensor.shape) for tensor in answer.inputs}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Of the registry that `fill` makes, without any settings."""
    root = tmp_path_factory.mktemp("aliases") / "registry"
    fill(root)
    with serving(tmp_path_factory.mktemp("server"), root) as running:
        yield running


@pytest.fixture(scope="module", params=["grpc", "stream", "http"])
def asked(server: Server, request: pytest.FixtureRequest) -> Iterator[Asked]:
    """That server over each transport."""
    with ExitStack() as stack:
        yield Asked(server, request.param, stack)


@pytest.mark.parametrize(("version", "number"), [("", "1"), ("champion", "1"), ("challenger", "2"), ("1", "1"), ("2", "2")])
def test_a_version_is_asked_by_number_by_alias_or_not_at_all(asked: Asked, version: str, number: str) -> None:
    """The answer is of that version and has its number; so has its metadata."""
    for _ in range(4):  # the long way, the learning one, and by what was learned
        assert (number, [SIGNS[number] * value for value in ROW]) == asked.infer("rows", version)
    assert [number] if version else ["1", "2"] == asked.metadata("rows", version)[0]


@pytest.mark.parametrize(
    ("model", "version", "code", "text"),
    [
        ("rows", "nobody", "NOT_FOUND", "Request for unknown model: 'rows' alias nobody is not found"),
        ("rows", "3", "NOT_FOUND", "Request for unknown model: 'rows' version 3 is not found"),
        ("headless", "", "UNAVAILABLE", "model 'headless' has no champion: name a version or alias"),
        ("idle", "", "UNAVAILABLE", "model 'idle' serves no version: no alias stands for one"),
        ("lost", "", "UNAVAILABLE", "Request for unknown model: 'lost' alias champion stands for version 1, which is not at ready state"),
    ],
)
def test_what_does_not_serve_says_why(asked: Asked, model: str, version: str, code: str, text: str) -> None:
    """No other version answers in its place."""
    assert ("" if asked.transport == "stream" else code, text) == asked.refusal(model, version)


def test_what_a_version_says_of_itself_is_what_the_server_says(asked: Asked) -> None:
    """A size that the author fixed is in the metadata, and another one is refused."""
    assert (["1"], {"a": [-1, 3], "b": [-1, -1]}) == asked.metadata("fixed", "champion")
    if asked.transport == "http":
        items = [{"name": name, "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]} for name in "ab"]
        with pytest.raises(CallError, match=r"unexpected shape for input 'a' for model 'fixed'. Expected \[-1,3\], got \[2,2\]"):
            asked.rest.call("POST", "/v2/models/fixed/infer", {"inputs": items})
        return
    request = pb.ModelInferRequest(model_name="fixed", raw_input_contents=[bytes(16)] * 2)
    for name in "ab":
        request.inputs.add(name=name, datatype="FP32", shape=[2, 2])
    with pytest.raises(grpc.RpcError, match=r"Expected \[-1,3\], got \[2,2\]"):
        asked.channel.unary_unary(INFER)(request.SerializeToString(), timeout=30)


def test_health_and_log_say_what_does_not_serve(server: Server) -> None:
    """Per model; the log has what to do, and nothing worse than the version that cannot be loaded."""
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        found = {}
        for model in ("rows", "headless", "idle", "lost"):
            asked = health_pb2.HealthCheckRequest(service=f"model/{model}").SerializeToString()
            found[model] = health_pb2.HealthCheckResponse.FromString(channel.unary_unary(CHECK.decode())(asked, timeout=30)).status
    assert {"rows": 1, "headless": 2, "idle": 2, "lost": 2} == found
    assert "tidegate alias idle champion N --registry" in server.log.read_text()
    assert [] == server.faults()
