"""Starting a job elsewhere: what goes along, what an answer means, and what is tried again."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from registry.triggers import Trigger, Window
from retrain.adapters import LONGEST_WAIT_S, Command, Reply, Started, StartError, Webhook, arguments, start

MOMENT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
ID = "0123456789abcdef" * 2
TRIGGER = Trigger(
    id=ID, model="flights", version=3, manifest="sha256:" + "a" * 64, rule="prediction_drift", reason="it moved", features=("x",),
    evidence={"psi": 0.5}, window=Window(start=MOMENT, end=MOMENT, rows=9), proposer="s1", created=MOMENT,
)  # fmt: skip


class Receiver:
    """Answers with these replies, one after the other; keeps what it was sent."""

    def __init__(self, *replies: Reply | StartError) -> None:
        self.replies = list(replies)
        self.sent: list[tuple[str, dict[str, str], bytes]] = []

    def __call__(self, url: str, headers: dict[str, str], body: bytes) -> Reply:
        self.sent.append((url, dict(headers), body))
        reply = self.replies.pop(0)
        if isinstance(reply, StartError):
            raise reply
        return reply


def webhook(receiver: Receiver, **more: str) -> Webhook:
    return Webhook("https://jobs/", receiver, lambda message_id, body: {"webhook-id": message_id, "length": str(len(body))}, **more)  # type: ignore[arg-type]


def test_a_post_has_the_trigger_s_id_as_its_key() -> None:
    """In the header, as a structured string, and in the event; the signature is of what is sent."""
    receiver = Receiver(Reply(202))
    assert Started.NEW is webhook(receiver).start(TRIGGER)
    ((url, headers, body),) = receiver.sent
    assert ("https://jobs/", f'"{ID}"', ID, str(len(body))) == (url, headers["idempotency-key"], headers["webhook-id"], headers["length"])
    said = json.loads(body)
    assert ("1.0", ID, "tidegate.retrain.requested") == (said["specversion"], said["id"], said["type"])
    assert msgspec.convert(said["data"], Trigger) == TRIGGER


def test_airflow_is_asked_for_a_run_of_that_id() -> None:
    """No logical date, so that two triggers never share one."""
    receiver = Receiver(Reply(200))
    webhook(receiver, form="airflow").start(TRIGGER)
    assert {"dag_run_id": ID, "logical_date": None, "conf": {"trigger": ID, "model": "flights"}} == json.loads(receiver.sent[0][2])


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_a_success_has_started_it(status: int) -> None:
    """At the first attempt."""
    assert (Started.NEW, 1) == start(webhook(Receiver(Reply(status))), TRIGGER, tries=3, wait=_never)


def test_a_conflict_means_that_it_was_started_before() -> None:
    """That is no failure: an answer was lost."""
    receiver = Receiver(StartError("no answer within 1 s", again=True), Reply(409))
    assert (Started.BEFORE, 2) == start(webhook(receiver), TRIGGER, tries=3, wait=lambda _: None)
    assert receiver.sent[0] == receiver.sent[1]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422, 302])
def test_a_refusal_is_not_repeated(status: int) -> None:
    """Trying again is of no use."""
    receiver = Receiver(Reply(status))
    with pytest.raises(StartError, match=f"answered with status {status}"):
        start(webhook(receiver), TRIGGER, tries=3, wait=_never)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(status: int) -> None:
    """With growing pauses, never shorter than was asked for; the last one is said."""
    waits: list[float] = []
    receiver = Receiver(Reply(status), Reply(status, wait_s=30.0), Reply(status), Reply(status))
    with pytest.raises(StartError, match=f"answered with status {status}") as caught:
        start(webhook(receiver), TRIGGER, tries=4, wait=waits.append)
    assert ([1.0, 30.0, 4.0], True) == (waits, caught.value.again)


def test_pauses_have_a_bound() -> None:
    """However often it is tried."""
    waits: list[float] = []
    with pytest.raises(StartError):
        start(webhook(Receiver(*[Reply(503)] * 12)), TRIGGER, tries=12, wait=waits.append)
    assert (LONGEST_WAIT_S, sorted(waits)) == (max(waits), waits)


def _never(_: float) -> None:
    raise AssertionError("nothing is tried again")


def program(tmp_path: Path, text: str) -> str:
    """A command that runs this Python."""
    path = tmp_path / "start job.py"
    path.write_text(text)
    return f"{sys.executable} -S '{path}' one 'two words'"


def test_a_command_is_told_of_the_trigger(tmp_path: Path) -> None:
    """By its arguments as they are written, its environment, and a file with the whole trigger."""
    told = tmp_path / "told.json"
    text = program(
        tmp_path,
        "import json, os, sys\n"
        "own = {name: value for name, value in os.environ.items() if name.startswith('TIDEGATE_')}\n"
        f"json.dump([sys.argv[1:], own, json.load(open(own['TIDEGATE_TRIGGER']))], open({str(told)!r}, 'w'))\n",
    )
    assert (Started.NEW, 1) == start(Command(text, "s3://models/r", 60.0), TRIGGER, tries=1, wait=_never)
    words, environment, trigger = json.loads(told.read_text())
    assert ["one", "two words"] == words
    path = Path(environment.pop("TIDEGATE_TRIGGER"))
    assert {"TIDEGATE_TRIGGER_ID": ID, "TIDEGATE_MODEL": "flights", "TIDEGATE_REGISTRY": "s3://models/r"} == environment
    assert (msgspec.convert(trigger, Trigger), False) == (TRIGGER, path.exists())


def test_a_command_that_says_try_again_is_tried_again(tmp_path: Path) -> None:
    """75 once, then it is done."""
    mark = tmp_path / "mark"
    text = program(
        tmp_path, f"import os, sys\nseen = os.path.exists({str(mark)!r})\nopen({str(mark)!r}, 'w')\nsys.exit(0 if seen else 75)\n"
    )
    assert (Started.NEW, 2) == start(Command(text, "r", 60.0), TRIGGER, tries=3, wait=lambda _: None)


def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    """The end of what it wrote, on one line."""
    text = program(tmp_path, "import sys\nsys.stderr.write('a' * 400 + '\\nno such\\n queue')\nsys.exit(3)\n")
    with pytest.raises(StartError, match=r"the command ended with status 3: a+ no such queue$") as caught:
        start(Command(text, "r", 60.0), TRIGGER, tries=3, wait=_never)
    assert len(str(caught.value)) < 400


def test_a_command_that_does_not_end_is_ended(tmp_path: Path) -> None:
    """And may be tried again."""
    with pytest.raises(StartError, match=r"had not ended after 0.2 s") as caught:
        Command(program(tmp_path, "import sys\nsys.stdin.read()\nimport threading\nthreading.Event().wait()\n"), "r", 0.2).start(TRIGGER)
    assert caught.value.again


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "no words"), ("a 'b", "cannot be understood: no closing quotation"), ("/no/such/program", "cannot be run: No such file")],
)
def test_a_command_that_is_none_is_refused(text: str, reason: str) -> None:
    """Before anything is started, and not again."""
    with pytest.raises(StartError, match=reason) as caught:
        start(Command(text, "r", 1.0), TRIGGER, tries=3, wait=_never)
    assert not caught.value.again
    assert ["a", "b c"] == list(arguments("a 'b c'"))
