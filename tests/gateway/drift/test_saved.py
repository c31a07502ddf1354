"""A restart is no restart: whatever was counted, known and decided goes on; and a wrong document is refused."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.drift.documents import findings_of, gauges_of
from gateway.drift.findings import Rule
from gateway.drift.policy import Policy
from gateway.drift.saved import Document, SavedError, restore, save
from gateway.drift.watch import Watch
from registry.profile import SCORE_BINS, Calibration, Profile, Windows
from tests.gateway.drift.traffic import NOON_S, Traffic, categorical, gaussian, numeric, profile_of

POLICY = Policy(calm_minutes=3, recent_minutes=5, window_rows=100, min_rows=100)


def whole_profile() -> Profile:
    """With everything that a profile can have."""
    rng = np.random.default_rng(2)
    middles = (np.arange(SCORE_BINS) + 0.5) / SCORE_BINS
    table = Calibration(
        port="y", element=0, threshold=0.5, positives=tuple(middles.tolist()), errors=(0.01,) * SCORE_BINS, counts=(9,) * SCORE_BINS,
        accuracy=0.75, auc=0.8,
    )  # fmt: skip
    windows = Windows(rows=150, hours=(-1,) * 60, scores=tuple(rng.normal(0.2, 0.02, 60).tolist()))
    return profile_of(
        numeric("x", rng.normal(size=3_000), bins=16), numeric("y", rng.random(3_000), bins=8, side="output", port="y"),
        categorical("port", rng.choice(["JFK", "LGA"], 3_000).tolist()), calibration=table, windows=windows,
    )  # fmt: skip


PROFILE = whole_profile()
TICKS = st.lists(
    st.tuples(st.sampled_from([1, 30, 61, 3600]), st.sampled_from([0, 40, 200, 800]), st.sampled_from([0.0, 0.0, 1.5])),
    min_size=1,
    max_size=14,
)


def sent(traffic: Traffic, rng: np.random.Generator, rows: int, shift: float) -> None:
    traffic.send(
        {"x": rng.normal(shift, size=rows), "y": rng.random(rows), "port": rng.choice(["JFK", "LGA"], rows).tolist()},
        scores=rng.random(rows),
    )


def everything(watch: Watch) -> Any:
    return msgspec.to_builtins((findings_of(watch), gauges_of(watch) if watch.signs else None))


def same(one: Any, other: Any) -> bool:
    """Equal, but for the last digits of sums that were added in another order."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other or (isinstance(one, float) and isinstance(other, float) and math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9))


@settings(max_examples=40)
@given(TICKS, st.integers(0, 13), st.integers(0, 5))
def test_a_restart_is_no_restart(ticks: list[tuple[int, int, float]], at: int, seed: int) -> None:
    """Saved and restored after any tick: the same findings then and ever after, though workers count from 0 again."""
    rng, again = np.random.default_rng(seed), np.random.default_rng(seed)
    watch, traffic = Watch(PROFILE, POLICY, wall_s=NOON_S), Traffic(PROFILE)
    other, restarted = Watch(PROFILE, POLICY, wall_s=NOON_S), Traffic(PROFILE)
    now = NOON_S
    for number, (seconds, rows, shift) in enumerate(ticks):
        now += seconds
        sent(traffic, rng, rows, shift)
        sent(restarted, again, rows, shift)
        watch.look(traffic.views, now)
        other.look(restarted.views, now)
        if number == at % len(ticks):
            other, restarted = restore(save(other), PROFILE, POLICY), Traffic(PROFILE)
        assert same(everything(watch), everything(other))


def moved() -> tuple[Watch, Traffic]:
    watch, traffic, rng = Watch(PROFILE, POLICY, wall_s=NOON_S), Traffic(PROFILE), np.random.default_rng(3)
    for minute in range(6):
        sent(traffic, rng, 400, 1.5)
        watch.look(traffic.views, NOON_S + 60 * minute)
    assert "ALARM" == findings_of(watch).state
    return watch, traffic


def test_segments_and_rules_may_have_changed() -> None:
    """Counts of a segment that is gone are the others'; of a rule that is gone, nobody's."""
    first, second = Rule(input="x", rule="null", mode="warn"), Rule(input="x", rule="range", mode="reject")
    watch = Watch(PROFILE, POLICY, segments=("web", "app", "others"), rules=(first, second), wall_s=NOON_S)
    traffic, rng = Traffic(PROFILE, segments=3, rules=2), np.random.default_rng(1)
    for segment, rows in ((0, 100), (1, 200), (2, 50)):
        traffic.send({"x": rng.normal(size=rows), "y": rng.random(rows), "port": ["JFK"] * rows}, segment=segment, scores=rng.random(rows))
    traffic.views.rules[:] = [[1, 2], [3, 4]]
    watch.look(traffic.views, NOON_S + 1)
    third = Rule(input="y", rule="null", mode="warn")
    found = restore(save(watch), PROFILE, POLICY, segments=("app", "api", "others"), rules=(third, second))
    assert [200, 0, 150] == found.total.segment_rows.tolist()
    assert [200, 0, 150] == found.total.counts[0].sum(axis=(1, 2)).tolist()
    assert [[0, 0], [3, 4]] == found.total.rules.tolist()
    assert watch.counts().tolist() == found.counts().tolist()
    assert (350, 350) == (found.rows, found.total.scores.sum())
    assert findings_of(watch).log_e == findings_of(found).log_e
    assert watch.total.sums[0].tolist() == found.total.sums[0].tolist()


def test_another_profile_is_refused() -> None:
    """Counts of other bins are no counts of these."""
    watch, _ = moved()
    with pytest.raises(SavedError, match=f"is of the profile {PROFILE.digest}, and the version has sha256:"):
        restore(save(watch), gaussian(200, bins=4))


def changed(content: bytes, **fields: object) -> bytes:
    document = msgspec.msgpack.decode(content, type=Document)
    return msgspec.msgpack.encode(msgspec.structs.replace(document, **fields))


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda content: changed(content, format=2), "has format 2, and this release reads 1"),
        (lambda content: changed(content, sums=("s1",)), "has sums of another release"),
        (lambda content: changed(content, standings=[(0, 0.0)]), "contradicts itself: 1 states of 3 features"),
        (lambda content: changed(content, standings=[(9, 0.0)] * 3), "contradicts itself: 9 is not a valid State"),
        (lambda content: changed(content, block=changed_shape(content)), "contradicts itself: an array of "),
        (lambda content: content[: len(content) // 2], "cannot be read: "),
        (lambda content: b"", "cannot be read: "),
        (lambda content: msgspec.msgpack.encode({"format": 1, "profile": PROFILE.digest}), "cannot be read: "),
    ],
    ids=["format", "sums", "features", "state", "shape", "half", "empty", "fields"],
)
def test_what_is_no_document_is_refused_with_the_reason(harm: object, reason: str) -> None:
    """Never misread."""
    watch, _ = moved()
    with pytest.raises(SavedError, match=f"^the saved drift state {reason}"):
        restore(harm(save(watch)), PROFILE, POLICY)  # type: ignore[operator]


def changed_shape(content: bytes) -> object:
    block = msgspec.msgpack.decode(content, type=Document).block
    return type(block)(block.kind, (3,), block.content)
