"""Which of a model's providers runs it: the first of its list that is there, can be set up, and takes a part of the graph.

Left alone, the runtime puts a graph on the processor whenever a provider cannot be had, and says so to nobody: a missing library, a GPU
that is not there, a device that a container was not given, a graph none of whose operators the provider knows. Here each of these is a
failure by name, unless the list goes on: then the next one runs it, and what was missed and why is known. Imports no runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from gateway.serving.sessions import SessionSettings
from registry.providers import Provider

# The runtime's names.
NAMES: Mapping[Provider, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
RECORD = "session.record_ep_graph_assignment_info"  # a configuration entry: keep which provider takes which nodes
_SWITCHES = {True: "1", False: "0"}
_CUDA = {
    "device": "device_id", "memory_bytes": "gpu_mem_limit", "arena": "arena_extend_strategy",
    "conv_search": "cudnn_conv_algo_search", "tf32": "use_tf32",
}  # fmt: skip
_CUDA_VALUES = {
    "power_of_two": "kNextPowerOfTwo", "as_requested": "kSameAsRequested",
    "exhaustive": "EXHAUSTIVE", "heuristic": "HEURISTIC", "default": "DEFAULT",
}  # fmt: skip
_TENSORRT = {
    "device": "device_id", "workspace_bytes": "trt_max_workspace_size", "fp16": "trt_fp16_enable",
    "min_subgraph_nodes": "trt_min_subgraph_size", "builder_level": "trt_builder_optimization_level",
}  # fmt: skip
_OPENVINO = {"device": "device_type", "precision": "precision", "threads": "num_of_threads", "streams": "num_streams"}


class Assigned(Protocol):
    """A part of a graph and the provider that takes it."""

    @property
    def ep_name(self) -> str:
        """The runtime's name."""
        ...


class Session(Protocol):
    """What is asked of a session that was just made."""

    def get_providers(self) -> Sequence[str]:
        """Those that it has, by the runtime's names."""
        ...

    def get_provider_graph_assignment_info(self) -> Sequence[Assigned]:
        """The parts of the graph; the runtime has it from 1.24 on."""
        ...


S = TypeVar("S", bound=Session)
Listed = list[tuple[str, dict[str, str]]]  # the runtime's names and options
Missed = tuple[tuple[Provider, str], ...]


class ProviderFault(Exception):
    """No provider of the list can run the model; the text names one and says why."""


def known(available: Collection[str]) -> tuple[Provider, ...]:
    """Of the runtime's names those that a model can ask for."""
    return tuple([provider for provider, name in NAMES.items() if name in available])


@dataclass(frozen=True, slots=True)
class Placed(Generic[S]):
    """A session and who runs it."""

    session: S
    providers: tuple[Provider, ...]  # that it was made with; the first runs it
    missed: Missed  # those before it in the list, and why they do not


def placed(settings: SessionSettings, available: Collection[str], create: Callable[[Listed], S]) -> Placed[S]:
    """Make a session. `available` has the runtime's names, `create` raises what the runtime raises.

    Raises ProviderFault; and what `create` raises of the processor, where that is the last of the list.
    """
    usable, absent = _usable(settings.providers, available)
    missed = dict(absent)
    while True:
        head, last = usable[0], len(usable) == 1
        try:
            session = create(listed(usable, settings))
            reason = _absence(session, head)
        except Exception as error:  # the runtime raises a dozen unrelated classes
            if last and head == "cpu":
                raise
            reason = str(error)
        if reason is None:
            before = settings.providers[: settings.providers.index(head)]
            return Placed(session, usable, tuple([(name, missed[name]) for name in before]))
        if last:
            raise ProviderFault(f"provider '{head}' cannot run it: {reason}")
        missed[head] = reason
        usable = usable[1:]


def listed(providers: Sequence[Provider], settings: SessionSettings) -> Listed:
    """For the runtime, in order."""
    return [(NAMES[provider], options_of(provider, settings)) for provider in providers]


def options_of(provider: Provider, settings: SessionSettings) -> dict[str, str]:
    """What the runtime is told of a provider; what is not set is the provider's own default."""
    said: dict[str, Any] = msgspec.to_builtins(getattr(settings.options, provider, None) or {})
    match provider:
        case "cuda":
            return _translated({"device": 0} | said, _CUDA, _CUDA_VALUES)
        case "tensorrt":
            return _translated({"device": 0} | said, _TENSORRT, {})
        case "openvino":  # left alone, it takes every core
            return _translated(
                {"device": "CPU", "threads": settings.intra_op_threads, "streams": settings.instances_on(provider)} | said, _OPENVINO, {}
            )
        case _:
            return {}


def _translated(said: Mapping[str, Any], names: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    texts = {key: _SWITCHES[value] if isinstance(value, bool) else str(value) for key, value in said.items()}
    return {names[key]: values.get(text, text) for key, text in texts.items()}


def _usable(wanted: Sequence[Provider], available: Collection[str]) -> tuple[tuple[Provider, ...], Missed]:
    """Those of the list that are installed, and the others. Raises ProviderFault where nothing stands after one of these."""
    here = known(available)
    if wanted[-1] not in here:
        raise ProviderFault(f"provider '{wanted[-1]}' is not in this installation of ONNX Runtime, which has {', '.join(here)}")
    absent = tuple([(name, "it is not in this installation of ONNX Runtime") for name in wanted if name not in here])
    return tuple([name for name in wanted if name in here]), absent


def _absence(session: Session, head: Provider) -> str | None:
    """Why a provider that was asked for does not run the graph; None where it does."""
    if head == "cpu":
        return None
    if NAMES[head] not in session.get_providers():
        return "the runtime could not set it up: its libraries or its device are not there"
    parts = getattr(session, "get_provider_graph_assignment_info", None)
    if parts is not None and all(part.ep_name != NAMES[head] for part in parts()):
        return "it takes no part of the graph"
    return None
