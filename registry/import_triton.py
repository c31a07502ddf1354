"""A Triton model repository as versions to publish: each setting of `config.pbtxt` is honoured or refused by name, none is passed over.

The rules are those of Triton's model_configuration.md: no `version_policy` is the latest version, no `config.pbtxt` is all defaults,
dimensions are without the batch where `max_batch_size` is above 0.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from registry.errors import Kind, RegistryError, refused
from registry.imported import Imported, Settings
from registry.manifest import MODEL_FILE
from registry.names import is_plain_file_name
from registry.parts import Parts
from registry.pb import model_config_pb2 as pb
from registry.repository import CONFIG_FILE, Repository
from registry.schema import ContractFile, Terms
from registry.serving import Serving

# Fields of a port, of a group and of the model that change what is served, and that are refused where they are set.
_PORT_FIELDS = {"name", "data_type", "dims"}
_GROUP_FIELDS = {"name", "count", "kind", "gpus"}
_BATCHING_FIELDS = {"max_queue_delay_microseconds"}
_HONOURED = {"name", "platform", "backend", "version_policy", "max_batch_size", "input", "output", "instance_group"}
_HONOURED |= {"default_model_filename", "dynamic_batching", "parameters"}
_WHY = {
    "model_operations": "operators of libraries are code that the gate cannot look into",
    "sequence_batching": "requests here know nothing of each other",
    "ensemble_scheduling": "an ensemble is no ONNX model",
    "model_warmup": "golden requests warm a version up",
    "response_cache": "answers are not cached",
}
# Parameters that Triton's ONNX Runtime backend reads; others are the model's own and are kept.
_RUNTIME = (
    *("session.", "intra_op_thread_count", "inter_op_thread_count", "execution_mode", "level", "enable_mem_", "memory.", "cudnn_"),
    *("gpu_mem_limit", "arena_extend_strategy", "do_copy_in_default_stream", "use_device_allocator", "optimization."),
)


def import_repository(root: Path, *, may_drop: Collection[str] = ()) -> list[Imported]:
    """All versions that Triton would serve from `root`, by model and number.

    `may_drop` names settings, or sections of them, that may be let go: "optimization", "instance_group.gpus". Raises
    `Kind.INVALID_MODEL` naming model and setting, `Kind.NOT_FOUND`, `Kind.STORAGE`.
    """
    names = sorted({ref.model for ref in Repository(root).listing().versions})
    return [version for name in names for version in import_model(root, name, may_drop=may_drop)]


def import_model(root: Path, name: str, *, may_drop: Collection[str] = ()) -> list[Imported]:
    """As `import_repository`, for one model."""
    repository = Repository(root)
    versions = [ref.version for ref in repository.listing().versions if ref.model == name]
    if not versions:
        raise RegistryError(Kind.NOT_FOUND, f"the repository has no version of a model '{name[:128]}'")
    config = parse(repository.config_text(name) or "", name=name)
    settings = Settings(f"{name}/{CONFIG_FILE}", may_drop)
    parts = _parts(config, settings)
    file = config.default_model_filename or MODEL_FILE
    if not is_plain_file_name(file):
        raise refused(f"{name}/{CONFIG_FILE} names {file[:128]!r} as the model's file, which is not in the version's directory")
    chosen = _chosen(config, versions, settings)
    return [Imported(name, number, _path(root / name / str(number), file), parts, tuple(settings.dropped)) for number in chosen]


def parse(text: str, *, name: str) -> Any:
    """The configuration of model `name`, a `ModelConfig`. Raises `Kind.INVALID_MODEL` with line and column."""
    config = pb.ModelConfig()
    try:
        text_format.Parse(text, config)
    except text_format.ParseError as error:
        raise refused(f"{name}/{CONFIG_FILE} cannot be read: {' '.join(str(error).split())[:300]}") from error
    if config.name not in {"", name}:
        raise refused(f"{name}/{CONFIG_FILE} is of a model '{config.name[:128]}'")
    if config.backend not in {"", "onnxruntime"} or config.platform not in {"", "onnxruntime_onnx"}:
        raise refused(f"{name}/{CONFIG_FILE} is not of an ONNX model, but of '{(config.backend or config.platform)[:128]}'")
    return config


def _parts(config: Any, settings: Settings) -> Parts:
    for field, _ in config.ListFields():
        if field.name not in _HONOURED:
            settings.refuse(field.name, _WHY.get(field.name, "this server has no such setting"))
    if config.max_batch_size < 0:
        raise refused(f"{settings.source} has a negative max_batch_size")
    contract = ContractFile(
        inputs=_terms(config, config.input, "input", settings), outputs=_terms(config, config.output, "output", settings)
    )
    return Parts(contract=contract, serving=_serving(config, settings))


def _serving(config: Any, settings: Settings) -> Serving:
    _refuse_others(config.dynamic_batching, _BATCHING_FIELDS, "dynamic_batching", settings)
    for key in sorted(config.parameters):
        if key.startswith(_RUNTIME):
            settings.refuse(f"parameters.{key}", "sessions of this server are all set up alike")
    return Serving(
        format=1,
        batching=config.max_batch_size > 0,
        max_batch_size=config.max_batch_size or None,
        max_queue_delay_ms=config.dynamic_batching.max_queue_delay_microseconds / 1000,
        instances=_instances(config, settings),
        parameters={key: value.string_value for key, value in config.parameters.items() if not key.startswith(_RUNTIME)},
    )


def _instances(config: Any, settings: Settings) -> int | None:
    """One instance on the processor; None where nothing is said."""
    for group in config.instance_group:
        _refuse_others(group, _GROUP_FIELDS, "instance_group", settings)
        if group.gpus:
            settings.refuse("instance_group.gpus", "versions run on the processor")
        if group.kind not in {pb.ModelInstanceGroup.KIND_AUTO, pb.ModelInstanceGroup.KIND_CPU}:
            settings.refuse("instance_group.kind", "versions run on the processor")
        if group.count < 0:
            raise refused(f"{settings.source} has an instance group with a negative count")
    if sum(group.count or 1 for group in config.instance_group) > 1:
        settings.refuse("instance_group.count", "a process runs one session of a version; the number of workers does that job")
    return 1 if config.instance_group else None


def _terms(config: Any, ports: Any, what: str, settings: Settings) -> dict[str, Terms]:
    """Type and shape of each port as the contract file has them, to be held against the graph."""
    found: dict[str, Terms] = {}
    for port in ports:
        _refuse_others(port, _PORT_FIELDS, what, settings)
        if not port.name or port.name in found:
            raise refused(f"{settings.source} has an {what} without a name, or one twice")
        if any(size < 1 and size != -1 for size in port.dims):
            raise refused(f"{settings.source} has a size in the dims of '{port.name[:128]}' that is neither above 0 nor -1")
        batch = [-1] if config.max_batch_size > 0 else []
        dtype = pb.DataType.Name(port.data_type).removeprefix("TYPE_").replace("STRING", "BYTES") if port.data_type else None
        found[port.name] = Terms(dtype=dtype, shape=(*batch, *port.dims) if port.dims else None)
    return found


def _refuse_others(message: Any, honoured: set[str], section: str, settings: Settings) -> None:
    for field, _ in message.ListFields():
        if field.name not in honoured:
            settings.refuse(f"{section}.{field.name}")


def _chosen(config: Any, versions: list[int], settings: Settings) -> list[int]:
    """The versions that the policy names, ascending."""
    policy = config.version_policy
    match policy.WhichOneof("policy_choice"):
        case "all":
            return versions
        case "specific":
            missing = set(policy.specific.versions) - set(versions)
            if missing or not policy.specific.versions:
                raise refused(f"{settings.source} asks for version {min(missing, default=0)}, which is not there")
            return sorted(set(policy.specific.versions))
        case _:
            return versions[-(policy.latest.num_versions or 1) :]


def _path(directory: Path, file: str) -> Path:
    """`model.onnx` may be a directory that holds the file of that name beside its external data."""
    return directory / file / file if (directory / file).is_dir() else directory / file
