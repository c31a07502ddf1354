"""Server reflection: the contracts of this server for clients that bring none, such as grpcurl. Requests to answers, no streams.

Version v1 has the messages and numbers of v1alpha under another package name, so one set of classes serves both; its descriptor is
derived from v1alpha's. Files live in a pool of their own, the inference contract's as it is in `gateway.pb`.
Source: github.com/grpc/grpc/blob/master/doc/server-reflection.md.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any, TypeAlias

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from gateway.errors import invalid
from gateway.pb import inference_pb2, tidegate_pb2
from gateway.pb.rpcs import LABELS_SERVICE, MONITORING, ROLLOUTS_SERVICE, SERVICE
from registry.pb import model_config_pb2

PATHS = (b"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", b"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
OF_INFERENCE = (SERVICE, MONITORING, LABELS_SERVICE, "grpc.health.v1.Health")
MAX_REQUEST_BYTES = 4_096  # of one request, which is echoed in its answer; names are far shorter

_ALPHA, _V1 = ".grpc.reflection.v1alpha.", ".grpc.reflection.v1."
_NOT_FOUND, _INVALID_ARGUMENT = 5, 3  # gRPC status codes, as the answers carry them

Answer: TypeAlias = Any  # a ServerReflectionResponse; grpc_reflection ships no types
_Answer = reflection_pb2.ServerReflectionResponse


class Reflection:
    """Answers from a fixed set of files."""

    def __init__(self, without: Container[str] = (ROLLOUTS_SERVICE,)) -> None:
        """`without`: services that are described all the same, and not listed, because another port has them."""
        ours = [model_config_pb2.DESCRIPTOR, inference_pb2.DESCRIPTOR, tidegate_pb2.DESCRIPTOR]
        files = [*ours, health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR]
        self._pool = DescriptorPool()
        self._services: list[str] = []
        for serialized in (*(file.serialized_pb for file in files), _reflection_v1()):
            file = self._pool.AddSerializedFile(serialized)
            self._services += [service.full_name for service in file.services_by_name.values() if service.full_name not in without]

    def answer(self, message: bytes | memoryview) -> bytes:
        """ServerReflectionResponse. What is not found is an answer too; raises INVALID_ARGUMENT only for what is no request."""
        try:
            request = reflection_pb2.ServerReflectionRequest.FromString(bytes(message[: MAX_REQUEST_BYTES + 1]))
        except DecodeError:
            raise invalid("the message is not a valid ServerReflectionRequest") from None
        if len(message) > MAX_REQUEST_BYTES:
            raise invalid(f"the message has more than {MAX_REQUEST_BYTES} bytes")
        answer = self._answered(request)
        answer.valid_host = request.host
        answer.original_request.CopyFrom(request)
        serialized: bytes = answer.SerializeToString()
        return serialized

    def _answered(self, request: reflection_pb2.ServerReflectionRequest) -> Answer:
        kind = request.WhichOneof("message_request")
        if kind == "list_services":
            return _services(sorted(self._services))
        if kind == "file_by_filename":
            return _files(lambda: self._pool.FindFileByName(request.file_by_filename))
        if kind == "file_containing_symbol":
            return _files(lambda: self._file_of(request.file_containing_symbol))
        if kind == "all_extension_numbers_of_type":
            return self._extensions(request.all_extension_numbers_of_type)
        if kind == "file_containing_extension":
            return _error(_NOT_FOUND, "there are no extensions")
        return _error(_INVALID_ARGUMENT, "the request asks for nothing")

    def _file_of(self, symbol: str) -> FileDescriptor:
        """The file of a message, enum, service or method; the pool itself does not count methods among its symbols."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            file: FileDescriptor = self._pool.FindMethodByName(symbol).containing_service.file
            return file

    def _extensions(self, name: str) -> Answer:
        """No message of ours has extensions; the type must be known all the same."""
        try:
            self._pool.FindMessageTypeByName(name)
        except KeyError:
            return _error(_NOT_FOUND, "not found")
        return _Answer(all_extension_numbers_response=reflection_pb2.ExtensionNumberResponse(base_type_name=name))


def _reflection_v1() -> bytes:
    file = FileDescriptorProto.FromString(reflection_pb2.DESCRIPTOR.serialized_pb)
    file.name, file.package = "grpc/reflection/v1/reflection.proto", _V1.strip(".")
    for message in file.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = field.type_name.replace(_ALPHA, _V1)
    for method in file.service[0].method:
        method.input_type, method.output_type = method.input_type.replace(_ALPHA, _V1), method.output_type.replace(_ALPHA, _V1)
    return file.SerializeToString()


def _services(names: list[str]) -> Answer:
    services = [reflection_pb2.ServiceResponse(name=name) for name in names]
    return _Answer(list_services_response=reflection_pb2.ListServiceResponse(service=services))


def _files(find: Callable[[], FileDescriptor]) -> Answer:
    """A file and all that it imports, each once."""
    try:
        pending = [find()]
    except KeyError:
        return _error(_NOT_FOUND, "not found")
    found: dict[str, bytes] = {}
    while pending:
        file = pending.pop(0)
        found[file.name] = file.serialized_pb
        pending += [needed for needed in file.dependencies if needed.name not in found]
    return _Answer(file_descriptor_response=reflection_pb2.FileDescriptorResponse(file_descriptor_proto=found.values()))


def _error(code: int, text: str) -> Answer:
    return _Answer(error_response=reflection_pb2.ErrorResponse(error_code=code, error_message=text))
