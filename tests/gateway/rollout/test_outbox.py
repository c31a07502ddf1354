"""The outbox of one rollout: everything arrives, in whatever way receivers, disks and this process fail meanwhile."""

from __future__ import annotations

import contextlib
import json
import logging
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.rollout.notices import Condition, Occurrence, webhook_id
from gateway.rollout.outbox import BACKOFF_S, JITTER, MAX_ATTEMPTS, MAX_PENDING, Cursor, Outbox, RegistryShelf
from gateway.rollout.plan import Notification
from gateway.rollout.posting import PostError
from gateway.rollout.seals import SecretError, signature
from registry.errors import Kind, RegistryError
from registry.formats import encode_checked
from registry.store import Store

NOW_S = 1_700_000_000.0
SECRET = b"s" * 32
BEFORE = Condition(phase="step", step=0, weight=5.0)
FIRST, SECOND = (Notification(url=f"https://{host}.example/hook?token=t", secret_file="/s/f", on=("paused", "failed")) for host in "ab")


def happened(*events: str, first: int = 1) -> list[Occurrence]:
    return [
        Occurrence(model="m", rollout="m-1", seq=seq, event=event, time_s=NOW_S, actor="a", reason="", before=BEFORE, after=BEFORE)  # type: ignore[arg-type]
        for seq, event in enumerate(events, first)
    ]


class Shelf:
    """In memory; a write fails while `broken`."""

    def __init__(self) -> None:
        self.content: bytes | None = None
        self.dead: dict[str, Any] = {}
        self.broken = False
        self.writes = 0

    def read(self) -> bytes | None:
        return self.content

    def write(self, content: bytes) -> None:
        if self.broken:
            raise RegistryError(Kind.STORAGE, "full")
        self.content = content
        self.writes += 1

    def bury(self, name: str, content: bytes) -> None:
        self.dead.setdefault(name, json.loads(content))


class Receivers:
    """What arrived at each host; `down` ones fail with the error that they have."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str, str]] = []  # host, event, id
        self.down: dict[str, PostError] = {}
        self.attempts = 0

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> None:
        self.attempts += 1
        host = url.partition("://")[2].partition(".")[0]
        if host in self.down:
            raise self.down[host]
        expected = signature(SECRET, headers["webhook-id"], int(headers["webhook-timestamp"]), body)
        assert expected == headers["webhook-signature"]
        assert "application/cloudevents+json" == headers["content-type"]
        self.got.append((host, json.loads(body)["data"]["event"], headers["webhook-id"]))


def outbox(shelf: Any, receivers: Receivers, *notifications: Notification, secrets: Any = lambda _: (SECRET,)) -> Outbox:
    return Outbox(notifications or (FIRST,), shelf, post=receivers.post, secrets=secrets, rng=random.Random(1))


def test_what_a_receiver_wants_arrives_once() -> None:
    """And again after a restart, nothing."""
    shelf, receivers, events = Shelf(), Receivers(), happened("started", "paused", "resumed", "failed")
    box = outbox(shelf, receivers)
    assert not box.settled(events)
    assert box.turn(events, NOW_S) is None
    assert [("a", "paused"), ("a", "failed")] == [(host, event) for host, event, _ in receivers.got]
    assert [webhook_id(events[1]), webhook_id(events[3])] == [id_ for *_, id_ in receivers.got]
    again = outbox(shelf, receivers)
    assert again.turn(events, NOW_S) is None
    assert again.settled(events)
    assert 2 == receivers.attempts
    assert not again.settled(happened("failed", first=5))


def test_without_notifications_nothing_is_read_or_written() -> None:
    """Most rollouts tell nobody."""
    box = Outbox((), None, post=Receivers().post, secrets=lambda _: (), rng=random.Random(1))  # type: ignore[arg-type]
    assert box.turn(happened("failed"), NOW_S) is None


def test_a_receiver_that_is_down_holds_up_neither_the_other_nor_later_events() -> None:
    """It gets all of them when it is back, the one that waits longest when that is due."""
    shelf, receivers = Shelf(), Receivers()
    receivers.down["a"] = PostError("answered with status 500")
    box = outbox(shelf, receivers, FIRST, SECOND)
    due = box.turn(happened("paused"), NOW_S)
    assert due is not None
    assert BACKOFF_S[0] * (1 - JITTER) <= due - NOW_S <= BACKOFF_S[0] * (1 + JITTER)
    assert [("b", "paused")] == [one[:2] for one in receivers.got]
    assert box.turn(happened("paused"), due - 0.01) == due
    assert 2 == receivers.attempts
    receivers.down.clear()
    box.turn(happened("paused", "failed"), NOW_S + 1)
    assert [("b", "paused"), ("a", "failed"), ("b", "failed")] == [one[:2] for one in receivers.got]
    assert box.turn(happened("paused", "failed"), due) is None
    assert ("a", "paused") == receivers.got[-1][:2]


def test_what_never_arrives_is_tried_ever_more_slowly_and_then_kept_apart(caplog: pytest.LogCaptureFixture) -> None:
    """The dead letter says what and why; no log says more of a URL than its host."""
    shelf, receivers, now_s, waits = Shelf(), Receivers(), NOW_S, []
    receivers.down["a"] = PostError("answered with status 500")
    box, events = outbox(shelf, receivers), happened("failed")
    with caplog.at_level(logging.WARNING):
        while (due := box.turn(events, now_s)) is not None:
            waits.append(due - now_s)
            now_s = due
    assert [True] * len(BACKOFF_S) == [base * 0.8 <= wait <= base * 1.2 for base, wait in zip(BACKOFF_S, waits, strict=True)]
    assert len(BACKOFF_S) + 1 == receivers.attempts
    (dead,) = shelf.dead.values()
    assert ("answered with status 500", 11, "failed") == (dead["why"], dead["tries"], dead["message"]["data"]["event"])
    assert "a.example" in caplog.text
    assert "token" not in caplog.text
    assert outbox(shelf, receivers).settled(events)


def test_gone_is_gone_and_a_wait_is_kept() -> None:
    """410 ends it at once; Retry-After puts the next attempt off."""
    shelf, receivers = Shelf(), Receivers()
    receivers.down["a"] = PostError("answered with status 410", gone=True)
    assert outbox(shelf, receivers).turn(happened("failed"), NOW_S) is None
    assert ["00000001-failed-0"] == list(shelf.dead)
    receivers.down["a"] = PostError("answered with status 429", wait_s=3_600.0)
    due = outbox(shelf, receivers).turn(happened("failed", "failed"), NOW_S)
    assert due is not None
    assert due - NOW_S >= 3_600 * (1 - JITTER)


def test_without_a_secret_nothing_is_sent_until_there_is_one() -> None:
    """An operator may still put it there."""
    shelf, receivers, files = Shelf(), Receivers(), []

    def secrets(name: str) -> tuple[bytes, ...]:
        assert "/s/f" == name
        if not files:
            raise SecretError("secretFile '/s/f' cannot be read: No such file or directory")
        return (SECRET,)

    box = outbox(shelf, receivers, secrets=secrets)
    due = box.turn(happened("failed"), NOW_S)
    assert (0, True) == (receivers.attempts, due is not None)
    files.append("there")
    assert due is not None
    assert box.turn(happened("failed"), due) is None
    assert 1 == len(receivers.got)


def test_a_crash_between_a_message_and_the_cursor_repeats_it_with_its_id() -> None:
    """The receiver knows it by that."""
    shelf, receivers, events = Shelf(), Receivers(), happened("paused", "failed")
    box = outbox(shelf, receivers)
    box.turn(events[:1], NOW_S)
    sent = shelf.writes

    class Dies(Receivers):
        def post(self, url: str, headers: Mapping[str, str], body: bytes) -> None:
            receivers.post(url, headers, body)
            shelf.broken = True

    dying = outbox(shelf, Dies())
    with pytest.raises(RegistryError):
        dying.turn(events, NOW_S)
    assert sent + 1 == shelf.writes  # what was new is pending
    shelf.broken = False
    assert outbox(shelf, receivers).turn(events, NOW_S) is None
    ids = [id_ for *_, id_ in receivers.got]
    assert [webhook_id(events[0]), webhook_id(events[1]), webhook_id(events[1])] == ids


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["event", "crash", "down", "up", "turn", "wait"]), max_size=30))
def test_whatever_happens_all_arrives_in_the_end(story: list[str]) -> None:
    """Deaths before any write, receivers that come and go: nothing is lost, and what comes twice has one id."""
    shelf, receivers, events, now_s = Shelf(), Receivers(), happened(), NOW_S
    box = outbox(shelf, receivers, FIRST, SECOND)
    for deed in story:
        match deed:
            case "event":
                events = [*events, *happened("failed", first=len(events) + 1)]
            case "crash":
                shelf.broken = True
                with contextlib.suppress(RegistryError):
                    box.turn(events, now_s)
                shelf.broken = False
                box = outbox(shelf, receivers, FIRST, SECOND)
            case "down":
                receivers.down["a"] = PostError("x")
            case "up":
                receivers.down.clear()
            case "turn":
                box.turn(events, now_s)
            case "wait":
                now_s += 600
    receivers.down.clear()
    while (due := box.turn(events, now_s)) is not None:
        now_s = max(due, now_s)
    assert {(host, webhook_id(one)) for host in "ab" for one in events} == {(host, id_) for host, _, id_ in receivers.got}
    assert {} == shelf.dead


def test_what_waits_is_bounded() -> None:
    """The oldest is given up for the next; a turn makes a bounded number of attempts."""
    shelf, receivers = Shelf(), Receivers()
    receivers.down["a"] = PostError("x")
    events = happened(*["failed"] * (MAX_PENDING + 3))
    box = outbox(shelf, receivers)
    due = box.turn(events, NOW_S)
    assert (MAX_ATTEMPTS, NOW_S) == (receivers.attempts, due)
    assert ["00000001-failed-0", "00000002-failed-0", "00000003-failed-0"] == sorted(shelf.dead)
    assert "too many messages wait for this receiver" == shelf.dead["00000001-failed-0"]["why"]


@pytest.mark.parametrize("content", [b"", b"{}", b'{"format": 2, "receivers": [], "check": "x"}'])
def test_a_damaged_cursor_sends_all_again(content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """With the ids that receivers know."""
    shelf, receivers = Shelf(), Receivers()
    shelf.content = content
    assert outbox(shelf, receivers).turn(happened("failed"), NOW_S) is None
    assert 1 == len(receivers.got)
    assert "all events of the rollout are sent again" in caplog.text


def test_a_cursor_of_a_later_release_is_left_alone() -> None:
    """Whoever wrote it knows more."""
    shelf = Shelf()
    shelf.content = msgspec.json.encode({"format": 99, "receivers": []})
    with pytest.raises(RegistryError, match="has format 99"):
        outbox(shelf, Receivers()).turn(happened("failed"), NOW_S)


def test_a_cursor_of_other_notifications_begins_anew() -> None:
    """It belongs to no plan of ours."""
    shelf, receivers = Shelf(), Receivers()
    shelf.content = encode_checked(Cursor(receivers=()))
    outbox(shelf, receivers).turn(happened("failed"), NOW_S)
    assert 1 == len(receivers.got)


def test_the_shelf_of_a_registry_keeps_both(tmp_path: Path) -> None:
    """Beside the journal."""
    store = Store.create(tmp_path / "r")
    shelf, receivers = RegistryShelf(store.medium, "rollouts/m/00000001"), Receivers()
    receivers.down["a"] = PostError("x", gone=True)
    outbox(shelf, receivers).turn(happened("failed"), NOW_S)
    folder = tmp_path / "r" / "rollouts" / "m" / "00000001" / "outbox"
    assert ["cursor.json", "dead/00000001-failed-0.json"] == sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.json"))
    assert outbox(shelf, receivers).settled(happened("failed"))
    shelf.bury("00000001-failed-0", b"{}")
    assert b"x" in (folder / "dead" / "00000001-failed-0.json").read_bytes()
