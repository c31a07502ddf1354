"""Quotas as arithmetic: times and sizes in, a verdict out. No clock, no memory of its own.

A rate is held by the generic cell rate algorithm (ITU-T I.371): of each tenant one moment is kept, `due`, at which everything that was
let in will have been worked off at the rate. A request moves it by its cost and is let in while it lies no further ahead than the burst
costs. All in whole nanoseconds, costs rounded up: nothing drifts, and no more than rate x time + burst is ever let in.
"""

from __future__ import annotations

import math

import msgspec

from gateway.errors import Code
from gateway.identity.tenants import Tenant

NS = 1_000_000_000
_NO_BOUND = 1 << 62
_WAIT_S = 1.0  # for a request in flight to end: nobody knows better

OUTCOMES = ("admitted", "requests_per_s", "concurrency", "bytes_per_s")  # let in, or refused by the quota of that name
ADMITTED, REQUESTS, CONCURRENCY, BYTES = range(4)


class Refused(msgspec.Struct, frozen=True):
    """Why a request is not let in. A value, not an exception: refusing must be cheap."""

    code: Code
    message: str
    wait_s: float | None  # when it may be let in; None: never
    outcome: int  # index of `OUTCOMES`


class Quota:
    """What one tenant may take, as numbers to reckon with. Without a bound its cost is 0 and its slack endless."""

    __slots__ = ("_texts", "byte_slack_ns", "bytes_per_s", "concurrency", "cost_ns", "slack_ns")

    def __init__(self, tenant: Tenant) -> None:
        rate, size = tenant.requests_per_s, tenant.bytes_per_s
        self.cost_ns = 0 if rate is None else math.ceil(NS / rate)  # of one request
        burst = tenant.burst or (1 if rate is None else max(1, math.floor(rate)))
        self.slack_ns = _NO_BOUND if rate is None else burst * self.cost_ns
        self.concurrency = tenant.concurrency or _NO_BOUND
        self.bytes_per_s = size or 0
        most = tenant.bytes_burst or size or 0
        self.byte_slack_ns = most * NS // size if size else _NO_BOUND
        self._texts = (
            "",
            f"over the quota of {_shown(rate)} requests per second (requests_per_s)",
            f"over the quota of {tenant.concurrency} requests in flight (concurrency)",
            f"over the quota of {size} bytes per second (bytes_per_s)",
            f"larger than the {most} bytes that this caller may send at once (bytes_burst)",
        )

    def byte_cost_ns(self, size: int) -> int:
        """Of a request of so many bytes."""
        return -(-size * NS // self.bytes_per_s) if self.bytes_per_s else 0

    def crowded(self) -> Refused:
        """As many requests are in flight as may be."""
        return Refused(Code.OVERLOADED, self._texts[CONCURRENCY], _WAIT_S, CONCURRENCY)

    def early(self, outcome: int, due_ns: int, now_ns: int, slack_ns: int) -> Refused:
        """A rate is used up, so that a request would be due at `due_ns`."""
        return Refused(Code.OVERLOADED, self._texts[outcome], (due_ns - slack_ns - now_ns) / NS, outcome)

    def oversized(self) -> Refused:
        """More bytes than may ever come at once."""
        return Refused(Code.TOO_LARGE, self._texts[-1], None, BYTES)


def _shown(rate: float | None) -> str:
    return "unset" if rate is None else f"{rate:g}"
