"""What a `config.pbtxt` asks for, as everything else here understands it. Pure; files that it names are handed in.

The rules are Triton's (its model_configuration.md and its ONNX Runtime backend): dims are without the batch where `max_batch_size` is above
0, and without `dynamic_batching` no request is joined with another. A configuration that lists neither inputs nor outputs is completed from
the graph: what it does not say of the two is then as if there were no file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, json_format, text_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from registry import triton_fields
from registry.errors import RegistryError, refused
from registry.imported import Settings
from registry.manifest import MODEL_FILE
from registry.names import is_plain_file_name
from registry.pb import model_config_pb2 as pb
from registry.ports import CONFIG_FILE, Ports, View, hold_the_same
from registry.queueing import MAX_LEVELS, MAX_TIMEOUT_US, Action, Queueing, QueuePolicy, misfit
from registry.schema import ContractFile, Terms
from registry.serving import Serving
from registry.triton_session import is_runtimes, session_of
from registry.verified import VersionPolicy
from registry.warmup import MAX_ROWS, MAX_RUNS, MAX_SAMPLES, Filling, Sample, check_filling

_ACTIONS: dict[int, Action] = {pb.ModelQueuePolicy.REJECT: "reject", pb.ModelQueuePolicy.DELAY: "delay"}


@dataclass(frozen=True, slots=True)
class Said:
    """A parsed file."""

    source: str  # "m/config.pbtxt"
    message: Any  # a `ModelConfig`
    has_rows: bool  # `max_batch_size` stands there, be it 0
    has_delay: bool  # `dynamic_batching.max_queue_delay_microseconds` stands there, be it 0

    @property
    def complete(self) -> bool:
        """Taken word for word."""
        return bool(self.message.input or self.message.output)

    @property
    def batched(self) -> bool | None:
        """Whether dims stand behind a batch dimension; None where the graph decides."""
        return True if self.message.max_batch_size > 0 else False if self.complete or self.has_rows else None


@dataclass(frozen=True, slots=True)
class Configuration:
    """What of a file is honoured."""

    message: bytes  # the whole `ModelConfig`, for who asks
    file: str  # of the model, in the directory of a version
    policy: VersionPolicy | None  # None: nothing is said, which is the latest version
    serving: Serving
    ports: Ports
    warmup: tuple[Sample, ...]


def parse(text: str, *, name: str) -> Said:
    """The configuration of model `name`. Raises `Kind.INVALID_MODEL` with line and column."""
    source, explicit = f"{name}/{CONFIG_FILE}", _explicit()()
    try:
        text_format.Parse(text, explicit)
    except text_format.ParseError as error:
        raise _unreadable(source, error) from error
    return _said(source, explicit, name)


def parse_json(text: str, *, name: str) -> Said:
    """The same of JSON as protobuf maps it, with the names of the contract or their camel case. Raises `Kind.INVALID_MODEL`."""
    source, explicit = f"the configuration in this load of '{name}'", _explicit()()
    if not text.lstrip().startswith("{"):
        raise refused(f"{source} cannot be read: it is no JSON object")
    try:
        json_format.Parse(text, explicit)
    except (json_format.ParseError, RecursionError, AttributeError, TypeError, ValueError, OverflowError) as error:
        raise _unreadable(source, error) from error
    return _said(source, explicit, name)


def _unreadable(source: str, error: Exception) -> RegistryError:
    text = str(error).partition(" Available Fields")[0]  # all of them, after one that there is not
    return refused(f"{source} cannot be read: {' '.join(text.split())[:300]}")


def _said(source: str, explicit: Any, name: str) -> Said:
    """Raises `Kind.INVALID_MODEL` for a configuration of something else."""
    config = pb.ModelConfig.FromString(explicit.SerializeToString())
    if config.name not in {"", name}:
        raise refused(f"{source} is of a model '{config.name[:128]}'")
    if config.backend not in {"", "onnxruntime"} or config.platform not in {"", "onnxruntime_onnx"}:
        raise refused(f"{source} is not of an ONNX model, but of '{(config.backend or config.platform)[:128]}'")
    has_delay = explicit.dynamic_batching.HasField("max_queue_delay_microseconds")
    return Said(source, config, has_rows=explicit.HasField("max_batch_size"), has_delay=has_delay)


@cache
def _explicit() -> Any:
    """`ModelConfig` with presence for every field: "max_batch_size: 0" is something else than silence."""
    file = descriptor_pb2.FileDescriptorProto()
    pb.DESCRIPTOR.CopyToProto(file)
    file.syntax = "proto2"
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return GetMessageClass(pool.FindMessageTypeByName(pb.ModelConfig.DESCRIPTOR.full_name))


def policy_of(said: Said) -> VersionPolicy | None:
    """Which versions serve; None where nothing is said. Raises `Kind.INVALID_MODEL` for a choice of none."""
    policy = said.message.version_policy
    if policy.WhichOneof("policy_choice") == "specific" and not policy.specific.versions:
        raise refused(f"{said.source} has a version_policy that chooses no version")
    match policy.WhichOneof("policy_choice"):
        case "all":
            return VersionPolicy(all=True)
        case "specific":
            return VersionPolicy(specific=tuple(sorted(set(policy.specific.versions))))
        case "latest":
            return VersionPolicy(latest=policy.latest.num_versions or 1)
        case _:
            return None


def read(said: Said, settings: Settings, warmup_file: Callable[[str], bytes]) -> Configuration:
    """Everything that is honoured; the rest is refused by `settings`. `warmup_file` gives the content of a file that a sample names.

    Raises `Kind.INVALID_MODEL` naming the field.
    """
    config = said.message
    for path, why in triton_fields.refusals(config):
        settings.refuse(path, why)
    file = config.default_model_filename or MODEL_FILE
    if not is_plain_file_name(file):
        raise refused(f"{said.source} names {file[:128]!r} as the model's file, which is not in the version's directory")
    if config.max_batch_size < 0:
        raise refused(f"{said.source} has a negative max_batch_size")
    return Configuration(
        message=config.SerializeToString(deterministic=True),
        file=file,
        policy=policy_of(said),
        serving=_serving(said, settings),
        ports=_ports(said),
        warmup=_warmup(said, warmup_file),
    )


def notes(said: Said) -> tuple[str, ...]:
    """What is fine as it is and ought to be known: fields for which nothing needs to be done."""
    found = [f"{said.source} sets '{path}', for which nothing is done: {why}" for path, why in triton_fields.needless(said.message)]
    unasked = [sample.name[:128] for sample in said.message.model_warmup if not sample.batch_size]
    return (*found, *[f"{said.source} has a warm-up sample '{name}' with a batch_size of 0, which is not asked" for name in unasked])


# --- how it is served ------------------------------------------------------------------------------------------------------------


def _serving(said: Said, settings: Settings) -> Serving:
    config = said.message
    delay_ms = config.dynamic_batching.max_queue_delay_microseconds / 1000
    return Serving(
        format=1,
        batching=said.batched is not False,
        dynamic_batching=config.HasField("dynamic_batching") or not said.complete,
        max_batch_size=config.max_batch_size or None,
        max_queue_delay_ms=delay_ms if said.has_delay else None,
        parameters={key: value.string_value for key, value in sorted(config.parameters.items()) if not is_runtimes(key)},
        queue=_queueing(said),
        **session_of(said.source, config, settings),
    )


def _queueing(said: Said) -> Queueing | None:
    """None where nothing is said."""
    asked = said.message.dynamic_batching
    for field in ("priority_levels", "default_priority_level"):
        if getattr(asked, field) > MAX_LEVELS:
            raise refused(f"{said.source} has a dynamic_batching.{field} above {MAX_LEVELS}")
    queueing = Queueing(
        priority_levels=asked.priority_levels,
        default_priority_level=asked.default_priority_level,
        default_queue_policy=_policy(said, asked.default_queue_policy),
        priority_queue_policy={str(level): _policy(said, policy) for level, policy in sorted(asked.priority_queue_policy.items())},
    )
    wrong = misfit(queueing)
    if wrong is not None:
        raise refused(f"{said.source} has a wrong dynamic_batching.{wrong[0]}: {wrong[1]}")
    return None if queueing == Queueing() else queueing


def _policy(said: Said, policy: Any) -> QueuePolicy:
    if policy.timeout_action not in _ACTIONS:
        raise refused(f"{said.source} has a timeout_action that is neither REJECT nor DELAY")
    if policy.default_timeout_microseconds > MAX_TIMEOUT_US:
        raise refused(f"{said.source} has a default_timeout_microseconds above {MAX_TIMEOUT_US}")
    return QueuePolicy(
        timeout_action=_ACTIONS[policy.timeout_action],
        default_timeout_us=policy.default_timeout_microseconds,
        allow_timeout_override=policy.allow_timeout_override,
        max_queue_size=policy.max_queue_size,
    )


# --- inputs and outputs ------------------------------------------------------------------------------------------------------------


def _ports(said: Said) -> Ports:
    config = said.message
    inputs, seen_inputs = _terms(said, config.input, "input")
    outputs, seen_outputs = _terms(said, config.output, "output")
    contract = ContractFile(inputs=inputs, outputs=outputs)
    return Ports(contract=contract, batched=config.max_batch_size > 0, inputs=seen_inputs, outputs=seen_outputs)


def _terms(said: Said, ports: Any, what: str) -> tuple[dict[str, Terms], dict[str, View]]:
    """Type and shape of each port as the graph has to have them, and the views of those that callers see in other shapes."""
    terms: dict[str, Terms] = {}
    views: dict[str, View] = {}
    batch = (-1,) if said.message.max_batch_size > 0 else ()
    for port in ports:
        if not port.name or port.name in terms:
            raise refused(f"{said.source} has an {what} without a name, or one twice")
        shape: tuple[int, ...] | None = (*batch, *port.dims) if port.dims else None
        _check_shape(said, port, what)
        if port.HasField("reshape"):
            view = View(seen=(*batch, *port.dims), graph=(*batch, *port.reshape.shape))
            shape, views[port.name] = view.graph, view
        terms[port.name] = Terms(dtype=_datatype(port.data_type), shape=shape)
    return terms, views


def _check_shape(said: Said, port: Any, what: str) -> None:
    name = port.name[:128]
    if any(size < 1 and size != -1 for size in (*port.dims, *port.reshape.shape)):
        raise refused(f"{said.source} has a size in the dims of '{name}' that is neither above 0 nor -1")
    if port.HasField("reshape") and not (port.dims and hold_the_same(port.dims, port.reshape.shape)):
        raise refused(f"{said.source} has a reshape of {what} '{name}' that does not hold the elements of its dims")
    if what == "input" and port.format and len(port.dims) != 3:
        raise refused(f"{said.source} has a format for input '{name}', which needs 3 dims")


def _datatype(number: int) -> str | None:
    """As the Open Inference Protocol calls it; None where nothing is said."""
    return pb.DataType.Name(number).removeprefix("TYPE_").replace("STRING", "BYTES") if number else None


# --- warm-up -----------------------------------------------------------------------------------------------------------------------


def _warmup(said: Said, warmup_file: Callable[[str], bytes]) -> tuple[Sample, ...]:
    """The samples in their order. Like Triton, it leaves out those of no rows."""
    samples = said.message.model_warmup
    if len(samples) > MAX_SAMPLES:
        raise refused(f"{said.source} has more than {MAX_SAMPLES} samples in model_warmup")
    return tuple(_sample(said, sample, warmup_file) for sample in samples if sample.batch_size)


def _sample(said: Said, sample: Any, warmup_file: Callable[[str], bytes]) -> Sample:
    name = sample.name[:128]
    most = MAX_ROWS if said.batched is None else max(said.message.max_batch_size, 1)
    for field, value, bound in (("batch_size", sample.batch_size, most), ("count", sample.count, MAX_RUNS)):
        if value > bound:
            raise refused(f"{said.source} has a model_warmup.{field} of {value} in '{name}', where at most {bound} is allowed")
    inputs = {
        port: _filling(f"{said.source}: input '{port[:128]}' of warm-up sample '{name}'", filling, sample.batch_size, warmup_file)
        for port, filling in sorted(sample.inputs.items())
    }
    return Sample(name=sample.name, rows=sample.batch_size, runs=sample.count or 1, batched=said.batched, inputs=inputs)


def _filling(subject: str, filling: Any, rows: int, warmup_file: Callable[[str], bytes]) -> Filling:
    values = {"zero_data": "zero", "random_data": "random", "input_data_file": "file"}.get(filling.WhichOneof("input_data_type") or "")
    datatype, file = _datatype(filling.data_type), filling.input_data_file
    if values is None or datatype is None:
        raise refused(f"{subject} has no data_type, or none of zero_data, random_data and input_data_file")
    if any(size < 1 for size in filling.dims):
        raise refused(f"{subject} has a size in its dims that is not above 0")
    if values == "file" and not is_plain_file_name(file):
        raise refused(f"{subject} names {file[:128]!r}, which is no file in the directory warmup")
    content = warmup_file(file) if values == "file" else b""
    made = Filling(datatype=datatype, dims=tuple(filling.dims), values=values, file=file, data=content)  # type: ignore[arg-type]
    check_filling(made, rows=rows, subject=subject)
    return made
