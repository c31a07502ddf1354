"""The calls of the inference service, read off its descriptor: what a transport needs to route and decode them."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from gateway.pb import inference_pb2, tidegate_pb2

SERVICE = "inference.GRPCInferenceService"
MONITORING = "tidegate.Monitoring"
ROLLOUTS_SERVICE = "tidegate.Rollouts"
LABELS_SERVICE = "tidegate.Labels"


@dataclass(frozen=True, slots=True)
class Rpc:
    """One call. `path` is its HTTP/2 `:path`."""

    name: str
    path: str
    request: type[Message]
    response: type[Message]
    client_streaming: bool
    server_streaming: bool


def _rpc(method: MethodDescriptor) -> Rpc:
    return Rpc(
        name=method.name,
        path=f"/{method.containing_service.full_name}/{method.name}",
        request=GetMessageClass(method.input_type),
        response=GetMessageClass(method.output_type),
        client_streaming=method.client_streaming,
        server_streaming=method.server_streaming,
    )


RPCS: dict[str, Rpc] = {method.name: _rpc(method) for method in inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods}
MODEL_DRIFT = _rpc(tidegate_pb2.DESCRIPTOR.services_by_name["Monitoring"].methods_by_name["ModelDrift"])
LABELS_INGEST = _rpc(tidegate_pb2.DESCRIPTOR.services_by_name["Labels"].methods_by_name["Ingest"])
ROLLOUTS: dict[str, Rpc] = {method.name: _rpc(method) for method in tidegate_pb2.DESCRIPTOR.services_by_name["Rollouts"].methods}
