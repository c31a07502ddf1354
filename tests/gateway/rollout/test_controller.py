"""The controller: what it does step by step for a rollout, with evidence and readiness that are set by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.rollout.standing import Trip
from registry.verify import damages, verify
from tests.gateway.rollout.rolled import plan, registry
from tests.gateway.rollout.world import World

WEIGHT = {"setWeight": 10, "until": {"min_duration": "10s", "max_duration": "100s"}}
SHADOW = {"shadow": {"percent": 50.0}, "until": {"min_units": 100}}
ERRORS = Trip("errors", critical=True, sentence="errors are 3.1 times as many")


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
    assert [] == damages(verify(world.store))
