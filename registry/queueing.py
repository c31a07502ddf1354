"""How requests of a version wait: priority levels, and what each does with those that wait too long or are too many. Pure data.

The fields are Triton's `ModelDynamicBatching` and `ModelQueuePolicy`, and mean what they mean there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

MAX_LEVELS = 1 << 20
MAX_TIMEOUT_US = 3_600_000_000  # an hour
MAX_SIZE = (1 << 32) - 1  # Triton's field has 32 bits

Levels = Annotated[int, msgspec.Meta(ge=0, le=MAX_LEVELS)]
Action = Literal["reject", "delay"]


class QueuePolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a queue does with requests that wait too long, and how many it takes."""

    timeout_action: Action = "reject"  # of a request past its time: an error at once, or its turn once nothing else waits at its level
    default_timeout_us: Annotated[int, msgspec.Meta(ge=0, le=MAX_TIMEOUT_US)] = 0  # that time, from its arrival on; 0: it has all of it
    allow_timeout_override: bool = False  # a request's own `timeout` counts instead, where it is shorter
    max_queue_size: Annotated[int, msgspec.Meta(ge=0, le=MAX_SIZE)] = 0  # requests that wait; 0: as many as limits.serving allows


class Queueing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Priority levels, and the policy of each. Levels are 1, the most urgent, to `priority_levels`. What the settings of a server say
    for a model counts instead of all that its version says of queues."""

    priority_levels: Levels = 0  # 0: all requests have one priority, whatever they say
    default_priority_level: Levels = 0  # of a request that names none; wanted where there are levels
    default_queue_policy: QueuePolicy = QueuePolicy()  # of levels that have none of their own
    priority_queue_policy: dict[str, QueuePolicy] = {}  # by level

    def policy(self, level: int) -> QueuePolicy:
        """Of a level; 0 where there are none."""
        return self.priority_queue_policy.get(str(level), self.default_queue_policy)

    @property
    def bounded(self) -> bool:
        """Whether some level takes no more than a number of requests."""
        return any(policy.max_queue_size for policy in (self.default_queue_policy, *self.priority_queue_policy.values()))


def misfit(queueing: Queueing) -> tuple[str, str] | None:
    """(field, why) of what does not fit together, if there is such a thing."""
    levels, default = queueing.priority_levels, queueing.default_priority_level
    if levels and not 1 <= default <= levels:
        return "default_priority_level", f"expected a level from 1 to {levels}, got {default}"
    if default and not levels:
        return "default_priority_level", "there are no levels: set priority_levels"
    return _misplaced(queueing.priority_queue_policy, levels)


def _misplaced(policies: Mapping[str, QueuePolicy], levels: int) -> tuple[str, str] | None:
    for name in policies:
        if not (name.isascii() and name.isdigit() and name[0] != "0" and len(name) <= len(str(levels)) and int(name) <= levels):
            there = f"they go from 1 to {levels}" if levels else "there are none: set priority_levels"
            return "priority_queue_policy", f"'{name[:32]}' is no level: {there}"
    return None
