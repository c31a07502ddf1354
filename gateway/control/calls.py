"""The gRPC methods of the gateway and who answers each: inference, health and metadata, the index and the configurations of models."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from gateway.control.extensions import Extensions
from gateway.control.guarded_calls import Personal
from gateway.control.label_questions import PATH as LABELS
from gateway.control.label_questions import LabelQuestions
from gateway.control.service import Service
from gateway.control.standard_calls import unary
from gateway.control.state import ServerState
from gateway.errors import Code, TidegateError
from gateway.identity.callers import Caller
from gateway.pb import inference_pb2 as pb
from gateway.pb.rpcs import MODEL_DRIFT, RPCS
from gateway.protocol import v2_grpc, v2_grpc_metadata
from gateway.wire.grpc import Message, MessageSink, Method
from gateway.wire.stream import Stream

_REFUSED = {
    "SystemSharedMemory": "system shared memory is not supported: tensors travel in the request",
    "CudaSharedMemory": "CUDA shared memory is not supported: tensors travel in the request",
}


def inference_methods(service: Service, state: ServerState, extensions: Extensions) -> dict[bytes, Method]:
    """All calls of the protocol and of tidegate.Monitoring by path, and labels. What this server does not have is refused by name."""
    answers: dict[str, Callable[[Message], bytes]] = {
        "ServerLive": lambda _: v2_grpc_metadata.server_live(True),
        "ServerReady": lambda _: v2_grpc_metadata.server_ready(state.ready),
        "ServerMetadata": lambda _: v2_grpc_metadata.server_metadata(name=state.name, version=state.version, extensions=state.extensions),
        "ModelReady": lambda message: _model_ready(service, message),
        "ModelMetadata": lambda message: _model_metadata(service, message),
        "ModelConfig": extensions.configuration.grpc,
        "RepositoryIndex": extensions.index.grpc,
        "TraceSetting": extensions.instruments.trace_grpc,
        "LogSettings": extensions.instruments.log_grpc,
    }
    methods = {path(name): Method(unary=unary(answer)) for name, answer in answers.items()}
    methods[path("ModelStatistics")] = Method(unary=extensions.statistics.grpc)
    methods[MODEL_DRIFT.path.encode()] = Method(unary=extensions.drift.grpc)
    methods[LABELS] = Method(unary=extensions.labels.grpc)
    methods[path("RepositoryModelLoad")] = Method(unary=extensions.control.grpc_load)
    methods[path("RepositoryModelUnload")] = Method(unary=extensions.control.grpc_unload)
    methods[path("ModelInfer")] = Method(unary=service.grpc_infer)
    methods[path("ModelStreamInfer")] = Method(streaming=service.grpc_stream_infer)
    for name in RPCS:
        methods.setdefault(path(name), Method(unary=unary(_refusing(name))))
    return methods


def personal_inference(service: Service) -> dict[bytes, Personal]:
    """The calls that name their model in each message, for one caller: by path, as `inference_methods`."""

    def unary_for(caller: Caller) -> Method:
        return Method(unary=partial(service.grpc_infer, credential=caller))

    def streaming_for(caller: Caller) -> Method:
        def begin(stream: Stream, deadline: float) -> MessageSink:
            return service.grpc_stream_infer(stream, deadline, caller)

        return Method(streaming=begin)

    return {path("ModelInfer"): unary_for, path("ModelStreamInfer"): streaming_for}


def personal_labels(labels: LabelQuestions) -> dict[bytes, Personal]:
    """The same for labels, whose messages name their models."""
    return {LABELS: labels.personal}


def path(name: str) -> bytes:
    """The `:path` of an inference call."""
    return RPCS[name].path.encode()


def _model_ready(service: Service, message: Message) -> bytes:
    request = v2_grpc.parse(pb.ModelReadyRequest, message)
    return v2_grpc_metadata.model_ready(service.routes.ready(request.name, request.version))


def _model_metadata(service: Service, message: Message) -> bytes:
    request = v2_grpc.parse(pb.ModelMetadataRequest, message)
    version = service.version(request.name, request.version)
    numbers = [str(version.number)] if request.version else [str(number) for number in service.routes.numbers(request.name)]
    return v2_grpc_metadata.model_metadata(version.signature, versions=numbers, properties=version.description.placement.properties)


def _refusing(name: str) -> Callable[[Message], bytes]:
    text = next((text for prefix, text in _REFUSED.items() if name.startswith(prefix)), f"{name} is not supported by this server")

    def refuse(_message: Message) -> bytes:
        raise TidegateError(Code.UNIMPLEMENTED, text)

    return refuse
