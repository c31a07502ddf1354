"""The thread of the postman: what goes wrong is said once, and costs one round."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from gateway.control import rounds
from gateway.control.rounds import Rounds
from gateway.webhook_settings import Webhooks
from tests.gateway.rollout.rolled import BY_ANN, plan, registry
from tests.gateway.rollout.world import World
from tests.gateway.serving.serving_fakes import FakeLoop


class Postman:
    """Walks as it is told to."""

    def __init__(self, *rounds_: Any) -> None:
        self.problems: dict[str, str] = {}
        self.rounds = list(rounds_)
        self.walked = threading.Semaphore(0)

    def tick(self, now_s: float) -> None:
        self.walked.release()
        found = self.rounds.pop(0) if self.rounds else {}
        if isinstance(found, Exception):
            raise found
        self.problems = found


def test_problems_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """And again when they come back; a fault costs its round."""
    walking = Rounds(Postman({"m-1": "damaged"}, {"m-1": "damaged"}, {}, KeyError("x"), {"": "away"}), FakeLoop())  # type: ignore[arg-type]
    with caplog.at_level(logging.ERROR):
        for _ in range(5):
            walking.once()
    said = [record.getMessage() for record in caplog.records]
    assert ["webhooks: rollout m-1: damaged", "a round of the postman failed", "webhooks: rollout registry: away"] == said


def test_rounds_go_on_in_a_thread_until_they_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each after a pause."""
    monkeypatch.setattr(rounds, "PAUSE_S", 0.001)
    postman = Postman()
    walking = Rounds(postman, FakeLoop())  # type: ignore[arg-type]
    walking.begin()
    assert all(postman.walked.acquire(timeout=10) for _ in range(3))
    walking.end()


def test_settings_say_to_whom_and_with_which_secrets(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without secrets nothing is sent, and the log says why."""
    world = World(registry(tmp_path / "r"))
    notify = {"notifications": [{"url": "https://a.example/", "secretFile": "/s", "on": ["aborted"]}]}
    world.operations.apply(plan(**notify), actor="ann")
    world.operations.abort("m", **BY_ANN)
    clock = FakeLoop()
    clock.time = world.clock.now_s
    Rounds.of(Webhooks(), world.store, world.controller, "server-1", clock).once()
    assert "webhooks.secrets is not set" in caplog.text
