"""Health and metadata answers, read by our contract and by the official client's."""

from __future__ import annotations

from tritonclient.grpc import service_pb2 as theirs

from gateway.pb import inference_pb2 as pb
from gateway.protocol import v2_grpc_metadata as metadata
from gateway.protocol.tensors import Signature, TensorSpec

SIGNATURE = Signature(
    "flights",
    inputs=(TensorSpec("carrier", "BYTES", (-1, 1)), TensorSpec("hour", "FP32", (-1, 1))),
    outputs=(TensorSpec("label", "INT64", (-1,)),),
    max_batch_size=64,
)


def test_health() -> None:
    """Live, ready and model ready say yes and no."""
    for answer in (True, False):
        assert answer == theirs.ServerLiveResponse.FromString(metadata.server_live(answer)).live
        assert answer == theirs.ServerReadyResponse.FromString(metadata.server_ready(answer)).ready
        assert answer == theirs.ModelReadyResponse.FromString(metadata.model_ready(answer)).ready


def test_server_metadata() -> None:
    """Name, version and extensions arrive."""
    got = theirs.ServerMetadataResponse.FromString(metadata.server_metadata(name="tidegate", version="1.2", extensions=["parameters"]))
    assert ("tidegate", "1.2", ["parameters"]) == (got.name, got.version, list(got.extensions))


def test_model_metadata() -> None:
    """Versions, platform, and tensors with the batch dimension as -1; `properties` for clients that know them."""
    sent = metadata.model_metadata(SIGNATURE, versions=["1", "2"], properties={"owner": "ops"})
    got = theirs.ModelMetadataResponse.FromString(sent)
    assert ("flights", ["1", "2"], "onnxruntime_onnx") == (got.name, list(got.versions), got.platform)
    assert [("carrier", "BYTES", [-1, 1]), ("hour", "FP32", [-1, 1])] == [(t.name, t.datatype, list(t.shape)) for t in got.inputs]
    assert [("label", "INT64", [-1])] == [(t.name, t.datatype, list(t.shape)) for t in got.outputs]
    assert {"owner": "ops"} == dict(pb.ModelMetadataResponse.FromString(sent).properties)


def test_model_metadata_without_properties() -> None:
    """Nothing is written for properties that there are none of."""
    assert not pb.ModelMetadataResponse.FromString(metadata.model_metadata(SIGNATURE, versions=[])).properties
