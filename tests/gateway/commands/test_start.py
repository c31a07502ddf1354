"""`tidegate retrain start`: a real POST to a real server, a real program, and what is wrong with either."""

from __future__ import annotations

import base64
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.commands import start
from gateway.commands.output import Exit
from gateway.rollout.seals import signature
from registry.store import Store
from registry.trigger_entries import TriggerEntry
from registry.triggers import Trigger, Triggers, Window
from tests.gateway.commands.console import done, failed, parsed, run
from tests.gateway.rollout.receiver import Receiver
from tests.gateway.serving import graphs
from tests.gateway.serving.registries import published

SECRET = b"\x01" * 32
HERE = ["--network", "127.0.0.0/8"]
MOMENT = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def trigger(tmp_path: Path) -> Trigger:
    """One of model `m`, in the registry at `tmp_path / "r"`."""
    store = published(tmp_path / "r", "m", graphs.twice())
    return proposed(store, "manual")


def proposed(store: Store, rule: str) -> Trigger:
    return Triggers(store.medium).propose(
        "m", 1, manifest=store.record("m", 1).manifest, rule=rule, reason="a test asks", features=(), evidence={},
        window=Window(start=MOMENT, end=MOMENT, rows=0), proposer="tests", now_s=1e9,
    )[0]  # fmt: skip


def arguments(folder: Path, trigger: Trigger, *more: object) -> list[object]:
    return ["retrain", "start", trigger.id, "-r", folder / "r", *more]


def test_a_signed_post_starts_it(tmp_path: Path, trigger: Trigger) -> None:
    """With the id as idempotency key, a bearer token, and a signature over what arrived."""
    (tmp_path / "secret").write_text("whsec_" + base64.b64encode(SECRET).decode())
    (tmp_path / "token").write_text("abc.def\n")
    with Receiver() as receiver:
        keys = ["--secret", tmp_path / "secret", "--token-file", tmp_path / "token"]
        found = parsed(*arguments(tmp_path, trigger, "--webhook", receiver.url, *HERE, *keys))
    assert {"trigger": trigger.id, "model": "m", "state": "started", "attempts": 1} == found
    (got,) = receiver.received
    assert (f'"{trigger.id}"', "Bearer abc.def") == (got.headers["idempotency-key"], got.headers["authorization"])
    expected = signature(SECRET, trigger.id, int(got.headers["webhook-timestamp"]), got.body)
    assert (trigger.id, expected) == (got.headers["webhook-id"], got.headers["webhook-signature"])
    assert trigger.id == json.loads(got.body)["data"]["id"]


def test_a_lost_answer_is_asked_for_again(tmp_path: Path, trigger: Trigger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The receiver hangs up, is busy, then knows the id: started before."""
    waits: list[float] = []
    monkeypatch.setattr(start.threading.Event, "wait", lambda _self, seconds=None: waits.append(seconds) or True)
    with Receiver([None, b"HTTP/1.1 503 Busy\r\nretry-after: 7\r\n\r\n", b"HTTP/1.1 409 Conflict\r\n\r\n"]) as receiver:
        text = done(*arguments(tmp_path, trigger, "--webhook", receiver.url, *HERE, "--body", "airflow"))
    assert f"trigger {trigger.id} of model m: started before\n" == text
    assert [1.0, 7.0] == [one for one in waits if one is not None]
    assert {trigger.id} == {json.loads(got.body)["dag_run_id"] for got in receiver.received}


def test_a_refusal_and_silence_have_codes_of_their_own(tmp_path: Path, trigger: Trigger) -> None:
    """1 where it is of no use, 3 where nobody answered."""
    with Receiver([b"HTTP/1.1 403 Forbidden\r\n\r\n"]) as receiver:
        text = failed(Exit.FAILED, *arguments(tmp_path, trigger, "--webhook", receiver.url, *HERE))
        assert f"tidegate: trigger {trigger.id}: answered with status 403\n" == text
        receiver.answers = [None]
        text = failed(Exit.UNREACHABLE, *arguments(tmp_path, trigger, "--webhook", receiver.url, *HERE, "--tries", 1))
        assert "the connection ended before an answer" in text
        text = failed(Exit.FAILED, *arguments(tmp_path, trigger, "--webhook", receiver.url))
        assert "an address that is not public" in text


def test_a_program_starts_it(tmp_path: Path, trigger: Trigger) -> None:
    """It is told which one."""
    script = tmp_path / "job.py"
    script.write_text(f"import os; open({str(tmp_path / 'told')!r}, 'w').write(os.environ['TIDEGATE_TRIGGER_ID'])")
    done("retrain", "start", trigger.id[:8], "-r", tmp_path / "r", "--command", f"{sys.executable} -S {script}")
    assert trigger.id == (tmp_path / "told").read_text()


def test_every_open_trigger_is_started(tmp_path: Path, trigger: Trigger) -> None:
    """Oldest first, without those that are over and the one that a job has in hand; one that is refused does not hinder the others."""
    store = Store.open(tmp_path / "r")
    triggers, now_s = Triggers(store.medium), SystemClock().wall()
    over, held, other = (proposed(store, rule) for rule in ("age", "volume", "loss"))
    entry = TriggerEntry(model="m", trigger=over.id, time=MOMENT, actor="ann", state="expired", reason="too old")
    assert triggers.append(triggers.journal("m", over.id), entry) is not None
    assert triggers.claim("m", held.id, holder="job-1", now_s=now_s, ttl_s=60) is not None
    words = ["retrain", "start", "--all", "-r", tmp_path / "r"]
    expected = sorted([trigger.id, other.id])
    with Receiver([b"HTTP/1.1 403 Forbidden\r\n\r\n", b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"]) as receiver:
        result = run(*words, "--webhook", receiver.url, *HERE, "--json")
    assert Exit.FAILED == result.exit_code, result.output
    found = json.loads(result.stdout)
    assert expected == [one["trigger"] for one in found] == [json.loads(got.body)["data"]["id"] for got in receiver.received]
    assert [("not started", "answered with status 403"), ("started", None)] == [(one["state"], one.get("reason")) for one in found]
    assert f"trigger {expected[0]}: answered with status 403" in result.stderr
    assert 2 == done(*words, "--model", "m", "--command", "true").count(": started\n")
    assert [] == parsed(*words, "--model", "other", "--command", "true")
    both = "give a trigger, or --all"
    assert both in failed(Exit.USAGE, *words, trigger.id, "--command", "true")
    assert both in failed(Exit.USAGE, "retrain", "start", "-r", tmp_path / "r", "--command", "true")
    assert both in failed(Exit.USAGE, "retrain", "start", trigger.id, "--model", "m", "-r", tmp_path / "r", "--command", "true")


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ([], "give one of --command and --webhook"),
        (["--command", "true", "--webhook", "https://a/"], "give one of --command and --webhook"),
        (["--webhook", "https://a/", "--network", "here"], "--network: 'here' is no network"),
        (["--webhook", "https://a/", "--secret", "nothing"], "--secret: secretFile 'nothing' cannot be read"),
        (["--webhook", "https://a/", "--token-file", "nothing"], "nothing: No such file"),
    ],
)
def test_what_does_not_make_sense_is_said(tmp_path: Path, trigger: Trigger, more: list[str], reason: str) -> None:
    """Before anything is sent."""
    assert reason in failed(Exit.USAGE, *arguments(tmp_path, trigger, *more))


def test_a_trigger_is_named_without_doubt(tmp_path: Path, trigger: Trigger) -> None:
    """By its id or the beginning of it, which no other has."""
    other = ["-r", tmp_path / "r", "--command", "true"]
    assert "the registry has no trigger 'ffff" in failed(Exit.REGISTRY, "retrain", "start", "f" * 32, *other)
    store = Store.open(tmp_path / "r")
    while proposed(store, f"rule-{len(Triggers(store.medium).ids('m'))}").id[0] != trigger.id[0]:
        assert len(Triggers(store.medium).ids("m")) < 200
    assert "triggers begin so" in failed(Exit.USAGE, "retrain", "start", trigger.id[0], *other)
