"""What one model does differently from the general settings, and what of it holds for one of its versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from gateway.capture_settings import ModelCapture
from gateway.drift_settings import Contract, ModelDrift
from gateway.label_settings import ModelLabels
from gateway.typed_yaml import MisfitError
from registry import queueing
from registry.errors import RegistryError
from registry.names import check_alias_name
from registry.providers import Provider, ProviderOptions, misfit, repeated, unlisted
from registry.queueing import Queueing
from registry.serving import MAX_THREADS, Execution, Optimization

MAX_ROWS, MAX_DELAY_MS, MAX_INSTANCES = 1 << 20, 60_000, 64

Count = Annotated[int, msgspec.Meta(ge=1)]
Rows = Annotated[int, msgspec.Meta(ge=1, le=MAX_ROWS)]
Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=MAX_DELAY_MS)]
Threads = Annotated[int, msgspec.Meta(ge=1, le=MAX_THREADS)]
Instances = Annotated[int, msgspec.Meta(ge=1, le=MAX_INSTANCES)]


class Versions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which versions of a model are served: at most one of the four. Without any, a registry's versions that an alias stands for, and
    of a Triton-style repository what its config.pbtxt says, or the latest one. A request that names no version goes to the champion, if
    that is among them; else to the highest number that serves, where numbers are chosen or the repository is Triton-style; else it is
    refused."""

    aliases: tuple[str, ...] = ()  # the versions that these stand for
    latest: Count | None = None  # so many of the highest numbers
    specific: tuple[Count, ...] = ()  # exactly these numbers
    all: bool = False  # every version there is

    def __post_init__(self) -> None:
        chosen = [name for name in ("aliases", "latest", "specific", "all") if getattr(self, name)]
        if len(chosen) > 1:
            raise MisfitError(chosen[1], f"{chosen[0]} is set already; choose one")
        for alias in self.aliases:
            try:
                check_alias_name(alias)
            except RegistryError as error:
                raise MisfitError("aliases", error.message) from None


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one model does differently, under its name."""

    max_batch_size: Rows | None = None  # instead of what the version says, and of batching.max_batch_size
    max_queue_delay_ms: Milliseconds | None = None  # instead of what the version says, and of batching.max_queue_delay_ms
    dynamic_batching: bool | None = None  # instead of what the version says; false: no request is joined with another, large ones are split
    queue: Queueing | None = None  # priority levels and queue policies, all of them instead of what the version says
    instances: Instances | None = None  # runs at once in a worker, instead of what the version says, or 1; on processors, of whole cores
    versions: Versions = Versions()  # which versions are served, instead of what a config.pbtxt says
    lazy: bool | None = None  # instead of processes.lazy
    allow_empty: bool = False  # answer a request of no rows with no rows, instead of refusing it
    intra_op_threads: Threads | None = None  # of one run, instead of what the version says, or 1; more pay off for large models only
    optimization: Optimization | None = None  # of the graph before it runs, instead of what the version says, or all
    providers: tuple[Provider, ...] = ()  # where it runs: the first that can, then what it leaves over; [] is what the version says, or cpu
    provider_options: ProviderOptions = ProviderOptions()  # over what the version says of those
    memory_pattern: bool | None = None  # plan the memory of runs of one shape, instead of what the version says, or true
    session_entries: dict[str, str] = {}  # of the runtime's configuration of a session, over the version's: see docs/providers.md
    isolation: Literal["none", "process"] = "none"  # process: the model runs in a child of each worker, which may crash, hang or fill up
    isolation_memory_bytes: Count = 2 << 30  # of that child, with weights and libraries
    run_timeout_s: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 30.0  # of one run there; past it the child is replaced
    drift: ModelDrift = ModelDrift()  # what is watched of its traffic
    labels: ModelLabels = ModelLabels()
    contract: Contract = Contract()  # what happens to values that break it
    capture: ModelCapture = ModelCapture()  # what is logged of its traffic

    def __post_init__(self) -> None:
        if (twice := repeated(self.providers)) is not None:
            raise MisfitError("providers", f"{twice} is listed twice")
        if self.providers and (stranger := unlisted(self.providers, self.provider_options)) is not None:
            raise MisfitError(f"provider_options.{stranger}", f"{stranger} is not among the providers")
        for key, value in self.session_entries.items():
            if (problem := misfit(key, value)) is not None:
                raise MisfitError("session_entries", f"{key}: {problem}")
        wrong = None if self.queue is None else queueing.misfit(self.queue)
        if wrong is not None:
            raise MisfitError(f"queue.{wrong[0]}", wrong[1])
        if self.isolation == "process" and (self.instances or 1) > 1:
            raise MisfitError("instances", "a model in a process of its own runs once at a time: leave out isolation, or instances")


@dataclass(frozen=True, slots=True)
class IsolationPlan:
    """The bounds of a model's own process."""

    memory_bytes: int
    run_timeout_s: float


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """The settings of one version with the defaults filled in."""

    max_batch_size: int  # 0: requests are neither joined nor split
    dynamic_batching: bool  # False: requests are not joined
    max_queue_delay_ms: float
    queue: Queueing
    instances: int
    inline_max_us: int
    allow_empty: bool
    intra_op_threads: int
    inter_op_threads: int
    execution: Execution
    optimization: Optimization
    providers: tuple[Provider, ...]
    provider_options: ProviderOptions
    memory_pattern: bool
    entries: Mapping[str, str]
    isolation: IsolationPlan | None
