"""How a version wants to be served: rows of a run, waiting for more, queues, instances, where and how its session runs. Pure data."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from registry.errors import damaged
from registry.providers import Provider, ProviderOptions
from registry.queueing import Queueing, misfit

MAX_THREADS = 1024  # of one run

Positive = Annotated[int, msgspec.Meta(ge=1)]
Threads = Annotated[int, msgspec.Meta(ge=1, le=MAX_THREADS)]
Optimization = Literal["all", "extended", "basic", "none"]
Execution = Literal["sequential", "parallel"]


class Serving(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The blob `serving.json` of a version. None leaves a choice to the gateway's own settings."""

    format: Literal[1]
    batching: bool = True  # False where the first dimension is no batch: requests are neither joined nor split
    dynamic_batching: bool = True  # False: no request is joined with another; one of more rows than `max_batch_size` is split all the same
    max_batch_size: Positive | None = None  # rows of one run
    max_queue_delay_ms: Annotated[float, msgspec.Meta(ge=0)] | None = None
    instances: Positive | None = None  # runs at once
    intra_op_threads: Threads | None = None  # of one operator of a run
    inter_op_threads: Threads | None = None  # for operators that run at once, where `execution` is parallel
    execution: Execution | None = None  # of the operators of a run
    optimization: Optimization | None = None  # what the runtime does to the graph before it runs
    providers: tuple[Provider, ...] = ()  # where it runs, the first that can; () leaves the choice to the gateway's settings
    provider_options: ProviderOptions = ProviderOptions()
    memory_pattern: bool | None = None  # whether the runtime plans the memory of a run of known shapes in one piece
    entries: dict[str, str] = {}  # of the session's configuration, as `providers.ENTRIES` lists them
    parameters: dict[str, str] = {}  # the model's own, which the gateway shows and does not read
    queue: Queueing | None = None  # priority levels and queue policies

    def __post_init__(self) -> None:
        wrong = None if self.queue is None else misfit(self.queue)
        if wrong is not None:
            raise ValueError(f"queue.{wrong[0]}: {wrong[1]}")


def encode(serving: Serving) -> bytes:
    """Deterministic JSON."""
    return msgspec.json.encode(serving, order="deterministic")


def decode(content: bytes, *, key: str) -> Serving:
    """The inverse of `encode`. Raises `Kind.DAMAGED` naming `key`."""
    try:
        return msgspec.json.decode(content, type=Serving)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise damaged(f"{key} does not say how to serve: {error}") from error
