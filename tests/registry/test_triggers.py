"""Retrain triggers: written once, whoever sees the drift first, and claimed by one job at a time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from registry.gc import collect
from registry.store import Store
from registry.trigger_entries import FINAL, State, TriggerEntry, TriggerJournal
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


def append(store: Store, trigger: str, state: State, **more: Any) -> TriggerJournal | None:
    """The next thing that happens to a trigger."""
    journal = store.triggers.journal("m", trigger)
    return store.triggers.append(journal, entry(trigger, state, **more))


def entry(trigger: str, state: State, **more: Any) -> TriggerEntry:
    moment = datetime.fromtimestamp(NOW_S, UTC)
    return TriggerEntry(**({"model": "m", "trigger": trigger, "time": moment, "actor": "ann", "state": state} | more))


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
    assert claims.claimed("m") is None
    first = claims.claim("m", trigger, holder="job-1", now_s=NOW_S, ttl_s=60)
    assert isinstance(first, Claim)
    assert claims.claim("m", trigger, holder="job-2", now_s=NOW_S + 59, ttl_s=60) is None
    renewed = claims.claim("m", trigger, holder="job-1", now_s=NOW_S + 30, ttl_s=60)
    assert renewed is not None
    assert claims.claim("m", trigger, holder="job-2", now_s=NOW_S + 61, ttl_s=60) is None
    taken = claims.claim("m", trigger, holder="job-2", now_s=NOW_S + 90, ttl_s=60)
    assert taken is not None
    assert [1, 2, 3] == [first.token, renewed.token, taken.token]
    assert taken == claims.claimed("m")
    assert [trigger] == claims.ids("m")
    assert [] == verify(store)


def test_of_two_jobs_at_the_same_moment_one_has_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have seen that nobody does."""
    trigger, claims = propose(store)[0].id, store.triggers
    monkeypatch.setattr(claims, "claimed", lambda model: None)
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
    for call in (
        lambda: triggers.read("m", "../x"),
        lambda: triggers.read("../m", "0" * 32),
        lambda: triggers.journal("m", ""),
        lambda: triggers.claimed("../m"),
    ):
        assert kind_of(call).startswith("invalid_name: ")


def _read_all(store: Store, trigger: str) -> tuple[object, ...]:
    return store.triggers.all("m"), store.triggers.claimed("m"), store.triggers.journal("m", trigger)


def test_damage_is_named(store: Store, kind_of: Callable[..., str]) -> None:
    """By reading and by `verify`, also of a claim."""
    trigger = propose(store)[0].id
    store.triggers.claim("m", trigger, holder="j", now_s=NOW_S, ttl_s=1)
    append(store, trigger, "accepted")
    for name, noted in ((f"{trigger}.json", trigger), ("claims/00000001.json", "claims"), (f"{trigger}/journal/00000001.json", trigger)):
        path = store.medium.root / "triggers" / "m" / name
        whole = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(whole.replace(b'"format":2', b'"format":2 ') if "journal" not in name else whole[:-1])
        assert [f"triggers/m/{noted}" + (".json" if noted == trigger else "")] == [finding.key for finding in verify(store)]
        assert f"damaged: triggers/m/{name} " in kind_of(lambda: _read_all(store, trigger))
        path.write_bytes(whole)


def test_a_model_has_one_job_at_a_time(store: Store) -> None:
    """A claim of another trigger of the model is refused until the first is given back or runs out; other models have their own."""
    first, second = propose(store)[0].id, propose(store, rule="age")[0].id
    claims = store.triggers
    held = claims.claim("m", first, holder="job-1", now_s=NOW_S, ttl_s=60)
    assert held is not None
    assert claims.claim("m", second, holder="job-2", now_s=NOW_S + 1, ttl_s=60) is None
    assert claims.renew("m", held, now_s=NOW_S + 50, ttl_s=60) is not None
    assert claims.claim("m", second, holder="job-2", now_s=NOW_S + 61, ttl_s=60) is None
    claims.renew("m", held, now_s=NOW_S + 70, ttl_s=0)
    other = claims.claim("m", second, holder="job-2", now_s=NOW_S + 70, ttl_s=60)
    assert other is not None
    assert (2, second) == (other.token, other.trigger)
    assert claims.renew("m", held, now_s=NOW_S + 71, ttl_s=60) is None
    assert other == claims.claimed("m")
    assert [] == verify(store)


def test_what_became_of_a_trigger(store: Store) -> None:
    """A chain of entries; the newest that says something of a thing counts, and nothing follows the end."""
    trigger = propose(store)[0].id
    assert ("proposed", None, False) == (store.triggers.journal("m", trigger).state, store.triggers.journal("m", trigger).last, False)
    append(store, trigger, "accepted", details={"seed": 7})
    append(store, trigger, "running", token=1)
    journal = append(store, trigger, "rejected", token=1, reason="it is worse", details={"gate": "challenger"})
    assert journal == store.triggers.journal("m", trigger)
    assert ("rejected", True, 3, 7, None) == (journal.state, journal.final, journal.seq, journal.detail("seed"), journal.detail("x"))
    assert [] == verify(store)


@pytest.mark.parametrize("path", [("running",), ("accepted", "published"), ("accepted", "running", "accepted"), ("expired", "accepted")])
def test_states_follow_each_other_in_their_order(store: Store, path: tuple[State, ...], kind_of: Callable[..., str]) -> None:
    """What may not follow is refused and not written."""
    trigger = propose(store)[0].id
    for state in path[:-1]:
        append(store, trigger, state)
    before = path[-2] if path[:-1] else "proposed"
    assert f"conflict: trigger {trigger} is {before}, so it cannot become {path[-1]}" == kind_of(lambda: append(store, trigger, path[-1]))
    assert len(path) - 1 == store.triggers.journal("m", trigger).seq


@pytest.mark.parametrize("state", sorted(FINAL))
def test_nothing_follows_the_end(store: Store, state: State, kind_of: Callable[..., str]) -> None:
    """Of any kind."""
    trigger = propose(store)[0].id
    for each in ("accepted", "running", state):
        append(store, trigger, each)  # type: ignore[arg-type]
    assert kind_of(lambda: append(store, trigger, "running")).startswith("conflict: ")


def test_a_job_whose_claim_was_taken_over_writes_nothing(store: Store, kind_of: Callable[..., str]) -> None:
    """Also before its successor has written; and what it wrote in the same moment does not count."""
    trigger, claims = propose(store)[0].id, store.triggers
    append(store, trigger, "accepted")
    claims.claim("m", trigger, holder="job-1", now_s=NOW_S, ttl_s=60)
    append(store, trigger, "running", token=1)
    stale = claims.journal("m", trigger)
    claims.claim("m", trigger, holder="job-2", now_s=NOW_S + 61, ttl_s=60)
    text = kind_of(lambda: append(store, trigger, "published", token=1))
    assert f"conflict: the claim of trigger {trigger} was taken over by job-2: token 1 is older than 2" == text
    append(store, trigger, "running", token=2)
    assert claims.append(stale, entry(trigger, "running")) is None
    assert kind_of(lambda: append(store, trigger, "published", token=1)).startswith(f"conflict: trigger {trigger} has another job")


def test_evidence_stays(store: Store) -> None:
    """What a journal refers to is not collected; what nothing refers to is."""
    trigger = propose(store)[0].id
    kept, lost = store.put_blob(b"a report")[0], store.put_blob(b"nobody's")[0]
    append(store, trigger, "accepted", evidence=(kept,))
    later = 4e9  # long after any grace period
    assert [lost] == [item.digest for item in collect(store, actor="ann", now_s=later, dry_run=False).trashed]
    assert b"a report" == store.read_blob(kept)


@pytest.mark.parametrize("more", [{"actor": ""}, {"reason": "a\n"}, {"details": {"x": object()}}, {"details": {"x": "y" * 70_000}}])
def test_entries_that_are_none(store: Store, more: dict[str, Any], kind_of: Callable[..., str]) -> None:
    """Refused before anything is written."""
    trigger = propose(store)[0].id
    assert kind_of(lambda: append(store, trigger, "accepted", **more)).startswith("invalid_name: ")
    assert 0 == store.triggers.journal("m", trigger).seq
