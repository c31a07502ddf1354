"""A claim lives as long as its job, and no longer than somebody else lets it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from registry.errors import Kind, RegistryError
from registry.store import Store
from registry.triggers import Claim, Triggers
from retrain.errors import ClaimLost
from retrain.heartbeat import Heartbeat
from tests.retrain.jobs import MODEL, StillClock, proposed, publish_champion

pytestmark = pytest.mark.demo


@pytest.fixture
def held(tmp_path: Path) -> tuple[Triggers, Claim, StillClock]:
    """A claim of a minute."""
    store, clock = Store.create(tmp_path / "registry"), StillClock()
    publish_champion(store)
    claim = store.triggers.claim(MODEL, proposed(store).id, holder="job-1", now_s=clock.wall(), ttl_s=60)
    assert claim is not None
    return store.triggers, claim, clock


def test_it_is_renewed_while_the_block_lasts_and_given_back(held: tuple[Triggers, Claim, StillClock]) -> None:
    """By a thread that beats three times in the time of a claim."""
    triggers, claim, clock = held
    beaten = threading.Semaphore(0)

    class Counted(Heartbeat):
        def renew(self) -> None:
            super().renew()
            beaten.release()

    with Counted(triggers, MODEL, claim, wall=clock.wall, ttl_s=0.003) as heartbeat:
        assert beaten.acquire(timeout=30)
        assert beaten.acquire(timeout=30)
        heartbeat.check()
    last = triggers.claimed(MODEL)
    assert last is not None
    assert last.expires.timestamp() == pytest.approx(clock.wall())
    assert triggers.claim(MODEL, claim.trigger, holder="job-2", now_s=clock.wall(), ttl_s=60) is not None


def test_a_claim_that_was_taken_over_is_lost(held: tuple[Triggers, Claim, StillClock]) -> None:
    """The next beat finds out, and what the other has is left alone."""
    triggers, claim, clock = held
    with Heartbeat(triggers, MODEL, claim, wall=clock.wall, ttl_s=600) as heartbeat:
        other = triggers.claim(MODEL, claim.trigger, holder="job-2", now_s=clock.wall() + 61, ttl_s=60)
        heartbeat.renew()
        with pytest.raises(ClaimLost, match="no longer held: token 1"):
            heartbeat.check()
    assert other == triggers.claimed(MODEL)


def test_a_store_that_refuses_is_asked_again(held: tuple[Triggers, Claim, StillClock], monkeypatch: pytest.MonkeyPatch) -> None:
    """While the claim lasts; then it is lost."""
    triggers, claim, clock = held

    def full(*_: Any, **__: Any) -> None:
        raise RegistryError(Kind.STORAGE, "no space left on device")

    with Heartbeat(triggers, MODEL, claim, wall=clock.wall, ttl_s=600) as heartbeat:
        with monkeypatch.context() as broken:
            broken.setattr(triggers, "renew", full)
            heartbeat.renew()
            heartbeat.check()
            clock.wall_s += 61
            with pytest.raises(ClaimLost):
                heartbeat.check()
        heartbeat.renew()
        heartbeat.check()
