"""The alias of a rollout: moved once, in the starter's name and by the registry's policy; and what takes it back."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.rollout.champion import Champion
from registry.deletion import Deletion
from registry.entries import AliasMoved
from registry.evidence import proves
from registry.policy import POLICY
from registry.store import Store
from tests.gateway.rollout.rolled import BY_ANN, NOW_S, move, plan, registry
from tests.gateway.rollout.world import World

QUICK = {"setWeight": 10, "until": {"min_units": 0}}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Versions 1 to 4 of m; 1 is champion."""
    return World(registry(tmp_path / "registry", versions=4))


def protect(store: Store, rule: str) -> None:
    """A rule for champion."""
    store.medium.replace(POLICY, f"format: 2\naliases:\n  champion: {{{rule}}}\n".encode())


def rolled_out(world: World, candidate: int = 2, **more: object) -> str:
    """To whatever end it comes."""
    world.operations.apply(plan(QUICK, candidate=candidate, name=f"to-{candidate}", **more), actor="ann")
    world.run()
    return world.phase()


def last_move(world: World) -> AliasMoved:
    """The newest one."""
    return [entry for entry in world.store.history("m") if isinstance(entry, AliasMoved)][-1]


def test_the_move_says_who_why_and_on_what_evidence(world: World) -> None:
    """Who started it moves it; the evidence is about exactly this manifest and says how it was passed."""
    assert "succeeded" == rolled_out(world)
    moved = last_move(world)
    assert ("ann", "rollout m-1") == (moved.actor, moved.reason)
    content = world.store.read_blob(moved.evidence[0])
    assert "rollout" == proves(content, manifest=world.store.record("m", 2).manifest)
    assert proves(content, manifest=world.store.record("m", 3).manifest) is None


def test_a_word_in_the_place_of_a_verdict_proves_nothing(world: World) -> None:
    """A policy that asks for a rollout does not take somebody's promotion for one."""
    protect(world.store, "require_evidence: [rollout]")
    world.operations.apply(plan(QUICK), actor="ann")
    world.said.units = -1
    world.tick()
    world.operations.promote("m", **BY_ANN)
    world.tick()
    status = world.operations.status("m")
    assert ("paused", "policy") == (status.phase, status.cause)
    assert "evidence 'rollout' is missing" in status.reason


def test_a_policy_is_asked_again_after_a_resume(world: World) -> None:
    """Approvals may come while it waits; the traffic stays meanwhile."""
    protect(world.store, "min_approvals: 1")
    world.operations.apply(plan(QUICK), actor="ann")
    world.tick()
    status = world.operations.status("m")
    assert ("paused", "policy", 10.0) == (status.phase, status.cause, status.percent)
    assert status.reason.endswith("is protected: it has 0 of 1 approvals")
    world.store.aliases("m").approve("champion", 2, actor="bea", reason="", now_s=NOW_S)
    world.operations.resume("m", actor="ann")
    world.run()
    assert ("succeeded", 2) == (world.phase(), world.champion())


def test_a_rollback_under_a_policy_that_asks_for_evidence(world: World) -> None:
    """Stable goes back with what it once came by."""
    assert "succeeded" == rolled_out(world)
    protect(world.store, "require_evidence: [rollout]")
    world.operations.apply(plan(QUICK, candidate=3), actor="ann")
    world.tick()
    assert ("baking", 3) == (world.phase(), world.champion())
    world.said.fast = "the process of version 3 ended"
    world.run()
    assert ("rolled_back", 2) == (world.phase(), world.champion())
    assert 1 == len(last_move(world).evidence)


def test_a_policy_that_refuses_the_way_back(world: World) -> None:
    """Traffic is stable's all the same; it is tried again until the policy allows it, and said why it is not."""
    world.operations.apply(plan(QUICK), actor="ann")
    world.tick()
    protect(world.store, "movers: [bea]")
    world.operations.abort("m", **BY_ANN)
    world.tick()
    assert "'ann' may not move it" in world.controller.problems["m-1"]
    status = world.operations.status("m")
    assert ("rolling_back", "hold", 2) == (status.phase, status.mode, world.champion())
    world.store.medium.remove(POLICY)
    world.tick()
    assert ("aborted", 1, {}) == (world.phase(), world.champion(), world.controller.problems)


def test_the_mark_where_only_some_may_speak(world: World) -> None:
    """It is refused, and the journal remembers."""
    protect(world.store, "approvers: [bea]")
    world.operations.apply(plan(QUICK), actor="ann")
    world.said.fast = "the process of version 2 ended"
    world.tick()
    assert "rolled_back" == world.phase()
    assert "was refused: 'rollout' is no approver of alias 'champion'" in world.operations.status("m").reason
    assert [] == world.store.aliases("m").opinions("champion", 2)


def test_the_first_version(tmp_path: Path) -> None:
    """No steps; an abort before it is the champion leaves the alias absent."""
    world = World(registry(tmp_path / "registry", champion=None))
    assert "succeeded" == rolled_out(world)
    assert ([(None, 2)], "initial") == (world.moves(), world.operations.status("m").skip)


def test_going_back(world: World) -> None:
    """To one of the last champions without steps; to one that a rollout took back, or from longer ago, with them."""
    for version in (2, 3):
        assert "succeeded" == rolled_out(world, version)
    champion = Champion(world.store, "m", "champion")
    assert ([2, 1], [2]) == (champion.before(3), champion.before(1))
    assert "succeeded" == rolled_out(world, 2, rollback_window=1)
    assert ("window", ["apply", "admit", "prepare", "ready", "complete", "moved", "baked"]) == (
        world.operations.status("m").skip,
        world.events(),
    )
    assert "succeeded" == rolled_out(world, 1, rollback_window=1)
    assert "" == world.operations.status("m").skip
    world.operations.apply(plan(QUICK, candidate=4), actor="ann")
    world.tick()
    world.operations.abort("m", **BY_ANN)
    world.run()
    assert 1 == world.champion()
    assert 4 not in champion.before(10)
    assert [2, 3] == champion.before(10)


def test_an_alias_that_is_moved_on_while_it_bakes(world: World) -> None:
    """Nobody's move is undone but the rollout's own."""
    world.operations.apply(plan(QUICK), actor="ann")
    world.tick()
    move(world.store, 3, 2)
    world.run()
    assert ("superseded", 3) == (world.phase(), world.champion())
    assert [(None, 1), (1, 2), (2, 3)] == world.moves()
    assert {} == world.store.deletion("m").holds()


def test_a_version_that_was_deleted_or_damaged_meanwhile(world: World) -> None:
    """It is not promoted, and the rollout says why."""
    world.operations.apply(plan(QUICK), actor="ann")
    world.said.units = -1
    world.tick()
    blind = Deletion(world.store.versions_of("m"), rollouts=lambda version: [])  # decided before the rollout began
    blind.delete(2, actor="bob", reason="", now_s=NOW_S)
    world.said.units = 1
    world.tick()
    assert "model 'm' has no version 2" == world.operations.status("m").reason
    world.operations.abort("m", **BY_ANN)
    world.run()
    assert ("aborted", 1) == (world.phase(), world.champion())


def test_an_operation_id_of_another_registry(world: World) -> None:
    """Rollouts that were lost are numbered from 1 again; their moves are not taken for the new one's."""
    assert "succeeded" == rolled_out(world)
    move(world.store, 1, 2)
    for path in sorted((world.store.medium.root / "rollouts").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    world = World(Store.open(world.store.medium.root), clock=world.clock)
    assert "succeeded" == rolled_out(world, rollback_window=0)
    assert ("m-1", [(None, 1), (1, 2), (2, 1), (1, 2)]) == (world.operations.status("m").id, world.moves())


def test_the_evidence_of_a_skip(world: World) -> None:
    """It says that there were no steps; that is a rollout all the same."""
    assert "succeeded" == rolled_out(world)
    assert "succeeded" == rolled_out(world, 1)
    content = world.store.read_blob(last_move(world).evidence[0])
    assert "rollout" == proves(content, manifest=world.store.record("m", 1).manifest)
    assert b'"skipped":"window"' in content
