"""The contracts: fresh, wire-compatible with Triton's clients, and at peace with them in one process."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from tritonclient.grpc import model_config_pb2 as triton_config
from tritonclient.grpc import service_pb2 as triton

from gateway.pb import inference_pb2, rpcs
from registry.pb import model_config_pb2

ROOT = Path(__file__).resolve().parents[2]

Field = tuple[str, int, int, bool, str, str]


def field_facts(field: FieldDescriptor) -> Field:
    """What decides a field's meaning on the wire and in JSON: name, number, type, repetition, referent, oneof."""
    referent = field.message_type or field.enum_type
    oneof = field.containing_oneof.name if field.containing_oneof else ""
    return (field.name, field.number, field.type, field.is_repeated, referent.full_name if referent else "", oneof)


def enum_facts(enum: EnumDescriptor) -> dict[str, int]:
    return {value.name: value.number for value in enum.values}


def messages(file: object) -> dict[str, Descriptor]:
    """All messages of a file, nested ones too, by full name."""
    found: dict[str, Descriptor] = {}
    pending = list(file.message_types_by_name.values())
    while pending:
        message = pending.pop()
        found[message.full_name] = message
        pending.extend(message.nested_types)
    return found


PAIRS = [(triton.DESCRIPTOR, inference_pb2.DESCRIPTOR), (triton_config.DESCRIPTOR, model_config_pb2.DESCRIPTOR)]
SHARED = [(name, theirs, messages(ours)[name]) for other, ours in PAIRS for name, theirs in messages(other).items()]


@pytest.mark.parametrize(("name", "theirs", "ours"), SHARED, ids=[name for name, *_ in SHARED])
def test_every_message_of_tritons_clients_has_our_numbers(name: str, theirs: Descriptor, ours: Descriptor) -> None:
    """Each field that tritonclient knows has the same name, number, type and oneof here, and so have the nested enums."""
    assert {field_facts(field) for field in theirs.fields} <= {field_facts(field) for field in ours.fields}
    assert {enum.name: enum_facts(enum) for enum in theirs.enum_types} == {enum.name: enum_facts(enum) for enum in ours.enum_types}


def test_nothing_but_properties_is_added_to_tritons_contracts() -> None:
    """The superset is Triton's messages and the Open Inference Protocol's `properties`, number 6."""
    added = [field.full_name for _, theirs, ours in SHARED for field in ours.fields if field.name not in theirs.fields_by_name]
    assert ["inference.ModelMetadataResponse.properties"] == added
    assert 6 == inference_pb2.ModelMetadataResponse.PROPERTIES_FIELD_NUMBER
    ours = {name for _, file in PAIRS for name in messages(file)}
    assert {"inference.ModelMetadataResponse.PropertiesEntry"} == ours - {name for name, *_ in SHARED}


def test_datatypes_have_tritons_numbers() -> None:
    """TYPE_* values equal tritonclient's, and are attributes of the generated module."""
    assert enum_facts(triton_config.DESCRIPTOR.enum_types_by_name["DataType"]) == dict(model_config_pb2.DataType.items())
    assert 13 == model_config_pb2.TYPE_STRING


def test_all_twenty_calls_are_there_with_tritons_shapes() -> None:
    """The table of calls names the same messages and streaming sides as Triton's service, in 20 calls."""
    service = triton.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    theirs = {
        method.name: (method.input_type.full_name, method.output_type.full_name, method.client_streaming, method.server_streaming)
        for method in service.methods
    }
    ours = {
        name: (rpc.request.DESCRIPTOR.full_name, rpc.response.DESCRIPTOR.full_name, rpc.client_streaming, rpc.server_streaming)
        for name, rpc in rpcs.RPCS.items()
    }
    assert theirs == ours
    assert 20 == len(ours)
    assert "/inference.GRPCInferenceService/ModelInfer" == rpcs.RPCS["ModelInfer"].path


def test_the_committed_modules_are_what_the_contracts_generate() -> None:
    """Generating again gives the committed bytes, so nobody edits them and nobody forgets to run `make proto`."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "proto" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    committed = {path.relative_to(ROOT).as_posix(): path.read_text() for path in ROOT.glob("*/pb/*_pb2.py*")}
    assert committed == generate.generate()


OURS = "from gateway.pb import inference_pb2 as ours"
THEIRS = "import tritonclient.grpc\nfrom tritonclient.grpc import service_pb2 as theirs, service_pb2_grpc"
EXCHANGE = """
request = theirs.ModelInferRequest(model_name="m", raw_input_contents=[b"1234"])
assert ours.ModelInferRequest.FromString(request.SerializeToString()).raw_input_contents[0] == b"1234"
assert ours.ModelInferRequest.DESCRIPTOR.file.pool is not theirs.ModelInferRequest.DESCRIPTOR.file.pool
"""


@pytest.mark.parametrize("imports", [(OURS, THEIRS), (THEIRS, OURS)], ids=["ours first", "theirs first"])
def test_tritons_client_lives_beside_ours(imports: tuple[str, str]) -> None:
    """One process can import tritonclient and our contracts, in either order, and pass bytes between them."""
    script = "\n".join([*imports, EXCHANGE])
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ("", 0) == (done.stderr, done.returncode)


def test_importing_the_contracts_imports_no_grpc() -> None:
    """A worker that reads messages pays for protobuf only."""
    script = "import sys\nfrom gateway.pb import rpcs\nprint([m for m in sys.modules if m.split('.')[0].startswith('grpc')])"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "[]\n" == done.stdout
