"""`tidegate rollout` verbs on a registry: what each prints, and the exit codes that a pipeline goes by."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.client import CallError
from gateway.commands import rollout_target, rollout_view, rollout_waiting
from gateway.commands.output import Exit, UsageError
from gateway.commands.place import user
from gateway.commands.rollout_waiting import LOOK_S, Waited, looks, patience_s
from gateway.errors import Code
from gateway.rollout.analysis import GOOD, analysis, outcome
from gateway.rollout.machine import FINAL, Phase
from gateway.rollout.observation import Overall
from gateway.rollout.status import Status
from tests.gateway.commands.console import done, failed, parsed, run
from tests.gateway.control.counter import YAML
from tests.gateway.rollout.rolled import Clock, registry
from tests.gateway.rollout.world import Said, World
from tests.gateway.serving.serving_fakes import FakeLoop

WHEN_S = 1_900_000_000.0  # later than any clock of a machine that runs this


class Place:
    """A registry in a folder, and a server that decides about its rollouts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "r"
        self.store = registry(self.folder)
        self.plan = folder / "plan.yaml"
        self.plan.write_bytes(YAML)
        self.world = World(self.store, clock=Clock(WHEN_S), said=Said(overall=Overall.NO_DATA))

    def apply(self) -> None:
        done("rollout", "apply", self.plan, "-r", self.folder, "--actor", "ann", "--reason", "new")

    def run(self, *arguments: object) -> str:
        return done("rollout", *arguments, "-r", self.folder)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# --- verbs -------------------------------------------------------------------------------------------------------------------------


def test_a_plan_is_applied_once(place: Place) -> None:
    """The user does it, unless somebody is named; the second time says so."""
    assert place.run("apply", place.plan).startswith("m-1: admitted, NO_DATA")
    assert user() == parsed("rollout", "status", "m", "-r", place.folder)["starter"]
    assert place.run("apply", place.plan).endswith("; as before\n")
    again = parsed("rollout", "apply", place.plan, "-r", place.folder)
    assert (False, "m-1") == (again["new"], again["status"]["id"])


def test_verbs_do_what_they_say(place: Place) -> None:
    """With who and why in the journal."""
    place.apply()
    place.world.tick()
    assert place.run("pause", "m-1", "--actor", "cas", "--reason", "lunch").startswith("m-1: paused (operator), NO_DATA: lunch")
    assert place.run("pause", "m", "--actor", "cas").endswith("; as before\n")
    assert place.run("resume", "m", "--actor", "cas", "--reason", "back").startswith("m-1: step")
    assert 1 == parsed("rollout", "promote", "m", "-r", place.folder, "--reason", "sure", "--step", "0")["status"]["step"]
    assert place.run("approve", "m", "--actor", "bea").startswith("m-1: step")
    assert place.run("abort", "m", "--actor", "cas", "--reason", "no").startswith("m-1: rolling back")
    events = [
        (entry["event"], entry["actor"], entry["reason"]) for entry in parsed("rollout", "history", "m", "-r", place.folder)["entries"]
    ]
    assert {
        ("pause", "cas", "lunch"),
        ("resume", "cas", "back"),
        ("advance", user(), "sure"),
        ("approval", "bea", ""),
        ("abort", "cas", "no"),
    } <= set(events)
    text = place.run("history", "m")
    assert "step -> paused" in text
    assert "lunch" in text


def test_status_says_what_it_waits_for(place: Place) -> None:
    """A screen for people, a document for programs."""
    place.apply()
    place.world.tick()
    text = place.run("status", "m")
    for part in ("m-1: step, NO_DATA", "[##..................] 10 % of the traffic, step 1 of 2 (setWeight)", "stable: version 1, 90 %",
                 "candidate: version 2, 10 %", "waits for", "by ann"):  # fmt: skip
        assert part in text, text
    assert "setWeight" == parsed("rollout", "status", "m-1", "-r", place.folder)["step_kind"]
    place.run("promote", "m", "--reason", "sure")
    place.run("approve", "m", "--actor", "bea")
    assert "approvals: 1 of 1 (bea)" in place.run("status", "m")


def test_lists_are_of_what_is_open(place: Place) -> None:
    """Or of all."""
    place.apply()
    assert "m-1" in place.run("list")
    place.run("abort", "m", "--reason", "no")
    counts = [len(parsed("rollout", "list", *more, "-r", place.folder)) for more in ((), ("--all",), ("n", "--all"))]
    assert [0, 1, 0] == counts


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["status", "m-9"], Exit.REGISTRY, "not_found: there is no rollout m-9"),
        (["status", "nope"], Exit.REGISTRY, "not_found: there is no rollout"),
        (["abort", "m"], Exit.USAGE, "abort wants a reason"),
        (["pause", "m"], Exit.REGISTRY, "conflict: rollout m-1 is admitted"),
        (["approve", "m", "--actor", "bea"], Exit.REGISTRY, "conflict: rollout m-1 is admitted"),
        (["pause", "m", "--actor", "x" * 300], Exit.REGISTRY, "invalid_name: actor must be"),
        (["status", "m", "--wait", "--within", "soon"], Exit.USAGE, "--within: expected a duration such as 90s, 30m or 6h, got 'soon'"),
        (["status", "m", "--server", "h:1"], Exit.USAGE, "of a registry or of a server, not both"),
        (["status", "m", "--ca", "/x"], Exit.USAGE, "of a registry or of a server, not both"),
        (["apply", "/nope.yaml"], Exit.USAGE, "/nope.yaml: No such file"),
    ],
)
def test_what_goes_wrong_is_one_sentence(place: Place, arguments: list[str], code: Exit, text: str) -> None:
    """And the code of its kind."""
    place.apply()
    assert text in failed(code, "rollout", *arguments, "-r", place.folder)


def test_a_plan_with_mistakes_names_its_file_and_lines(place: Place) -> None:
    """All of them."""
    place.plan.write_bytes(YAML.replace(b"setWeight", b"setWeigth").replace(b"critical: true", b"critical: yes"))
    text = failed(Exit.USAGE, "rollout", "apply", place.plan, "-r", place.folder)
    assert 2 <= text.count(f"{place.plan}:")


def test_a_registry_that_is_none_is_named(tmp_path: Path) -> None:
    """As every command does."""
    assert f"{tmp_path}: " in failed(Exit.REGISTRY, "rollout", "list", "-r", tmp_path)
    assert "--option: belongs to --registry" in failed(Exit.USAGE, "rollout", "list", "--option", "a=b")
    assert "UNAVAILABLE: http://127.0.0.1:1" in failed(Exit.UNREACHABLE, "rollout", "list", "--server", "127.0.0.1:1")


# --- waiting -----------------------------------------------------------------------------------------------------------------------


def _succeed(place: Place) -> None:
    place.world.said.overall = Overall.PASS
    place.world.tick()
    place.run("approve", "m", "--actor", "bea")
    place.world.run()


def _roll_back(place: Place) -> None:
    place.world.said.fast = "a crash"
    place.world.run()


def _pause(place: Place) -> None:
    place.run("pause", "m")


def _nothing(_: Place) -> None:
    pass


@pytest.mark.parametrize(
    ("deed", "code"), [(_succeed, Waited.GOOD), (_roll_back, Waited.BAD), (_pause, Waited.STOPPED), (_nothing, Waited.LATE)]
)
@pytest.mark.parametrize("option", ["--wait", "--watch"])
def test_pipelines_learn_how_it_ended(place: Place, deed: Callable[[Place], None], code: Waited, option: str) -> None:
    """By the exit code, after the last status."""
    place.apply()
    place.world.tick()
    deed(place)
    words = ("status", "m", option, "--within", "0s", "-r", place.folder)
    result = run("rollout", *words)
    assert code == result.exit_code, result.output
    assert "m-1: " in result.stdout
    one = run("rollout", *words, "--json")
    assert (code, "m-1") == (one.exit_code, json.loads(one.stdout)["id"])


def test_apply_may_wait_too(place: Place) -> None:
    """In one step of a pipeline."""
    result = run("rollout", "apply", place.plan, "--wait", "--within", "0s", "-r", place.folder)
    assert (Waited.LATE, True) == (result.exit_code, "m-1: admitted" in result.stdout)


def status_of(place: Place) -> Status:
    return place.world.operations.status("m")


class Looked:
    """Statuses one after the other; errors are raised. Time passes where somebody sleeps."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.clock = FakeLoop()

    def look(self) -> Status:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        found: Status = answer
        return found

    def all(self, patience: float = float("inf"), *, through_pauses: bool = False) -> list[Status]:
        return list(looks(self.look, clock=self.clock, sleep=self.clock.advance, patience_s=patience, through_pauses=through_pauses))


def test_looks_go_on_until_it_is_over_or_paused(place: Place) -> None:
    """Once a second; a live view goes on through pauses."""
    place.apply()
    place.world.tick()
    open_ = status_of(place)
    place.run("pause", "m")
    paused = status_of(place)
    place.run("abort", "m", "--reason", "x")
    place.world.run()
    over = status_of(place)
    looked = Looked(open_, open_, paused, over)
    begun = looked.clock.time
    assert [open_, open_, paused] == looked.all()
    assert 2 * LOOK_S == looked.clock.time - begun
    assert [open_, paused, over] == Looked(open_, paused, over).all(through_pauses=True)
    assert [over] == Looked(over).all()


def test_looks_end_with_somebodys_patience(place: Place) -> None:
    """To the moment, with a last look."""
    place.apply()
    looked = Looked(status_of(place))
    begun = looked.clock.time
    assert 4 == len(looked.all(2.5))
    assert 2.5 == looked.clock.time - begun


def test_a_server_that_is_away_for_a_moment_is_asked_again(place: Place) -> None:
    """Not where it never was there, not for what it refuses, and not past the patience."""
    place.apply()
    open_ = status_of(place)
    place.run("abort", "m", "--reason", "x")
    over = status_of(place)
    away = CallError(Code.UNAVAILABLE, "gone", status="unreachable")
    assert [open_, over] == Looked(open_, away, away, over).all()
    for answers in ((away, over), (open_, CallError(Code.NOT_FOUND, "x", status="HTTP 404")), (open_, away)):
        with pytest.raises(CallError):
            Looked(*answers).all(5.0)


def test_durations_are_those_of_plans() -> None:
    """Nothing is for ever."""
    assert [float("inf"), 90.0, 1_800.0] == [patience_s(text) for text in (None, "90s", "30m")]
    for text in ("", "1", "-1s", "1.5h", "1 h"):
        with pytest.raises(UsageError):
            patience_s(text)


def test_every_phase_has_an_outcome_and_a_verdict(place: Place) -> None:
    """No end is silent; nothing but the end of the steps is a PASS."""
    place.apply()
    status = status_of(place)
    for phase in Phase:
        one = msgspec.structs.replace(status, phase=phase.value, final=phase in FINAL)
        expected = Waited.LATE if phase not in FINAL else Waited.GOOD if phase.value in GOOD else Waited.BAD
        expected = Waited.STOPPED if phase is Phase.PAUSED else expected
        assert expected == rollout_waiting.code_of(one), phase
        assert (phase in (Phase.PROMOTING, Phase.BAKING, Phase.SUCCEEDED)) == analysis(one).ok, phase
        assert list(rollout_view.lines(one))
        assert outcome(one)


# --- who acts ----------------------------------------------------------------------------------------------------------------------


def test_a_credential_says_who_acts(tmp_path: Path) -> None:
    """Where there is one, nobody is named unless somebody says so."""
    target = rollout_target.Target(
        registry=None, option=None, server=None, timeout=1.0, ca=None, cert=None, key=None, token_file=tmp_path / "token"
    )
    assert ("", "ann") == (target.actor(None), target.actor("ann"))
