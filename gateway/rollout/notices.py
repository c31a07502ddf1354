"""What a receiver is told: one event of a rollout as a CloudEvent in JSON. The same event has the same id and the same bytes for ever.

Sources: github.com/cloudevents/spec (1.0.2, structured mode), standardwebhooks.com.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec

from gateway.rollout.plan import Event

CONTENT_TYPE = "application/cloudevents+json"
MAX_BYTES = 20_000  # of a body, as Standard Webhooks advises
_KIND = "tidegate.rollout."


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """How a rollout was, or is."""

    phase: str
    step: int  # counts from 0
    weight: float  # percent of the units that go to the candidate
    champion: int | None = None  # the version that the stable alias stands for; None where the journal does not say


class Occurrence(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a rollout, as its journal has it. One entry may be several events."""

    model: str
    rollout: str
    seq: int  # of the entry
    event: Event
    time_s: float  # Unix seconds
    actor: str
    reason: str
    before: Condition
    after: Condition


def webhook_id(occurrence: Occurrence) -> str:
    """The same for every attempt and every receiver, so that a receiver knows what it has had."""
    text = f"{occurrence.model}/{occurrence.rollout}/{occurrence.seq}/{occurrence.event}"
    return "msg_" + hashlib.sha256(text.encode()).hexdigest()[:32]


def body(occurrence: Occurrence) -> bytes:
    """The message, at most `MAX_BYTES` of ASCII."""
    return msgspec.json.encode(document(occurrence), order="sorted")


def document(occurrence: Occurrence) -> dict[str, Any]:
    """The message as a mapping."""
    return {
        "specversion": "1.0",
        "id": webhook_id(occurrence),
        "source": f"/models/{quote(occurrence.model, safe='')}/rollouts/{quote(occurrence.rollout, safe='')}",
        "type": _KIND + occurrence.event,
        "subject": occurrence.model,
        "time": datetime.fromtimestamp(occurrence.time_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": {
            "rollout": occurrence.rollout,
            "model": occurrence.model,
            "seq": occurrence.seq,
            "event": occurrence.event,
            "from": msgspec.to_builtins(occurrence.before),
            "to": msgspec.to_builtins(occurrence.after),
            "actor": occurrence.actor,
            "reason": occurrence.reason,
        },
    }
