"""How a session is set up. Pure data; the only settings that travel to the process of an isolated model as well."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from registry.providers import Provider, ProviderOptions
from registry.serving import Execution, Optimization


class SessionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a session runs. One intra-op thread: cores are shared by sessions and the event loop (ORT#10273)."""

    intra_op_threads: int = 1
    max_batch_size: int = 256  # rows of one run; 0: requests are neither joined nor split
    inter_op_threads: int = 1  # for operators that run at once, where `execution` is parallel
    execution: Execution = "sequential"
    optimization: Optimization = "all"
    providers: tuple[Provider, ...] = ("cpu",)  # the first that can run the graph does
    options: ProviderOptions = ProviderOptions()
    instances: int = 1  # runs at once that are wished for
    cores: int = 1  # that runs on processors share
    memory_pattern: bool = True
    entries: Mapping[str, str] = {}

    def instances_on(self, provider: Provider) -> int:
        """Runs at once: on processors, at most as many as have cores for their threads. More would only take turns."""
        return self.instances if self.options.waits(provider) else max(1, min(self.instances, self.cores // self.intra_op_threads))


class Placement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a session came to run."""

    provider: Provider = "cpu"
    missed: tuple[tuple[Provider, str], ...] = ()  # those before it in the list, and why they do not run it
    instances: int = 1  # runs at once
    device: int | None = None  # of a GPU

    @property
    def properties(self) -> dict[str, str]:
        """What a caller is told; nothing of what runs on processors because nobody asked for more."""
        missed = {"providers_missed": ",".join([provider for provider, _ in self.missed])} if self.missed else {}
        return {"provider": self.provider, **missed} if missed or self.provider != "cpu" else {}
