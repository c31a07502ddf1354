"""The controller: what it does step by step for a rollout, with evidence and readiness that are set by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from obstore.store import MemoryStore

from gateway.rollout.admission import Admission
from gateway.rollout.observation import Overall
from registry.errors import Kind, RegistryError
from registry.names import blob_key
from registry.objects import ObjectMedium
from registry.patience import Patience
from registry.rollout_tips import RolloutTips
from registry.store import marker_of
from registry.verify import damages, verify
from tests.gateway.rollout.rolled import BY_ANN, plan, registry
from tests.gateway.rollout.world import World

WEIGHT = {"setWeight": 10, "until": {"min_duration": "10s", "max_duration": "100s"}}
SHADOW = {"shadow": {"percent": 50.0}, "until": {"min_units": 100}}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Versions 1 to 3 of m; 1 is champion."""
    return World(registry(tmp_path / "registry"))


def test_a_good_version_is_promoted(world: World) -> None:
    """Shadow, a weight, the alias, the bake: each in the journal, in this order, and evidence with each decision."""
    world.operations.apply(plan(SHADOW, WEIGHT), actor="ann")
    world.run()
    assert ["apply", "admit", "prepare", "ready", "pass", "pass", "complete", "moved", "baked"] == world.events()
    assert ("succeeded", 2, [(None, 1), (1, 2)]) == (world.phase(), world.champion(), world.moves())
    assert [(0, 0), (1, 1000)] == world.said.entered
    history = world.operations.history("m").entries
    assert [5, 6, 7, 8, 9] == [entry.seq for entry in history if entry.checkpoint]
    assert {"ann", "server-1"} == {entry.actor for entry in history}
    assert [4, 5, 7, 8, 9] == [journal.seq for journal in world.told], "the lookout is told whenever something was appended"
    assert ["m-1"] == world.said.closed
    assert [] == damages(verify(world.store))


def test_in_an_object_store(tmp_path: Path) -> None:
    """The same, word by word."""
    medium = ObjectMedium(MemoryStore(), shown="memory:", cache=tmp_path / "cache", patience=Patience(attempts=1))
    medium.prepare()
    medium.create("tidegate-registry.json", marker_of(UUID(int=1)))
    world = World(registry(medium))
    world.operations.apply(plan(SHADOW, WEIGHT), actor="ann")
    world.run()
    assert ["apply", "admit", "prepare", "ready", "pass", "pass", "complete", "moved", "baked"] == world.events()
    assert (2, []) == (world.champion(), damages(verify(world.store)))


def test_only_what_this_server_holds_counts(world: World) -> None:
    """No step before both versions are ready here; a version that never will be has failed."""
    world.said.ready_versions = {1}
    world.operations.apply(plan(WEIGHT), actor="ann")
    world.tick()
    world.tick(1e5)
    assert ("preparing", []) == (world.phase(), world.said.opened)
    world.said.ready_versions = {1, 2}
    world.tick()
    assert "step" == world.phase()
    world.said.ready_versions = {1}
    world.tick(10.0)
    assert 0 == world.operations.status("m").step, "nor does a step end while it is not"
    world.said.failures[2] = "three workers died while they loaded it"
    world.tick()
    assert ("rolled_back", "rolled") == (world.phase(), world.events()[-1])


def test_the_next_in_the_queue(world: World) -> None:
    """It begins in the same tick in which the one before ends, and compares with what that has made champion."""
    world.operations.apply(plan(WEIGHT), actor="ann")
    world.operations.apply(plan(WEIGHT, candidate=3), actor="bob")
    world.tick()
    assert ["step", "queued"] == [world.phase("m-1"), world.phase("m-2")]
    world.tick(10.0)
    world.tick(60.0)
    assert ["succeeded", "step"] == [world.phase("m-1"), world.phase("m-2")]
    assert [2, 3] == [arm.version for arm in world.operations.status("m-2").arms]
    world.run()
    assert [(None, 1), (1, 2), (2, 3)] == world.moves()


def test_who_takes_the_place_of_another_and_dies_before_it_is_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The controller says it for them."""
    world.operations.apply(plan(WEIGHT), actor="ann")
    world.tick()

    def dies(*arguments: Any) -> None:
        raise RegistryError(Kind.STORAGE, "the disk is gone")

    monkeypatch.setattr(Admission, "_placed", dies)
    with pytest.raises(RegistryError):
        world.operations.apply(plan(WEIGHT, candidate=3, on_supersede="replace"), actor="bob")
    assert ["step", "queued"] == [world.phase("m-1"), world.phase("m-2")]
    world.tick()
    assert ["superseded", "step"] == [world.phase("m-1"), world.phase("m-2")]


class TestEvidence:
    """What is counted, kept and gone on from."""

    @pytest.fixture
    def world(self, world: World) -> World:
        """At the weight, with a shadow behind it."""
        world.said.overall = Overall.PASS
        world.operations.apply(plan(SHADOW, WEIGHT), actor="ann")
        world.tick()
        world.said.overall = Overall.INCONCLUSIVE
        assert 1 == world.operations.status("m").step
        return world

    def test_a_restart_goes_on_from_the_last_decision(self, world: World) -> None:
        """A step that was entered is not entered again."""
        assert [None] == world.said.opened
        world.operations.pause("m", actor="bob")
        world.operations.resume("m", actor="bob")
        entered = list(world.said.entered)
        world.restart()
        world.tick()
        assert msgspec.json.encode({"step": 0}) == world.said.opened[-1]
        assert [*entered, (1, 1000)] == world.said.entered, "it had been entered after the last decision"
        world.tick(100.0)
        world.restart()
        world.tick()
        assert msgspec.json.encode({"step": 1}) == world.said.opened[-1]
        assert [*entered, (1, 1000)] == world.said.entered

    def test_a_checkpoint_that_is_damaged(self, world: World) -> None:
        """Counting begins anew, and it is said; nothing stands still."""
        digest = next(entry.checkpoint for entry in reversed(world.operations.history("m").entries) if entry.checkpoint)
        (world.store.medium.root / blob_key(digest)).unlink()
        world.restart()
        world.tick()
        assert world.controller.problems["m-1"].startswith("counting begins anew: blobs/sha256/")
        assert world.said.opened[-1] is None
        world.said.overall = Overall.PASS
        world.run()
        assert "succeeded" == world.phase()

    def test_somebody_elses_decisions_are_gone_on_from(self, world: World) -> None:
        """What was counted before another server decided is not kept."""
        other = World(world.store, clock=world.clock, said=world.said, holder="server-2")
        world.clock.now_s += 20.0
        other.tick()
        assert (True, "lead") == (other.controller.leads("m-1"), world.events()[-1])
        world.tick()
        assert (False, ["m-1"]) == (world.controller.leads("m-1"), world.said.closed)
        assert 2 == len(world.said.opened)

    def test_a_claim_that_ran_out_and_nobody_took(self, world: World) -> None:
        """It is taken anew, and the counts are kept: nobody else has decided."""
        world.tick(1_000.0)
        assert ([None], []) == (world.said.opened, world.said.closed)
        assert "lead" in world.events()


class TestClaims:
    """Who acts."""

    def test_the_other_waits(self, world: World) -> None:
        """As long as the claim is renewed; and not a moment after it was let go."""
        other = World(world.store, clock=world.clock, said=world.said, holder="server-2")
        world.operations.apply(plan({"pause": {}}), actor="ann")
        for _ in range(20):
            world.tick(4.0)
            other.tick()
        assert (True, False) == (world.controller.leads("m-1"), other.controller.leads("m-1"))
        assert "server-1" == world.operations.status("m").controller
        assert ["00000001.json", "renewed-1.json"] == world.store.medium.names("rollouts/m/00000001/claims")
        world.controller.close(world.clock())
        other.tick()
        assert (False, True, "server-2") == (
            world.controller.leads("m-1"),
            other.controller.leads("m-1"),
            world.operations.status("m").controller,
        )
        assert ["pause", "lead"] == world.events()[-2:]

    def test_a_registry_that_cannot_be_reached(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing is raised and nothing is decided; it goes on when it is there again."""
        world.operations.apply(plan(WEIGHT), actor="ann")

        def away(*arguments: Any) -> None:
            raise RegistryError(Kind.STORAGE, "cannot list rollouts: no route to host")

        monkeypatch.setattr(RolloutTips, "look", away)
        assert () == world.tick()
        assert {"": "cannot list rollouts: no route to host"} == world.controller.problems
        monkeypatch.undo()
        assert ["prepare", "ready"] == [entry.event for entry in world.tick()]
        assert {} == world.controller.problems

    def test_damage_beside_what_is_whole(self, world: World) -> None:
        """A journal that cannot be read stands still and is named; others go on."""
        world.operations.apply(plan(WEIGHT), actor="ann")
        (world.store.medium.root / "rollouts/n/00000001/journal").mkdir(parents=True)
        (world.store.medium.root / "rollouts/n/00000001/journal/00000001.json").write_bytes(b"{}")
        world.tick()
        assert "step" == world.phase()
        assert "rollouts/n/00000001/journal/00000001.json" in world.controller.problems[""]

    def test_a_plan_that_is_gone(self, world: World) -> None:
        """Nothing is decided without it, and nothing is raised."""
        digest = world.operations.apply(plan(WEIGHT), actor="ann").status.plan
        (world.store.medium.root / blob_key(digest)).unlink()
        assert () == world.tick()
        assert f"{blob_key(digest)} is missing" == world.controller.problems["m-1"]


class TestLooks:
    """How often a registry is asked, which may be an object store."""

    @pytest.fixture
    def asked(self, world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Keys and prefixes that were read or listed, in this order."""
        found: list[str] = []
        for name in ("read", "names", "replace", "commit"):
            call = getattr(world.store.medium, name)
            monkeypatch.setattr(
                world.store.medium, name, lambda *args, _call=call, **more: found.append(str(args[0])) or _call(*args, **more)
            )
        return found

    def test_between_looks_it_is_not_asked(self, world: World, asked: list[str]) -> None:
        """Nothing at all is read while nothing follows; what evidence says is decided at once all the same."""
        world.operations.apply(plan({"setWeight": 10, "until": {"min_duration": "1h"}}), actor="ann")
        world.restart(look_s=5.0)
        world.tick()
        asked.clear()
        for _ in range(10):
            world.tick(0.25)
        assert [] == asked
        world.said.fast = "the process of version 2 ended"
        assert ["fast", "rolled"] == [entry.event for entry in world.tick(0.25)]
        asked.clear()
        world.tick(0.25)
        assert [] == asked, "what is over is not claimed again"

    def test_a_verb_between_looks(self, world: World) -> None:
        """It is seen when something is to be appended, or with the next look; never overwritten."""
        world.operations.apply(plan({"setWeight": 10, "until": {"min_units": 0, "min_duration": "2s"}}), actor="ann")
        world.restart(look_s=5.0)
        world.tick()
        world.operations.pause("m", actor="bob")
        assert () == world.tick(3.0)
        assert "paused" == world.phase()
        world.operations.abort("m", **BY_ANN)
        world.tick(5.0)
        assert "aborted" == world.phase()

    def test_who_follows_asks_with_each_look(self, world: World, asked: list[str]) -> None:
        """Not with each tick whether the claim is free."""
        world.operations.apply(plan({"pause": {}}), actor="ann")
        world.tick()
        other = World(world.store, clock=world.clock, said=world.said, holder="server-2")
        other.restart(look_s=60.0)
        other.tick()
        asked.clear()
        other.tick(20.0)
        assert ([], False) == (asked, other.controller.leads("m-1"))
        other.tick(40.0)
        assert other.controller.leads("m-1")


def test_nothing_is_asked_of_what_is_over(world: World) -> None:
    """No claim, no evidence, no problem is left of it."""
    world.operations.apply(plan(WEIGHT), actor="ann")
    world.tick()
    world.operations.abort("m", **BY_ANN)
    world.tick()
    assert ("aborted", False) == (world.phase(), world.controller.leads("m-1"))
    assert () == world.tick()
    assert {} == world.controller.problems
