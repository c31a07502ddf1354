"""Who sends the events of which rollout: each is told, by one server at a time, also of rollouts that nobody leads."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.rollout.posting import PostError
from gateway.rollout.postman import CLAIM_S, RECENT_S, Postman
from registry.errors import Kind, RegistryError
from registry.store import Store
from registry.verify import damages, verify
from tests.gateway.rollout.rolled import BY_ANN, plan, registry
from tests.gateway.rollout.world import World

WEIGHT = {"setWeight": 10, "until": {"min_duration": "10s", "max_duration": "100s"}}
NOTIFY = {"notifications": [{"url": "https://a.example/", "secretFile": "/s", "on": ["step", "promoted", "aborted"]}]}


class Office:
    """A server with a postman."""

    def __init__(self, world: World, holder: str = "server-1") -> None:
        self.world = world
        self.got: list[str] = []
        self.down = False
        self.postman = Postman(
            world.store, holder=holder, leads=world.controller.leads, post=self._post, secrets=lambda _: (b"s" * 32,), rng=random.Random(1)
        )

    def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> None:
        if self.down:
            raise PostError("down")
        self.got.append(json.loads(body)["data"]["event"])

    def tick(self, seconds: float = 0.0) -> list[str]:
        """What arrives in one look."""
        self.world.clock.now_s += seconds
        before = len(self.got)
        self.postman.tick(self.world.clock.now_s)
        return self.got[before:]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return registry(tmp_path / "registry")


def test_the_one_that_leads_tells(store: Store) -> None:
    """The other says nothing, until it leads."""
    world = World(store)
    here, there = Office(world), Office(World(store, clock=world.clock, holder="server-2"), "server-2")
    world.operations.apply(plan(WEIGHT, **NOTIFY), actor="ann")
    world.tick()
    assert ([], ["step"], []) == (there.tick(), here.tick(), there.tick())
    assert [] == here.tick()


def test_what_led_is_told_when_it_is_over_by_one_of_them(store: Store) -> None:
    """Whoever claims it first, when the claim of deciding has run out; then it is not looked at again."""
    world = World(store)
    here, there = Office(world), Office(World(store, clock=world.clock, holder="server-2"), "server-2")
    world.operations.apply(plan(WEIGHT, **NOTIFY), actor="ann")
    world.run()
    told = there.tick(20.0) + here.tick()
    assert ["step", "promoted"] == told
    assert [] == here.tick() + there.tick()
    assert {} == here.postman.problems == there.postman.problems
    assert [] == damages(verify(store))


def test_what_a_command_ended_without_a_server_is_told(store: Store) -> None:
    """Nobody ever led it."""
    world = World(store)
    world.operations.apply(plan(WEIGHT, **NOTIFY), actor="ann")
    world.operations.abort("m", **BY_ANN)
    assert ["aborted"] == Office(world).tick()


def test_a_server_that_dies_while_it_tells_is_replaced(store: Store) -> None:
    """Once its claim has run out."""
    world = World(store)
    dying, there = Office(world), Office(World(store, clock=world.clock, holder="server-2"), "server-2")
    world.operations.apply(plan(WEIGHT, **NOTIFY), actor="ann")
    world.operations.abort("m", **BY_ANN)
    dying.down = True
    assert [] == dying.tick()
    assert [] == there.tick(60.0)
    assert ["aborted"] == there.tick(CLAIM_S)


def test_what_is_long_over_is_left_alone(store: Store) -> None:
    """A new server does not tell old stories."""
    world = World(store)
    world.operations.apply(plan(WEIGHT, **NOTIFY), actor="ann")
    world.operations.abort("m", **BY_ANN)
    assert [] == Office(world).tick(RECENT_S + 1)


def test_a_damaged_journal_keeps_its_own_silent(store: Store, tmp_path: Path) -> None:
    """The others are told."""
    world = World(store)
    for candidate in (2, 3):
        world.operations.apply(plan(WEIGHT, candidate=candidate, name=f"r{candidate}", **NOTIFY), actor="ann")
        world.operations.abort("m", **BY_ANN)
    entry = tmp_path / "registry" / "rollouts" / "m" / "00000001" / "journal" / "00000002.json"
    entry.chmod(0o644)
    entry.write_bytes(b"{}")
    office = Office(world)
    assert ["aborted"] == office.tick()
    assert ["m-1"] == list(office.postman.problems)


def test_a_registry_that_is_away_is_a_problem_and_no_fault(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told when it is back."""
    world = World(store)
    world.operations.apply(plan(WEIGHT, **NOTIFY), actor="ann")
    world.operations.abort("m", **BY_ANN)
    office = Office(world)

    def away(model: str) -> list[int]:
        raise RegistryError(Kind.STORAGE, "away")

    with monkeypatch.context() as broken:
        broken.setattr(store.rollouts, "numbers", away)
        assert [] == office.tick()
        assert {"": "away"} == office.postman.problems
    assert ["aborted"] == office.tick()
