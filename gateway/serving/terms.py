"""How a request waits: at which priority level, for how long, and what becomes of it then; and with which requests it is counted.

Resolved once for all requests that say the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.errors import invalid
from gateway.serving.batch import Item
from registry.queueing import Queueing


@dataclass(frozen=True, slots=True)
class Segmenting:
    """Requests are counted apart by a parameter."""

    parameter: str
    values: Mapping[str, int]  # → the segment; all others are in the last one

    def of(self, parameters: Mapping[str, Any]) -> int:
        """The segment of a request with these parameters; -1 is the last one."""
        value = parameters.get(self.parameter)
        if value is None:
            return -1
        text = str(value)
        return self.values.get(text.lower() if isinstance(value, bool) else text, -1)


class Terms:
    """What a request asks of its queue, and the queue's policy allows."""

    __slots__ = ("delays", "level", "patience_s", "segment", "timeout_s")

    def __init__(
        self, level: int, *, timeout_s: float = 0.0, patience_s: float = 0.0, delays: bool = False, segment: int = -1
    ) -> None:  # fmt: skip
        """`timeout_s` bounds the whole request, `patience_s` its waiting alone; 0: nothing does. `delays`: it then waits behind others.
        `segment`: where drift counts it; -1, the last one, is everybody's."""
        self.segment = segment
        self.level = level
        self.timeout_s = timeout_s
        self.patience_s = patience_s
        self.delays = delays

    def hold(self, item: Item, most: float, default: float) -> None:
        """Set level, deadline and patience. `most`, `default`: the latest deadline, and the one of a request that names none [clock s]."""
        item.level, item.segment = self.level, self.segment
        item.deadline = min(most, item.arrival + self.timeout_s if self.timeout_s else default)
        if not self.patience_s:
            return
        until = item.arrival + self.patience_s
        if self.delays:
            item.late_from = until
        elif until < item.deadline:
            item.answer_by, item.deadline = item.deadline, until


def terms_of(parameters: Mapping[str, Any], queueing: Queueing, segmenting: Segmenting | None = None) -> Terms | None:
    """The terms of a request with these parameters; None where it waits like most. Raises TidegateError for a level that does not exist.

    Where the policy has a time for waiting, `timeout` is about waiting too and can only shorten it, as in Triton. Elsewhere it is a
    deadline. Where there are no levels, `priority` means nothing.
    """
    level = _level(parameters.get("priority", 0), queueing)
    policy, timeout_us = queueing.policy(level), parameters.get("timeout", 0)
    segment = -1 if segmenting is None else segmenting.of(parameters)
    if not policy.default_timeout_us:
        return Terms(level, timeout_s=timeout_us / 1e6, segment=segment) if level or timeout_us or segment >= 0 else None
    shorter = policy.allow_timeout_override and 0 < timeout_us < policy.default_timeout_us
    patience_us = timeout_us if shorter else policy.default_timeout_us
    return Terms(level, patience_s=patience_us / 1e6, delays=policy.timeout_action == "delay", segment=segment)


def _level(asked: int, queueing: Queueing) -> int:
    """0 where there are no levels."""
    if not queueing.priority_levels:
        return 0
    if asked > queueing.priority_levels:
        raise invalid(f"parameter 'priority' of the request is {asked}, and the model has levels from 1 to {queueing.priority_levels}")
    return asked or queueing.default_priority_level
