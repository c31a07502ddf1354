"""How a session is set up. Pure data; the only settings that travel to the process of an isolated model as well."""

from __future__ import annotations

import msgspec

from registry.serving import Execution, Optimization


class SessionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a session runs. One intra-op thread: cores are shared by sessions and the event loop (ORT#10273)."""

    intra_op_threads: int = 1
    max_batch_size: int = 256  # rows of one run; 0: requests are neither joined nor split
    inter_op_threads: int = 1  # for operators that run at once, where `execution` is parallel
    execution: Execution = "sequential"
    optimization: Optimization = "all"
