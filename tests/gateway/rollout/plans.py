"""Rollout files as tests write them: one that is right, and changes to it."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import yaml

from gateway.rollout.plan import Plan

GOOD: dict[str, Any] = {
    "apiVersion": "tidegate/v1",
    "kind": "Rollout",
    "metadata": {"name": "churn-v13"},
    "spec": {
        "model": "churn",
        "candidate": {"version": 13},
        "unit": {"from": ["header:x-user-id"]},
        "strategy": {
            "steps": [
                {"shadow": {}, "until": {"max_duration": "6h"}},
                {"setWeight": 5, "until": {"max_duration": "1d"}},
                {"approve": {"by": ["ann", "bea"]}},
                {"setWeight": 25, "until": {"max_duration": "1d"}},
            ]
        },
        "analysis": {
            "metrics": [
                {"name": "errors", "type": "rate", "event": "server_error", "critical": True, "pass_if": {"ratio": 1.5, "or_abs": 0.005}},
                {"name": "agreement", "type": "agreement"},
            ]
        },
    },
}


def text(changes: dict[str, Any] | None = None) -> str:
    """The file with values put at dotted paths; `...` takes out what is there."""
    document = copy.deepcopy(GOOD)
    for path, value in (changes or {}).items():
        *above, last = path.split(".")
        place: Any = document
        for part in above:
            place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
        key = int(last) if isinstance(place, list) else last
        if value is ...:
            del place[key]
        else:
            place[key] = copy.deepcopy(value)
    return yaml.safe_dump(document, sort_keys=False)


def plan(changes: dict[str, Any] | None = None) -> Plan:
    """The same as a plan, whose rules nobody has checked."""
    return msgspec.convert(yaml.safe_load(text(changes)), Plan)
