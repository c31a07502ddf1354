"""The parameters of a request and of its tensors: which mean something, which are refused by name, which are ignored.

Knows no transport: `binary_data*` means something over HTTP only, so `binary` takes those keys out before they come here.
Unknown keys are ignored, as the protocol asks, and counted: at most `RequestLimits.max_parameters` at each place.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.errors import invalid, too_large, unimplemented
from gateway.limits import RequestLimits
from gateway.protocol.tensors import shown

_SEQUENCE = "is not supported: this server keeps no state between requests"
_MEMORY = "is not supported: this server never reads a caller's shared memory"
_REFUSED = {
    "sequence_id": _SEQUENCE,
    "sequence_start": _SEQUENCE,
    "sequence_end": _SEQUENCE,
    "shared_memory_region": _MEMORY,
    "shared_memory_byte_size": _MEMORY,
    "shared_memory_offset": _MEMORY,
    "classification": "is not supported: ask for the output itself and rank it",
}
_EMPTY_FINAL = "triton_enable_empty_final_response"  # whether an answer may be empty to say that it is the last; each has its last at once
_COUNTS = ("priority", "timeout")  # 1 is the highest priority and 0 the default; microseconds


def check_parameters(parameters: Mapping[str, object], limits: RequestLimits, *, where: str = "the request") -> None:
    """Refuse what this server will not do (UNIMPLEMENTED), what nobody may set, and too many (TOO_LARGE).

    `where` is how the text calls the owner: "the request", "input 'x'", "output 'y'".
    """
    if len(parameters) > limits.max_parameters:
        raise too_large(f"{where} has {len(parameters)} parameters, the limit is {limits.max_parameters}")
    for name in parameters:
        if name in _REFUSED:
            raise unimplemented(f"parameter '{name}' of {where} {_REFUSED[name]}")
        if name == _EMPTY_FINAL:
            _check_flag(name, parameters[name], where)
        elif name == "headers" or name.startswith("triton_"):
            raise invalid(f"parameter '{shown(name)}' of {where} is reserved and cannot be set by a caller")
        if name in _COUNTS:
            _check_count(name, parameters[name], where)


def _check_flag(name: str, value: object, where: str) -> None:
    if type(value) is not bool:
        raise invalid(f"parameter '{name}' of {where} must be true or false")


def _check_count(name: str, value: object, where: str) -> None:
    """`priority` and `timeout` are integers that cannot be negative; `True` is none."""
    if type(value) is not int or value < 0:
        raise invalid(f"parameter '{name}' of {where} must be a non-negative integer")
