"""Health and metadata answers of the inference service, from plain values to message bytes. Knows no registry and no call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gateway.pb import inference_pb2 as pb
from gateway.protocol.tensors import Signature, TensorSpec

PLATFORM = "onnxruntime_onnx"  # what Triton calls it and its clients expect; the Open Inference Protocol says onnx_onnxv1


def server_live(live: bool) -> bytes:
    """ServerLiveResponse."""
    return pb.ServerLiveResponse(live=live).SerializeToString()


def server_ready(ready: bool) -> bytes:
    """ServerReadyResponse."""
    return pb.ServerReadyResponse(ready=ready).SerializeToString()


def model_ready(ready: bool) -> bytes:
    """ModelReadyResponse."""
    return pb.ModelReadyResponse(ready=ready).SerializeToString()


def server_metadata(*, name: str, version: str, extensions: Sequence[str]) -> bytes:
    """ServerMetadataResponse. `extensions` are the protocol's names of what this server can do beyond its core."""
    return pb.ServerMetadataResponse(name=name, version=version, extensions=extensions).SerializeToString()


def model_metadata(signature: Signature, *, versions: Sequence[str], properties: Mapping[str, str] | None = None) -> bytes:
    """ModelMetadataResponse: `versions` are those that can be asked for, shapes have the batch dimension as -1."""
    return pb.ModelMetadataResponse(
        name=signature.model,
        versions=versions,
        platform=PLATFORM,
        inputs=_tensors(signature.inputs),
        outputs=_tensors(signature.outputs),
        properties=properties or {},
    ).SerializeToString(deterministic=True)


def _tensors(specs: Iterable[TensorSpec]) -> list[pb.ModelMetadataResponse.TensorMetadata]:
    return [pb.ModelMetadataResponse.TensorMetadata(name=spec.name, datatype=spec.datatype, shape=spec.shape) for spec in specs]
