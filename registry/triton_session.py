"""Where and how the sessions of a version run, by its `config.pbtxt`: instance groups, accelerators, and the parameters that Triton's ONNX
Runtime backend reads. Pure.

Sources: README.md and src/onnxruntime.cc of github.com/triton-inference-server/onnxruntime_backend. What names a path is refused: a
repository does not say where this server writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from registry.errors import RegistryError, refused
from registry.imported import Settings
from registry.pb import model_config_pb2 as pb
from registry.providers import MAX_DEVICE, CudaOptions, Provider, ProviderOptions, TensorrtOptions, misfit
from registry.serving import MAX_THREADS, Execution, Optimization

_LEVELS: dict[int, Optimization] = {0: "all", 1: "extended", 2: "none", -1: "basic"}
_MODES: dict[str, Execution] = {"0": "sequential", "1": "parallel"}
_SWITCHES = {"0": False, "false": False, "1": True, "true": True}
_PRECISIONS = {"FP32": None, "FP16": True}
_ARENAS = {"0": "power_of_two", "1": "as_requested", "kNextPowerOfTwo": "power_of_two", "kSameAsRequested": "as_requested"}
_SEARCHES = {
    "0": "exhaustive",
    "1": "heuristic",
    "2": "default",
    "EXHAUSTIVE": "exhaustive",
    "HEURISTIC": "heuristic",
    "DEFAULT": "default",
}
_THREADS = {"intra_op_thread_count": "intra_op_threads", "inter_op_thread_count": "inter_op_threads"}
_ARENA = "runs share one arena, which limits.serving.max_arena_bytes bounds"
# Parameters that the backend reads and that are not honoured, by how they begin → why.
_REFUSED: Mapping[str, str] = {
    "memory.": _ARENA,
    "use_device_allocator": _ARENA,
    "share_session_between_instances": "instances share a session on processors, and have one each on a GPU",
    "do_copy_in_default_stream": "copies are the runtime's own",
    "cudnn_": "this server has no such setting",
}
_ENTRIES = ("session.", "optimization.", "mlas.")
_GROUP, _ACCELERATORS = "instance_group", "optimization.execution_accelerators"
Kind = pb.ModelInstanceGroup
Reader = Callable[[str], Any]  # of a value; raises KeyError or ValueError for one that cannot be


def session_of(source: str, config: Any, settings: Settings) -> dict[str, Any]:
    """All of it by the names of `Serving`. What cannot be honoured is refused by `settings`.

    Raises `Kind.INVALID_MODEL` naming the field.
    """
    instances, gpu = _instances(source, config.instance_group, settings)
    found: dict[str, Any] = {"instances": instances, "optimization": _optimization(config, settings)}
    said = _parameters(source, config, settings, on_gpu=gpu is not None)
    cuda = said.pop("cuda")
    accelerator = _accelerator(source, config, settings, on_gpu=gpu is not None)
    if gpu is not None:
        found["providers"], found["provider_options"] = _on_gpu(gpu, accelerator, cuda)
    elif accelerator is not None:
        found["providers"] = (accelerator[0],)
    elif any(group.kind == Kind.KIND_CPU for group in config.instance_group):
        found["providers"] = ("cpu",)
    return found | said


def is_runtimes(key: str) -> bool:
    """Whether a parameter is read here; any other is the model's own."""
    return key in _READ or key.startswith((*_ENTRIES, *_REFUSED))


# --- places ------------------------------------------------------------------------------------------------------------------------


def _instances(source: str, groups: Any, settings: Settings) -> tuple[int | None, int | None]:
    """(how many, None where nothing is said; the GPU, None where there is none)."""
    kinds = {group.kind for group in groups if group.kind != Kind.KIND_AUTO}
    if any(group.count < 0 for group in groups):
        raise refused(f"{source} has an instance group with a negative count")
    if unknown := kinds - {Kind.KIND_CPU, Kind.KIND_GPU}:
        settings.refuse(f"{_GROUP}.kind", "it is KIND_CPU, KIND_GPU or KIND_AUTO, which leaves it to this server's settings")
        kinds -= unknown
    if len(kinds) > 1:
        settings.refuse(f"{_GROUP}.kind", "all instances of a version run in one place")
        kinds = set()
    gpus = {number for group in groups for number in group.gpus}
    if gpus and kinds != {Kind.KIND_GPU}:
        settings.refuse(f"{_GROUP}.gpus", "it belongs to instances of KIND_GPU")
        gpus = set()
    if len(gpus) > 1 or any(not 0 <= number <= MAX_DEVICE for number in gpus):
        settings.refuse(f"{_GROUP}.gpus", f"a version runs on one GPU, a number from 0 to {MAX_DEVICE}")
        gpus = set()
    count = sum([group.count or 1 for group in groups]) or None
    return count, min(gpus, default=0) if kinds == {Kind.KIND_GPU} else None


def _on_gpu(
    gpu: int, accelerator: tuple[Provider, dict[str, Any]] | None, cuda: dict[str, Any]
) -> tuple[tuple[Provider, ...], ProviderOptions]:
    """As the backend has it: TensorRT first where it is asked for, then CUDA for what is left."""
    name, options = accelerator or ("cuda", {})
    if name == "cuda":
        return ("cuda",), ProviderOptions(cuda=CudaOptions(device=gpu, **(cuda | options)))
    return ("tensorrt", "cuda"), ProviderOptions(cuda=CudaOptions(device=gpu, **cuda), tensorrt=TensorrtOptions(device=gpu, **options))


def _accelerator(source: str, config: Any, settings: Settings, *, on_gpu: bool) -> tuple[Provider, dict[str, Any]] | None:
    """The provider that stands before the usual one, and what is set of it."""
    accelerators = config.optimization.execution_accelerators
    if on_gpu and accelerators.cpu_execution_accelerator:
        settings.refuse(f"{_ACCELERATORS}.cpu_execution_accelerator", "its instances are of KIND_GPU")
    if not on_gpu and accelerators.gpu_execution_accelerator:
        settings.refuse(f"{_ACCELERATORS}.gpu_execution_accelerator", "it belongs to instances of KIND_GPU")
    field = "gpu_execution_accelerator" if on_gpu else "cpu_execution_accelerator"
    listed = list(getattr(accelerators, field))
    if len(listed) > 1:
        settings.refuse(f"{_ACCELERATORS}.{field}", "one accelerator is enough")
        return None
    for each in listed:
        readers = _ACCELERATED[field].get(each.name)
        if readers is None:
            settings.refuse(f"{_ACCELERATORS}.{field}.name", f"it is {' or '.join(_ACCELERATED[field])}")
            return None
        place = f"{_ACCELERATORS}.{field}.parameters"
        return each.name, _translated(source, place, sorted(each.parameters.items()), readers, settings)
    return None


# --- parameters --------------------------------------------------------------------------------------------------------------------


def _optimization(config: Any, settings: Settings) -> Optimization | None:
    level = config.optimization.graph.level
    if level not in _LEVELS:
        settings.refuse("optimization.graph.level", "it is -1, 0, 1 or 2")
    return _LEVELS[level] if level in _LEVELS and config.optimization.HasField("graph") else None


def _parameters(source: str, config: Any, settings: Settings, *, on_gpu: bool) -> dict[str, Any]:
    """What `parameters` set of a session, and under "cuda" of that provider."""
    said = [(key, parameter.string_value.strip()) for key, parameter in sorted(config.parameters.items()) if is_runtimes(key)]
    found = _translated(source, "parameters", said, _READ, settings)
    cuda = {name: found.pop(name) for name in ("memory_bytes", "arena", "conv_search") if name in found}
    if cuda and not on_gpu:
        for key in sorted(set(_CUDA) & {key for key, _ in said}):
            settings.refuse(f"parameters.{key}", "it belongs to instances of KIND_GPU")
        cuda = {}
    entries = {key: value for key, value in said if key.startswith(_ENTRIES) and _is_entry(key, value, settings)}
    return found | {"cuda": cuda} | ({"entries": entries} if entries else {})


def _is_entry(key: str, value: str, settings: Settings) -> bool:
    problem = misfit(key, value)
    if problem is not None:
        settings.refuse(f"parameters.{key}", problem)
    return problem is None


def _translated(
    source: str, place: str, said: list[tuple[str, str]], readers: Mapping[str, tuple[str, Reader, str]], settings: Settings
) -> dict[str, Any]:
    """Values by our names; None, which is to leave it as it is, is left out."""
    found: dict[str, Any] = {}
    for key, value in said:
        if key not in readers:
            if not key.startswith(_ENTRIES):
                settings.refuse(
                    f"{place}.{key}", next((why for start, why in _REFUSED.items() if key.startswith(start)), "no such setting")
                )
            continue
        name, read, expected = readers[key]
        try:
            made = read(value)
        except RegistryError as error:
            settings.refuse(f"{place}.{key}", error.message)
            continue
        except (KeyError, ValueError):
            raise refused(f"{source} has {value[:64]!r} for {place}.{key}, where {expected} is expected") from None
        if made is not None:
            found[name] = made
    return found


def _whole(low: int, high: int) -> Reader:
    def read(value: str) -> int:
        if not (value.isascii() and value.isdigit()) or len(value) > len(str(high)) or not low <= int(value) <= high:
            raise ValueError
        return int(value)

    return read


def _threads(value: str) -> int | None:
    """None for 0, with which Triton leaves the choice to the runtime and this server to its settings."""
    return _whole(0, MAX_THREADS)(value) or None


def _bytes(value: str) -> int | None:
    """None for the largest number there is, which is no bound."""
    number = int(_whole(1, (1 << 64) - 1)(value))
    return None if number >= (1 << 63) - 1 else number


def _always(value: str) -> None:
    """An arena is there, and cannot be given up. Raises `Kind.INVALID_MODEL` for who would."""
    if not _SWITCHES[value]:
        raise refused(_ARENA)


_SIZE = "a number of bytes"
_CUDA: dict[str, tuple[str, Reader, str]] = {
    "gpu_mem_limit": ("memory_bytes", _bytes, _SIZE),
    "arena_extend_strategy": ("arena", _ARENAS.__getitem__, "0 or 1"),
    "cudnn_conv_algo_search": ("conv_search", _SEARCHES.__getitem__, "0, 1 or 2"),
}
_READ: Mapping[str, tuple[str, Reader, str]] = {
    **{key: (name, _threads, f"0 to {MAX_THREADS}") for key, name in _THREADS.items()},
    "execution_mode": ("execution", _MODES.__getitem__, "0 or 1"),
    "enable_mem_pattern": ("memory_pattern", _SWITCHES.__getitem__, "0 or 1"),
    "enable_mem_arena": ("", _always, "0 or 1"),
    **_CUDA,
}
_ACCELERATED: Mapping[str, Mapping[str, Mapping[str, tuple[str, Reader, str]]]] = {
    "gpu_execution_accelerator": {
        "tensorrt": {
            "precision_mode": ("fp16", _PRECISIONS.__getitem__, "FP32 or FP16"),
            "max_workspace_size_bytes": ("workspace_bytes", _bytes, _SIZE),
            "trt_min_subgraph_size": ("min_subgraph_nodes", _whole(1, 1_000_000), "a number of nodes"),
            "trt_builder_optimization_level": ("builder_level", _whole(0, 5), "0 to 5"),
        },
        "cuda": _CUDA | {"use_tf32": ("tf32", _SWITCHES.__getitem__, "0 or 1")},
    },
    "cpu_execution_accelerator": {"openvino": {}},
}
