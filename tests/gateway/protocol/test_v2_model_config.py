"""The configuration message: what was said, laid under what is served; and its JSON, which Triton's own client reads."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2 as triton

from gateway.pb import inference_pb2 as pb
from gateway.protocol.tensors import DATATYPES, Signature, TensorSpec
from gateway.protocol.v2_model_config import Place, model_config, plain, response
from registry.names import MAX_VERSION
from registry.pb import model_config_pb2 as config_pb
from registry.queueing import Queueing, QueuePolicy
from registry.verified import VersionPolicy

SIGNATURE = Signature("m", (TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "BYTES", (-1,)),), 8)
WHOLE = """
name: "m" platform: "onnxruntime_onnx" max_batch_size: 2
input [ { name: "x" data_type: TYPE_FP32 format: FORMAT_NCHW dims: [ 1, 2, 2 ] reshape { shape: [ 4 ] } } ]
output [ { name: "z" }, { name: "y" data_type: TYPE_STRING label_filename: "l" } ]
instance_group [ { name: "g" count: 1 kind: KIND_AUTO } ]
dynamic_batching { preferred_batch_size: [ 2 ] max_queue_delay_microseconds: 5 }
optimization { graph { level: 1 } input_pinned_memory { enable: true } }
version_policy { specific { versions: [ 1, 9007199254740993 ] } }
parameters { key: "owner" value { string_value: "ann" } }
model_warmup [ { name: "w" batch_size: 1 inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 4 ] random_data: true } } } ]
default_model_filename: "net.onnx"
"""
TENSORRT = """instance_group { kind: KIND_GPU } optimization { execution_accelerators { gpu_execution_accelerator [
  { name: "tensorrt" parameters { key: "precision_mode" value: "FP16" } } ] } }"""


def made(signature: Signature = SIGNATURE, said: str = "", **changes: Any) -> Any:
    facts: dict[str, Any] = {"parameters": {}, "joins": True, "max_delay_s": 0.0, "queueing": Queueing(), "policy": None} | changes
    return model_config(signature, said=text_format.Parse(said, config_pb.ModelConfig()).SerializeToString(), **facts)


def test_without_a_file_it_is_what_is_served() -> None:
    """Everything that a version needs to be asked, and how it is run."""
    expected = """
    name: "m" platform: "onnxruntime_onnx" backend: "onnxruntime" max_batch_size: 8 default_model_filename: "model.onnx"
    input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ] output [ { name: "y" data_type: TYPE_STRING } ]
    version_policy { latest { num_versions: 1 } } dynamic_batching {} instance_group [ { name: "m_0" kind: KIND_CPU count: 1 } ]
    """
    assert text_format.Parse(expected, config_pb.ModelConfig()) == made()


def test_queues_are_told_as_they_are_served() -> None:
    """The model's own settings may have won over the file here too."""
    said = "dynamic_batching { priority_levels: 9 default_priority_level: 3 priority_queue_policy { key: 7 value { max_queue_size: 1 } } }"
    policy = QueuePolicy(timeout_action="delay", default_timeout_us=5, allow_timeout_override=True, max_queue_size=4)
    own = Queueing(priority_levels=2, default_priority_level=1, priority_queue_policy={"2": policy})
    expected = """priority_levels: 2 default_priority_level: 1 priority_queue_policy { key: 2 value {
        timeout_action: DELAY default_timeout_microseconds: 5 allow_timeout_override: true max_queue_size: 4 } }"""
    assert text_format.Parse(expected, config_pb.ModelDynamicBatching()) == made(said=said, queueing=own).dynamic_batching
    default = made(queueing=Queueing(default_queue_policy=policy)).dynamic_batching
    assert (0, 4, config_pb.ModelQueuePolicy.DELAY) == (
        default.priority_levels, default.default_queue_policy.max_queue_size, default.default_queue_policy.timeout_action,
    )  # fmt: skip


def test_what_was_said_stays_and_what_is_served_counts() -> None:
    """The model's own settings may have won over the file."""
    config = made(said=WHOLE, max_delay_s=2e-3, parameters={"owner": "ann", "unit": "km"})
    assert (8, 2000, [2], "net.onnx", 1) == (
        config.max_batch_size, config.dynamic_batching.max_queue_delay_microseconds, list(config.dynamic_batching.preferred_batch_size),
        config.default_model_filename, config.optimization.graph.level,
    )  # fmt: skip
    assert {"owner": "ann", "unit": "km"} == {key: value.string_value for key, value in config.parameters.items()}
    assert [("y", "l", [])] == [(port.name, port.label_filename, list(port.dims)) for port in config.output]
    assert [("g", config_pb.ModelInstanceGroup.KIND_CPU, 1)] == [(one.name, one.kind, one.count) for one in config.instance_group]
    assert [1, 9007199254740993] == list(config.version_policy.specific.versions)
    assert ("w", [4]) == (config.model_warmup[0].name, list(config.model_warmup[0].inputs["x"].dims))


@pytest.mark.parametrize(("changes", "present"), [({}, True), ({"joins": False}, False)])
def test_joining_is_told_by_presence(changes: dict[str, Any], present: bool) -> None:
    """As Triton has it; where there is no batch, there is nothing to join."""
    assert present is made(said=WHOLE, **changes).HasField("dynamic_batching")
    assert not made(replace(SIGNATURE, max_batch_size=0), said=WHOLE).HasField("dynamic_batching")


def test_without_a_batch_dims_are_whole() -> None:
    """Also where the file promised rows and the graph's depend on each other: the reshape then has the batch too."""
    signature = replace(SIGNATURE, inputs=(TensorSpec("x", "FP32", (-1, 1, 2, 2)),), max_batch_size=0)
    config = made(signature, said=WHOLE)
    assert (0, [-1, 1, 2, 2], [-1, 4]) == (config.max_batch_size, list(config.input[0].dims), list(config.input[0].reshape.shape))
    assert [4] == list(made(said=WHOLE).input[0].reshape.shape)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (VersionPolicy(latest=2), {"latest": {"num_versions": 2}}), (VersionPolicy(all=True), {"all": {}}),
        (VersionPolicy(specific=(3, 1)), {"specific": {"versions": [3, 1]}}),
        (VersionPolicy(latest=1 << 40), {"latest": {"num_versions": (1 << 32) - 1}}),
        (VersionPolicy(specific=(MAX_VERSION + 1, 2)), {"specific": {"versions": [2]}}),
    ],
)  # fmt: skip
def test_a_policy_of_the_settings_wins(policy: VersionPolicy, expected: dict) -> None:
    """Numbers that the contract cannot hold are no versions either."""
    assert expected == plain(made(said=WHOLE, policy=policy))["version_policy"]


@pytest.mark.parametrize(
    ("said", "place", "group", "accelerators"),
    [
        ("", Place("cpu", 3, None), ("KIND_CPU", 3, []), {}),
        ("", Place("cuda", 2, 1), ("KIND_GPU", 2, [1]), {}),
        ("", Place("tensorrt", 1, 0), ("KIND_GPU", 1, [0]), {"gpu": ["tensorrt"]}),
        ("", Place("openvino", 1, None), ("KIND_CPU", 1, []), {"cpu": ["openvino"]}),
        (TENSORRT, Place("tensorrt", 1, 0), ("KIND_GPU", 1, [0]), {"gpu": ["tensorrt"]}),
        (TENSORRT, Place("cpu", 1, None), ("KIND_CPU", 1, []), {}),
    ],
)
def test_where_it_runs_is_told_as_triton_does(said: str, place: Place, group: tuple, accelerators: dict[str, list[str]]) -> None:
    """Also where that is not what the file asked for."""
    config = made(said=said, place=place)
    (found,) = config.instance_group
    assert group == (config_pb.ModelInstanceGroup.Kind.Name(found.kind), found.count, list(found.gpus))
    listed = config.optimization.execution_accelerators
    kinds = {"gpu": listed.gpu_execution_accelerator, "cpu": listed.cpu_execution_accelerator}
    assert accelerators == {kind: [each.name for each in names] for kind, names in kinds.items() if names}
    assert bool(accelerators) is config.HasField("optimization")
    if said and accelerators:
        assert {"precision_mode": "FP16"} == dict(kinds["gpu"][0].parameters)


@pytest.mark.parametrize("datatype", sorted(DATATYPES))
def test_every_datatype_has_its_name(datatype: str) -> None:
    """Triton's STRING is the protocol's BYTES."""
    signature = replace(SIGNATURE, inputs=(TensorSpec("x", datatype, (-1, 1)),))
    assert "TYPE_" + datatype.replace("BYTES", "STRING") == plain(made(signature))["input"][0]["data_type"]


@pytest.mark.parametrize("said", ["", WHOLE])
def test_the_json_is_that_of_protobuf_with_numbers(said: str) -> None:
    """The witness writes int64 as text; both read back to the same message, also in Triton's own classes."""
    config = made(said=said)
    witness = json_format.MessageToDict(config, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    found = plain(config)
    assert _texts(witness) == _texts(found)
    theirs = json_format.ParseDict(json.loads(json.dumps(found)), triton.ModelConfig())
    assert config.SerializeToString(deterministic=True) == theirs.SerializeToString(deterministic=True)
    assert all(type(size) is int for size in found["input"][0]["dims"])


def _texts(value: Any) -> Any:
    """With numbers as texts, however they were written."""
    if isinstance(value, dict):
        return {key: _texts(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_texts(inner) for inner in value]
    return value if isinstance(value, bool) else str(value)


def test_what_is_not_there_is_not_shown() -> None:
    """A message that is absent has no name; a list or a map has."""
    found = plain(made())
    assert "sequence_batching" not in found
    assert "optimization" not in found
    assert ([], {}, "") == (found["model_warmup"], found["parameters"], found["runtime"])


def test_the_answer_holds_it() -> None:
    """ModelConfigResponse."""
    config = made(said=WHOLE)
    assert config == pb.ModelConfigResponse.FromString(response(config)).config
