"""The whole configuration of a version, as Triton's clients and perf_analyzer know it: from plain values to the message, and to JSON.

What its `config.pbtxt` says stands in it as it was said; what is served otherwise, or was not said, is as it is served. Source of the JSON:
github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_configuration.md; its numbers are numbers, also int64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from gateway.pb import inference_pb2 as pb
from gateway.protocol.tensors import Signature, TensorSpec
from gateway.protocol.v2_grpc_metadata import PLATFORM
from registry.manifest import MODEL_FILE
from registry.names import MAX_VERSION
from registry.pb import model_config_pb2 as config_pb
from registry.queueing import Queueing, QueuePolicy
from registry.verified import VersionPolicy

BACKEND = "onnxruntime"
_ACCELERATORS = ("tensorrt", "openvino")  # as Triton calls them; CUDA is what KIND_GPU says
_UINT32 = (1 << 32) - 1
_JSON_TYPES = {
    FieldDescriptor.CPPTYPE_INT32: "integer", FieldDescriptor.CPPTYPE_INT64: "integer", FieldDescriptor.CPPTYPE_UINT32: "integer",
    FieldDescriptor.CPPTYPE_UINT64: "integer", FieldDescriptor.CPPTYPE_DOUBLE: "number", FieldDescriptor.CPPTYPE_FLOAT: "number",
    FieldDescriptor.CPPTYPE_BOOL: "boolean", FieldDescriptor.CPPTYPE_STRING: "string",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Where a version runs."""

    provider: str
    instances: int  # runs at once, in each worker
    gpu: int | None


ANY_CORE = Place("cpu", 1, None)


def model_config(
    signature: Signature,
    *,
    said: bytes,
    parameters: Mapping[str, str],
    joins: bool,
    max_delay_s: float,
    queueing: Queueing,
    policy: VersionPolicy | None,
    place: Place = ANY_CORE,
) -> Any:
    """A `ModelConfig`. `said` is one too: of the version's config.pbtxt, or empty; `policy` None leaves what that says of versions.

    Dims are without the batch where the version has one.
    """
    config = config_pb.ModelConfig.FromString(said)
    batched = signature.max_batch_size > 0
    lost_batch = config.max_batch_size > 0 and not batched  # its rows turned out to depend on each other
    config.name, config.platform, config.backend = signature.model, PLATFORM, BACKEND
    config.default_model_filename = config.default_model_filename or MODEL_FILE
    config.max_batch_size = signature.max_batch_size
    _set_ports(config.input, signature.inputs, batched=batched, lost_batch=lost_batch)
    _set_ports(config.output, signature.outputs, batched=batched, lost_batch=lost_batch)
    if policy is not None or config.version_policy.WhichOneof("policy_choice") is None:
        config.version_policy.CopyFrom(_policy(policy or VersionPolicy()))
    if joins and batched:
        config.dynamic_batching.max_queue_delay_microseconds = round(max_delay_s * 1e6)
        _set_queueing(config.dynamic_batching, queueing)
    else:
        config.ClearField("dynamic_batching")
    _set_place(config, place)
    for key, value in parameters.items():
        config.parameters[key].string_value = value
    return config


def response(config: Any) -> bytes:
    """ModelConfigResponse."""
    return pb.ModelConfigResponse(config=config).SerializeToString(deterministic=True)


def plain(message: Any) -> dict[str, Any]:
    """A message for JSON as Triton writes one: names of the contract, enums by name, defaults too; messages only where they are set."""
    fields = [field for field in message.DESCRIPTOR.fields if not field.has_presence or message.HasField(field.name)]
    return {field.name: _plain(field, getattr(message, field.name)) for field in fields}


def _plain(field: Any, value: Any) -> Any:
    if _is_map(field):
        inner = field.message_type.fields_by_name["value"]
        return {str(key): _one(inner, value[key]) for key in sorted(value)}
    return [_one(field, each) for each in value] if field.is_repeated else _one(field, value)


def _one(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        return plain(value)
    return value if field.enum_type is None else field.enum_type.values_by_number[value].name


def schemas_of_config(ref: Callable[[str], dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """JSON Schemas of what `plain` makes of a `ModelConfig` and the messages in it, by name of the message; `ref` refers to one."""
    found: dict[str, dict[str, Any]] = {}
    waiting = [config_pb.ModelConfig.DESCRIPTOR]
    while waiting:
        message = waiting.pop()
        if _name(message) not in found:
            waiting += [kind for field in message.fields if (kind := _message_of(field)) is not None]
            found[_name(message)] = {
                "type": "object",
                "required": [field.name for field in message.fields if not field.has_presence],
                "properties": {field.name: _schema(field, ref) for field in message.fields},
            }
    return found


def _name(message: Any) -> str:
    """`ModelWarmup.Input`: with the message that it is part of, without the package."""
    return str(message.full_name.removeprefix(f"{message.file.package}."))


def _is_map(field: Any) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _message_of(field: Any) -> Any:
    """The message that a field has, or the values of its map; None for plain values."""
    return _message_of(field.message_type.fields_by_name["value"]) if _is_map(field) else field.message_type


def _schema(field: Any, ref: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    if _is_map(field):
        return {"type": "object", "additionalProperties": _schema(field.message_type.fields_by_name["value"], ref)}
    if field.message_type is not None:
        one = ref(_name(field.message_type))
    elif field.enum_type is not None:
        one = {"enum": [value.name for value in field.enum_type.values]}
    else:
        one = {"type": _JSON_TYPES[field.cpp_type]}
    return {"type": "array", "items": one} if field.is_repeated else one


def _set_ports(listed: Any, specs: Iterable[TensorSpec], *, batched: bool, lost_batch: bool) -> None:
    """The ports of the signature in its order, each with what was said of it."""
    known = {port.name: port.SerializeToString() for port in listed}
    del listed[:]
    for spec in specs:
        port = listed.add()
        port.MergeFromString(known.get(spec.name, b""))
        port.name, port.data_type = spec.name, config_pb.DataType.Value("TYPE_" + spec.datatype.replace("BYTES", "STRING"))
        port.dims[:] = spec.shape[1:] if batched else spec.shape
        if lost_batch and port.HasField("reshape"):
            port.reshape.shape.insert(0, -1)


def _policy(policy: VersionPolicy) -> Any:
    if policy.specific:
        numbers = [number for number in policy.specific if number <= MAX_VERSION]
        return config_pb.ModelVersionPolicy(specific=config_pb.ModelVersionPolicy.Specific(versions=numbers))
    if policy.all:
        return config_pb.ModelVersionPolicy(all=config_pb.ModelVersionPolicy.All())
    return config_pb.ModelVersionPolicy(latest=config_pb.ModelVersionPolicy.Latest(num_versions=min(policy.latest, _UINT32)))


def _set_queueing(batching: Any, queueing: Queueing) -> None:
    """Levels and policies as they are served, which another than the file may have said."""
    batching.priority_levels, batching.default_priority_level = queueing.priority_levels, queueing.default_priority_level
    batching.ClearField("default_queue_policy")
    batching.ClearField("priority_queue_policy")
    if queueing.default_queue_policy != QueuePolicy():
        batching.default_queue_policy.CopyFrom(_queue_policy(queueing.default_queue_policy))
    for level, policy in queueing.priority_queue_policy.items():
        batching.priority_queue_policy[int(level)].CopyFrom(_queue_policy(policy))


def _queue_policy(policy: QueuePolicy) -> Any:
    return config_pb.ModelQueuePolicy(
        timeout_action=policy.timeout_action.upper(),
        default_timeout_microseconds=policy.default_timeout_us,
        allow_timeout_override=policy.allow_timeout_override,
        max_queue_size=policy.max_queue_size,
    )


def _set_place(config: Any, place: Place) -> None:
    """The instances of each worker, under the name that was given or that Triton would give, and of accelerators the one that is used."""
    name = config.instance_group[0].name if config.instance_group else ""
    kind = config_pb.ModelInstanceGroup.KIND_CPU if place.gpu is None else config_pb.ModelInstanceGroup.KIND_GPU
    gpus = [] if place.gpu is None else [place.gpu]
    del config.instance_group[:]
    config.instance_group.add(name=name or f"{config.name}_0", kind=kind, count=place.instances, gpus=gpus)
    accelerators = config.optimization.execution_accelerators
    for listed in (accelerators.gpu_execution_accelerator, accelerators.cpu_execution_accelerator):
        kept = [each.SerializeToString() for each in listed if each.name == place.provider]
        del listed[:]
        for each in kept:
            listed.add().MergeFromString(each)
    used = accelerators.gpu_execution_accelerator if place.gpu is not None else accelerators.cpu_execution_accelerator
    if place.provider in _ACCELERATORS and not used:
        used.add(name=place.provider)
    if not accelerators.ListFields():
        config.optimization.ClearField("execution_accelerators")
        if not config.optimization.ListFields():
            config.ClearField("optimization")
