"""Reflection's answers, and that they are enough to call this server without its contracts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha import reflection_pb2

from gateway.control.reflection import MAX_REQUEST_BYTES, OF_INFERENCE, PATHS, Reflection
from gateway.errors import TidegateError
from gateway.pb import inference_pb2 as pb

REFLECTION = Reflection()
SERVICES = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "inference.GRPCInferenceService",
    "tidegate.Labels",
    "tidegate.Monitoring",
]


def asked(**fields: object) -> reflection_pb2.ServerReflectionResponse:
    request = reflection_pb2.ServerReflectionRequest(host="h", **fields)  # type: ignore[arg-type]
    answer = reflection_pb2.ServerReflectionResponse.FromString(REFLECTION.answer(request.SerializeToString()))
    assert ("h", request) == (answer.valid_host, answer.original_request)
    return answer


def files(answer: reflection_pb2.ServerReflectionResponse) -> list[FileDescriptorProto]:
    return [FileDescriptorProto.FromString(file) for file in answer.file_descriptor_response.file_descriptor_proto]


def test_services_are_listed() -> None:
    """Inference, health and both versions of reflection."""
    assert SERVICES == [service.name for service in asked(list_services="").list_services_response.service]


def test_services_of_another_port_are_described_and_not_listed() -> None:
    """Each port lists what it has."""
    assert ["tidegate.proto"] == [file.name for file in files(asked(file_containing_symbol="tidegate.Rollouts"))]
    request = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
    answer = reflection_pb2.ServerReflectionResponse.FromString(Reflection(without=OF_INFERENCE).answer(request))
    assert [*SERVICES[1:3], "tidegate.Rollouts"] == [service.name for service in answer.list_services_response.service]


def test_paths_are_those_of_the_listed_services() -> None:
    """Both versions are called by the method that their descriptors name."""
    assert [f"/{name}/ServerReflectionInfo".encode() for name in SERVICES[1:3]] == list(PATHS)


@pytest.mark.parametrize(
    ("symbol", "names"),
    [
        ("inference.GRPCInferenceService", ["inference.proto", "model_config.proto"]),
        ("inference.GRPCInferenceService.ModelInfer", ["inference.proto", "model_config.proto"]),
        ("inference.ModelInferRequest.InferInputTensor", ["inference.proto", "model_config.proto"]),
        ("inference.DataType", ["model_config.proto"]),
        ("grpc.health.v1.Health", ["grpc_health/v1/health.proto"]),
        ("grpc.reflection.v1.ServerReflection", ["grpc/reflection/v1/reflection.proto"]),
        ("grpc.reflection.v1alpha.ServerReflectionRequest", ["grpc_reflection/v1alpha/reflection.proto"]),
    ],
)
def test_symbols_are_found_with_all_that_their_file_imports(symbol: str, names: list[str]) -> None:
    """Services, methods, nested messages and enums of every contract."""
    assert names == [file.name for file in files(asked(file_containing_symbol=symbol))]


def test_files_are_found_by_name() -> None:
    """As an import in another file names them."""
    assert ["model_config.proto"] == [file.name for file in files(asked(file_by_filename="model_config.proto"))]


def test_a_client_can_build_messages_from_the_answers() -> None:
    """The files of the inference service load into an empty pool, and what it then writes this server reads."""
    pool = DescriptorPool()
    for file in reversed(files(asked(file_containing_symbol="inference.GRPCInferenceService"))):
        pool.Add(file)  # type: ignore[no-untyped-call]
    request = GetMessageClass(pool.FindMessageTypeByName("inference.ModelInferRequest"))(model_name="m")  # type: ignore[call-arg]
    assert "m" == pb.ModelInferRequest.FromString(request.SerializeToString()).model_name


@pytest.mark.parametrize(
    "question", [{"file_containing_symbol": "no.Such"}, {"file_by_filename": "no.proto"}, {"all_extension_numbers_of_type": "no.Such"}]
)
def test_what_is_not_there_is_an_answer(question: dict[str, str]) -> None:
    """NOT_FOUND is in the answer; the stream lives on."""
    assert 5 == asked(**question).error_response.error_code


def test_there_are_no_extensions() -> None:
    """A known type has none, and none is found."""
    answer = asked(all_extension_numbers_of_type="inference.ModelConfig").all_extension_numbers_response
    assert ("inference.ModelConfig", []) == (answer.base_type_name, list(answer.extension_number))
    extension = reflection_pb2.ExtensionRequest(containing_type="inference.ModelConfig", extension_number=1)
    assert 5 == asked(file_containing_extension=extension).error_response.error_code


def test_a_request_for_nothing_is_invalid() -> None:
    """No question at all is INVALID_ARGUMENT, in the answer."""
    assert 3 == asked().error_response.error_code


@pytest.mark.parametrize(
    "message",
    [b"\xff", b"\x22\xff\x7f" + bytes(1 << 14), reflection_pb2.ServerReflectionRequest(host="h" * MAX_REQUEST_BYTES).SerializeToString()],
)
def test_garbage_and_large_requests_are_refused(message: bytes) -> None:
    """What is no request, or too large to echo, ends the call."""
    with pytest.raises(TidegateError):
        REFLECTION.answer(message)


def test_reflection_and_health_import_no_grpc() -> None:
    """A worker answers both without grpcio."""
    script = "import sys\nfrom gateway.control import health, reflection\nprint([m for m in sys.modules if m.split('.')[0] == 'grpc'])"
    done = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True)
    assert "[]\n" == done.stdout
