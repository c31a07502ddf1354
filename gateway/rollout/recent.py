"""Recent traffic of a model, from two readings of a server's metrics page. Pure: who reads the page, and when, is the caller's matter."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.errors import Code
from gateway.rollout import events
from gateway.rollout.plan import Plan
from gateway.rollout.recorder import flag_of

_SAMPLE = re.compile(r"(tidegate_requests_total|tidegate_compute_duration_seconds_bucket)\{(.*)\} (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a page counted of one model, over all its versions."""

    codes: Mapping[str, float]  # requests by how they ended
    faster: Mapping[float, float]  # runs that took at most so many seconds; inf: all

    def since(self, before: Reading) -> Reading:
        """What came after `before`. A server that began anew counts from 0."""
        if any(self.codes.get(code, 0.0) < count for code, count in before.codes.items()):
            return self
        codes = {code: count - before.codes.get(code, 0.0) for code, count in self.codes.items()}
        return Reading(codes, {bound: count - before.faster.get(bound, 0.0) for bound, count in self.faster.items()})

    @property
    def requests(self) -> float:
        """All of them but what callers took back."""
        return sum(count for code, count in self.codes.items() if code != Code.CANCELLED.name)

    def share(self, condition: events.Condition) -> float:
        """Of requests that meet a condition, and never 0: what was not seen is taken for half a time (Krichevsky, Trofimov).

        A bound on latency between two buckets is held against the lower one, so the share is not too small. The page tells no bad outputs,
        and not how many requests were in a run: as many in slow ones as in others.
        """
        flagged = sum(count for code, count in self.codes.items() if code in Code.__members__ and flag_of(Code[code]) & condition.flags)
        timed, within = self.faster.get(math.inf, 0.0), max((bound for bound in self.faster if bound <= condition.above_s), default=0.0)
        slow = self.requests * (1.0 - self.faster.get(within, 0.0) / timed) if timed and math.isfinite(condition.above_s) else 0.0
        return (min(flagged + slow, self.requests) + 0.5) / (self.requests + 1.0)


def reading(page: str, model: str) -> Reading:
    """The counts of `model` on a server's metrics page. Raises `ValueError` for a page that only looks like one."""
    codes, faster = dict[str, float](), dict[float, float]()
    for line in page.splitlines():
        match = _SAMPLE.fullmatch(line)
        labels = {name: _plain(value) for name, value in _LABEL.findall(match[2])} if match else {}
        if match is None or labels.get("model") != model:
            continue
        if ("code" if match[1].endswith("total") else "le") not in labels:
            raise ValueError(f"a line of {match[1]} lacks a label")
        if match[1] == "tidegate_requests_total":
            codes[labels["code"]] = codes.get(labels["code"], 0.0) + float(match[3])
        else:
            bound = float(labels["le"])
            faster[bound] = faster.get(bound, 0.0) + float(match[3])
    return Reading(codes, faster)


def base_rates(plan: Plan, found: Reading) -> dict[str, float]:
    """Of every rate of the plan, the share of recent requests that had its event."""
    return {metric.name: found.share(events.parse(metric.event)) for metric in plan.spec.analysis.metrics if metric.type == "rate"}


def _plain(value: str) -> str:
    return _ESCAPED.sub(lambda match: "\n" if match[1] == "n" else match[1], value)
