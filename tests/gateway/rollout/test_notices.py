"""What receivers are told: CloudEvents whose ids and bytes never change."""

from __future__ import annotations

import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway.rollout.notices import MAX_BYTES, Condition, Occurrence, body, webhook_id
from registry.names import MAX_LABEL, MAX_REASON

OCCURRENCE = Occurrence(
    model="m", rollout="m-1", seq=7, event="promoted", time_s=1_700_000_000.25, actor="server-1", reason="as good",
    before=Condition(phase="promoting", step=1, weight=10.0, champion=1), after=Condition(phase="baking", step=1, weight=100.0, champion=2),
)  # fmt: skip


def test_an_event_says_what_was_before_and_after() -> None:
    """By the names of CloudEvents 1.0."""
    assert {
        "specversion": "1.0",
        "id": "msg_2ae68c4c23e09b66ad1edb8df4ed4a14",
        "source": "/models/m/rollouts/m-1",
        "type": "tidegate.rollout.promoted",
        "subject": "m",
        "time": "2023-11-14T22:13:20.250Z",
        "datacontenttype": "application/json",
        "data": {
            "rollout": "m-1",
            "model": "m",
            "seq": 7,
            "event": "promoted",
            "from": {"phase": "promoting", "step": 1, "weight": 10.0, "champion": 1},
            "to": {"phase": "baking", "step": 1, "weight": 100.0, "champion": 2},
            "actor": "server-1",
            "reason": "as good",
        },
    } == {**json.loads(body(OCCURRENCE)), "id": "msg_2ae68c4c23e09b66ad1edb8df4ed4a14"}
    assert webhook_id(OCCURRENCE) == json.loads(body(OCCURRENCE))["id"]


def test_an_id_is_of_the_event_alone() -> None:
    """Another place in the journal, another event, another rollout: another id; anything else plays no part."""
    others = [{"seq": 8}, {"event": "step"}, {"rollout": "m-2"}, {"model": "n"}]
    ids = {webhook_id(msgspec.structs.replace(OCCURRENCE, **change)) for change in others}
    assert 4 == len(ids - {webhook_id(OCCURRENCE)})
    assert webhook_id(OCCURRENCE) == webhook_id(msgspec.structs.replace(OCCURRENCE, reason="x", time_s=0.0))
    assert "." not in webhook_id(OCCURRENCE)  # it stands between dots in what is signed


@given(st.text(max_size=MAX_REASON), st.text(max_size=MAX_LABEL))
def test_a_body_is_small_and_says_what_it_was_given(reason: str, actor: str) -> None:
    """Whatever the texts of a journal are."""
    sent = body(msgspec.structs.replace(OCCURRENCE, reason=reason, actor=actor))
    assert MAX_BYTES >= len(sent)
    assert (reason, actor) == (json.loads(sent)["data"]["reason"], json.loads(sent)["data"]["actor"])
