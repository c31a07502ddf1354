"""From journals of rollouts to what a server is asked: holds, splits, slots, and what stands still."""

from __future__ import annotations

from pathlib import Path

import msgspec

from gateway.control.guidance import CANARY, Guidance, Slots
from gateway.rollout.admission import read_plan
from gateway.rollout.deciding import Draft, entry_of, followed
from gateway.rollout.machine import Event
from gateway.rollout.ring import SLOTS
from gateway.rollout.standing import Standing, fold
from gateway.serving.splits import Arm
from registry.store import Store
from tests.gateway.rollout.rolled import BY_ANN, NOW_S, operations, plan, registry


def standing_of(store: Store, rollout: str) -> Standing:
    journal = store.rollouts.read(rollout)
    return fold(read_plan(store, journal), journal.entries)


def go_on(store: Store, rollout: str, *events: tuple[Event, int, msgspec.Struct | None]) -> None:
    """What a controller would append."""
    for event, step, details in events:
        standing, journal = standing_of(store, rollout), store.rollouts.read(rollout)
        fields = {} if details is None else msgspec.to_builtins(details)
        draft = Draft(event=event, step=step, reason="", details=fields)
        assert store.rollouts.append(journal, entry_of(standing, draft, actor="c", now_s=NOW_S)) is not None
        assert followed(standing, draft, NOW_S).step == step


def begun(store: Store, rollout: str) -> None:
    """Up to its first step."""
    go_on(store, rollout, (Event.PREPARE, 0, None), (Event.READY, 0, None))


def test_a_rollout_is_followed_from_its_admission_to_its_end(tmp_path: Path) -> None:
    """Admitted it asks nothing; prepared, that both are held; then a split, with what the plan says; in the end nothing."""
    store = registry(tmp_path / "r")
    guidance = Guidance(store)
    assert not guidance.look()
    done = operations(store).apply(plan({"shadow": {"percent": 20}}, {"setWeight": 12.34}, unit={"from": ["header:x-user"]}), **BY_ANN)
    rollout = done.status.id
    assert guidance.look()
    assert () == guidance.guides
    go_on(store, rollout, (Event.PREPARE, 0, None))
    assert guidance.look()
    (guide,) = guidance.guides
    held = [(pin.version, pin.isolated, pin.gives_way) for pin in guide.pins]
    assert ([(1, False, False), (2, True, True)], None) == (held, guide.split)
    go_on(store, rollout, (Event.READY, 0, None))
    guidance.look()
    split = guidance.guides[0].split
    assert split is not None
    assert ("shadow", 20.0, (Arm(CANARY, 2, 0),)) == (split.mode, split.shadow_percent, split.arms)
    assert held == [(pin.version, pin.isolated, pin.gives_way) for pin in guidance.guides[0].pins]
    go_on(store, rollout, (Event.PASS, 1, None))
    guidance.look()
    (guide,) = guidance.guides
    assert guide.split is not None
    assert ("canary", (Arm(CANARY, 2, 1234),), ("header:x-user",)) == (guide.split.mode, guide.split.arms, guide.split.sources)
    assert [(False, False)] * 2 == [(pin.isolated, pin.gives_way) for pin in guide.pins]
    assert (split.salt, split.slot) == (guide.split.salt, guide.split.slot)
    assert not guidance.look()
    operations(store).abort(rollout, **BY_ANN)
    guidance.look()
    assert guidance.guides[0].split is None


def test_a_candidate_that_begins_with_traffic_gives_way_to_nobody(tmp_path: Path) -> None:
    """It has a process of its own all the same, the same one from when it is made ready."""
    store = registry(tmp_path / "r")
    rollout = operations(store).apply(plan({"setWeight": 5}), **BY_ANN).status.id
    guidance = Guidance(store)
    go_on(store, rollout, (Event.PREPARE, 0, None))
    guidance.look()
    before = guidance.guides[0].pins
    go_on(store, rollout, (Event.READY, 0, None))
    guidance.look()
    assert before == guidance.guides[0].pins
    assert [(False, False), (True, False)] == [(pin.isolated, pin.gives_way) for pin in before]


def test_another_server_comes_to_the_same(tmp_path: Path) -> None:
    """From the journal alone."""
    store = registry(tmp_path / "r")
    rollout = operations(store).apply(plan(), **BY_ANN).status.id
    begun(store, rollout)
    one, other = Guidance(store), Guidance(Store.open(tmp_path / "r"))
    assert one.look()
    assert other.look()
    assert one.guides == other.guides
    assert one.guides[0].split is not None


def test_a_journal_that_is_damaged_stands_still_and_others_go_on(tmp_path: Path) -> None:
    """It is named once; what was seen of it last holds."""
    store = registry(tmp_path / "r")
    rollout = operations(store).apply(plan(), **BY_ANN).status.id
    begun(store, rollout)
    guidance = Guidance(store)
    guidance.look()
    before = guidance.guides
    entries = sorted((tmp_path / "r" / "rollouts").rglob("journal/*.json"))
    later = entries[-1].with_name(f"{int(entries[-1].stem) + 1:0{len(entries[-1].stem)}d}.json")
    later.write_bytes(b"{}")
    guidance.look()
    assert before == guidance.guides
    assert len(guidance.problems) == 1


def test_slots_are_kept_while_a_rollout_goes_on_and_are_not_without_end() -> None:
    """Records of one are never another's."""
    slots = Slots()
    names = [f"m-{number}" for number in range(SLOTS)]
    assert list(range(SLOTS)) == [slots.of(name) for name in names]
    assert slots.of("one-more") is None
    slots.keep(names[1:])
    assert (0, 1) == (slots.of("one-more"), slots.of("m-1"))
