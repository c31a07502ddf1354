"""Retrain triggers: written once, whoever sees the drift first, and claimed by one job at a time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from registry.store import Store
from registry.triggers import BUCKET_S, Claim, Trigger, Window, trigger_id
from registry.verify import verify

NOW_S = 20_000 * BUCKET_S + 100.0
MANIFEST = "sha256:" + "a" * 64


def propose(store: Store, **changes: Any) -> tuple[Trigger, bool]:
    """A finding about version 3 of m."""
    end = datetime.fromtimestamp(NOW_S, UTC)
    found: dict[str, Any] = {
        "manifest": MANIFEST,
        "rule": "prediction_drift",
        "reason": "PSI of probabilities[1] is surely above 0.25",
        "features": ("temp", "humid"),
        "evidence": {"psi": 0.31, "log_e": 9.5},
        "window": Window(start=end, end=end, rows=4_000),
        "proposer": "server-1",
        "now_s": NOW_S,
    } | changes
    return store.triggers.propose("m", 3, **found)


def test_a_finding_is_written_once(store: Store) -> None:
    """Replicas that see it a little later, with other figures, find what the first one wrote."""
    first, new = propose(store)
    again, second_new = propose(store, proposer="server-2", evidence={"psi": 0.4}, now_s=NOW_S + 60)
    assert (True, False) == (new, second_new)
    assert first == again
    assert [first] == store.triggers.all("m") == Store.open(store.medium.root).triggers.all("m")
    assert (["m"], [first.id], []) == (store.triggers.models(), store.triggers.ids("m"), store.triggers.all("other"))
    assert [] == verify(store)


def test_another_day_rule_or_version_is_another_finding(store: Store) -> None:
    """Listed oldest first."""
    changes: list[dict[str, Any]] = [
        {"now_s": NOW_S + BUCKET_S},
        {"rule": "estimated_accuracy", "now_s": NOW_S + 1},
        {"manifest": "sha256:" + "b" * 64},
    ]
    later, other, version = (propose(store, **change)[0] for change in changes)
    assert [version, other, later] == store.triggers.all("m")
    assert 3 == len({later.id, other.id, version.id})
    assert trigger_id("m", MANIFEST, "prediction_drift", bucket=20_001) == later.id


def test_one_job_has_a_trigger_at_a_time(store: Store) -> None:
    """It may go on; another takes over what ran out, with a greater token."""
    trigger = propose(store)[0].id
    claims = store.triggers
    assert claims.claimed("m", trigger) is None
    first = claims.claim("m", trigger, holder="job-1", now_s=NOW_S, ttl_s=60)
    assert isinstance(first, Claim)
    assert claims.claim("m", trigger, holder="job-2", now_s=NOW_S + 59, ttl_s=60) is None
    renewed = claims.claim("m", trigger, holder="job-1", now_s=NOW_S + 30, ttl_s=60)
    assert renewed is not None
    assert claims.claim("m", trigger, holder="job-2", now_s=NOW_S + 61, ttl_s=60) is None
    taken = claims.claim("m", trigger, holder="job-2", now_s=NOW_S + 90, ttl_s=60)
    assert taken is not None
    assert [1, 2, 3] == [first.token, renewed.token, taken.token]
    assert taken == claims.claimed("m", trigger)
    assert [trigger] == claims.ids("m")
    assert [] == verify(store)


def test_of_two_jobs_at_the_same_moment_one_has_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have seen that nobody does."""
    trigger, claims = propose(store)[0].id, store.triggers
    monkeypatch.setattr(claims, "claimed", lambda model, trigger: None)
    found = [claims.claim("m", trigger, holder=holder, now_s=NOW_S, ttl_s=60) for holder in ("job-1", "job-2")]
    assert [True, False] == [claim is not None for claim in found]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"evidence": {"psi": float("nan")}}, "invalid_name: the figure 'psi' of a trigger is not finite"),
        ({"rule": ""}, "invalid_name: rule must be 1 to 256 printable characters"),
        ({"reason": "a\x1b[2J"}, "invalid_name: a reason must be"),
        ({"proposer": "a\n"}, "invalid_name: proposer must be"),
    ],
)
def test_refusals(store: Store, changes: dict[str, Any], text: str, kind_of: Callable[..., str]) -> None:
    """Nothing is written."""
    assert kind_of(lambda: propose(store, **changes)).startswith(text)
    assert [] == store.triggers.all("m")


def test_what_is_not_there_or_no_name(store: Store, kind_of: Callable[..., str]) -> None:
    """No path leaves its directory."""
    triggers = store.triggers
    assert triggers.read("m", "0" * 32) is None
    assert kind_of(lambda: triggers.claim("m", "0" * 32, holder="j", now_s=NOW_S, ttl_s=1)).startswith(
        "not_found: model 'm' has no trigger"
    )
    for call in (lambda: triggers.read("m", "../x"), lambda: triggers.read("../m", "0" * 32), lambda: triggers.claimed("m", "")):
        assert kind_of(call).startswith("invalid_name: ")


def test_damage_is_named(store: Store, kind_of: Callable[..., str]) -> None:
    """By reading and by `verify`, also of a claim."""
    trigger = propose(store)[0].id
    store.triggers.claim("m", trigger, holder="j", now_s=NOW_S, ttl_s=1)
    for name in (f"{trigger}.json", f"{trigger}/00000001.json"):
        path = store.medium.root / "triggers" / "m" / name
        whole = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(whole.replace(b'"format":2', b'"format":2 '))
        assert [f"triggers/m/{trigger}.json"] == [finding.key for finding in verify(store)]
        assert f"damaged: triggers/m/{name} " in kind_of(lambda: (store.triggers.all("m"), store.triggers.claimed("m", trigger)))
        path.write_bytes(whole)
