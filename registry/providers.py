"""Where a model's graph runs: the runtime's execution providers by short names, and what can be set of each. Pure data.

Everything that is not listed here is an error. Nothing here names a path: what a version says of itself must not say where a server
writes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

import msgspec

Provider = Literal["cpu", "cuda", "tensorrt", "openvino"]
PROVIDERS: tuple[Provider, ...] = ("cpu", "cuda", "tensorrt", "openvino")
ON_A_GPU: frozenset[Provider] = frozenset({"cuda", "tensorrt"})
MAX_DEVICE = 63

Device = Annotated[int, msgspec.Meta(ge=0, le=MAX_DEVICE)]
Bytes = Annotated[int, msgspec.Meta(ge=1)]
S = TypeVar("S", bound=msgspec.Struct)
OpenvinoDevice = Literal["CPU", "GPU", "GPU.0", "GPU.1", "GPU.2", "GPU.3", "NPU"]  # not AUTO, which would choose without a word


class CudaOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Of provider `cuda`."""

    device: Device | None = None  # number of the GPU; null: 0, or the one that the version names
    memory_bytes: Bytes | None = None  # that its arena may take on the device; null: all there is
    arena: Literal["power_of_two", "as_requested"] | None = None  # how the arena grows; null: by powers of two
    conv_search: Literal["exhaustive", "heuristic", "default"] | None = None  # how a convolution is chosen; null: exhaustive
    tf32: bool | None = None  # products of float32 in TensorFloat-32, which has 10 bits of mantissa; null: true, as the runtime has it


class TensorrtOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Of provider `tensorrt`."""

    device: Device | None = None  # number of the GPU; null: 0, or the one that the version names
    workspace_bytes: Bytes | None = None  # that building an engine may take on the device; null: all there is
    fp16: bool | None = None  # let engines compute in float16; inputs and outputs stay as they are
    min_subgraph_nodes: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None  # fewer go to the next provider; null: 1
    builder_level: Annotated[int, msgspec.Meta(ge=0, le=5)] | None = None  # higher takes longer to build and may run faster; null: 3


class OpenvinoOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Of provider `openvino`."""

    device: OpenvinoDevice | None = None  # that runs the model; null: CPU
    precision: Literal["FP32", "FP16", "ACCURACY"] | None = None  # it computes in; null: the device's own choice
    threads: Annotated[int, msgspec.Meta(ge=1, le=1024)] | None = None  # of a run on processors; null: intra_op_threads
    streams: Annotated[int, msgspec.Meta(ge=1, le=64)] | None = None  # that the device works on at once; null: instances


class ProviderOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is set of providers, each under its name."""

    cuda: CudaOptions | None = None
    tensorrt: TensorrtOptions | None = None
    openvino: OpenvinoOptions | None = None

    def waits(self, provider: Provider) -> bool:
        """Whether a run waits for a device that is not the processor."""
        on_cores = self.openvino is None or self.openvino.device in {None, "CPU"}
        return provider in ON_A_GPU or (provider == "openvino" and not on_cores)

    def over(self, said: ProviderOptions) -> ProviderOptions:
        """These, and what is left open here as `said` has it."""
        return _over(self, said)

    def asked(self) -> tuple[str, ...]:
        """The providers of which something is set."""
        return tuple([name for name in self.__struct_fields__ if getattr(self, name) is not None])


def unlisted(providers: tuple[Provider, ...], options: ProviderOptions) -> str | None:
    """A provider of which something is set and that is not listed."""
    return next((name for name in options.asked() if name not in providers), None)


def repeated(providers: tuple[Provider, ...]) -> str | None:
    """A provider that is listed twice."""
    return next((name for place, name in enumerate(providers) if name in providers[:place]), None)


def _over(own: S, said: S) -> S:
    values = {}
    for name in own.__struct_fields__:
        mine, theirs = getattr(own, name), getattr(said, name)
        both = isinstance(mine, msgspec.Struct) and isinstance(theirs, msgspec.Struct)
        values[name] = _over(mine, theirs) if both else theirs if mine is None else mine
    return type(own)(**values)


# --- entries of a session's own configuration ----------------------------------------------------------------------------------------

_SWITCH, _NUMBER = "0 or 1", "a whole number"
# What of the runtime's table of configuration keys may be set, with what it takes. Left out is what this server decides for all sessions
# (allocators, denormals, files, external data) and what reads or writes paths.
ENTRIES: Mapping[str, str] = {
    "session.intra_op.allow_spinning": _SWITCH,
    "session.inter_op.allow_spinning": _SWITCH,
    "session.force_spinning_stop": _SWITCH,
    "session.disable_prepacking": _SWITCH,
    "session.disable_cpu_ep_fallback": _SWITCH,
    "session.disable_quant_qdq": _SWITCH,
    "session.disable_double_qdq_remover": _SWITCH,
    "session.enable_quant_qdq_cleanup": _SWITCH,
    "session.qdqisint8allowed": _SWITCH,
    "session.dynamic_block_base": _NUMBER,
    "optimization.enable_gelu_approximation": _SWITCH,
    "mlas.enable_gemm_fastmath_arm64_bfloat16": _SWITCH,
}
_FORMS = {_SWITCH: re.compile("[01]"), _NUMBER: re.compile("[0-9]{1,9}")}


def misfit(key: str, value: str) -> str | None:
    """What is wrong with an entry; None where it may be set."""
    expected = ENTRIES.get(key)
    if expected is None:
        return "no entry that may be set; docs/providers.md lists those"
    return None if _FORMS[expected].fullmatch(value) else f"expected {expected}, got {value[:64]!r}"
