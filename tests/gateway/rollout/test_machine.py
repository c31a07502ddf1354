"""The table of transitions, what replaying a journal gives and refuses, and what servers are asked to do in each phase."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.rollout import verbs
from gateway.rollout.deciding import said
from gateway.rollout.directive import Mode, directive, pinned
from gateway.rollout.events import slo_s
from gateway.rollout.machine import FINAL, TABLE, Cause, Event, IllegalTransitionError, Phase, after, diagram
from gateway.rollout.observation import Attempt, Outcome, Overall, Reading
from gateway.rollout.standing import Trip, fold
from gateway.rollout.waiting import span, waiting
from registry.errors import RegistryError
from tests.gateway.rollout.play import CANDIDATE, STABLE, Play
from tests.gateway.rollout.rolled import plan

PAGE = Path(__file__).parents[3] / "docs" / "rollout-machine.md"
SHADOW = {"shadow": {"percent": 50.0, "max_qps": 20.0}}
WEIGHT = {"setWeight": 10}
PASSED = {"outcome": Outcome(Attempt.MOVED), "champion": CANDIDATE}


def passed(play: Play, units: int = 1_000) -> Reading:
    """What a good step reads."""
    return Reading(play.standing.step, Overall.PASS, units)


def text_of(deed: Callable[[], object]) -> str:
    """What a deed is refused with."""
    with pytest.raises(RegistryError) as caught:
        deed()
    return f"{caught.value.kind.value}: {caught.value.message}"


def test_the_diagram_is_drawn_from_the_table() -> None:
    """And every phase and event is explained beside it."""
    (drawn,) = re.findall(r"^```mermaid\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert diagram() == drawn, 'run: python -c "from gateway.rollout.machine import diagram; print(diagram())"'
    text = PAGE.read_text()
    assert [] == [phase.value for phase in Phase if f"**{phase.value}**" not in text]
    assert [] == [event.value for event in Event if f"`{event.value}`" not in text]


def test_nothing_follows_what_is_over_and_something_ends_everything() -> None:
    """No arrow leaves a final phase; from every other one a final phase can be reached."""
    assert set() == {phase for phase, _ in TABLE} & FINAL
    leads = {phase: {after_ for (before, _), after_ in TABLE.items() if before is phase} for phase in Phase}
    for phase in set(Phase) - FINAL:
        reached, todo = set[Phase](), {phase}
        while todo:
            reached |= todo
            todo = {further for known in todo for further in leads[known]} - reached
        assert reached & FINAL
    with pytest.raises(IllegalTransitionError, match="'moved' cannot happen in phase step"):
        after(Phase.STEP, Event.MOVED)


class TestReplay:
    """What a journal may say."""

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            (
                {"event": "moved", "to_phase": "baking"},
                "damaged: entry 4 of rollout m-1: 'moved' cannot happen in phase preparing",
            ),
            ({"event": "teleport"}, "unsupported: entry 4 of rollout m-1 says 'teleport', which this release does not know"),
            ({"to_phase": "baking"}, "damaged: entry 4 of rollout m-1 leads from preparing to baking, where 'ready' leads to step"),
            ({"final": True}, "damaged: entry 4 of rollout m-1 leads from preparing to step, where 'ready' leads to step"),
            ({"step": 3}, "damaged: entry 4 of rollout m-1 speaks of step 3, and the plan has 2"),
            ({"step": 1}, "damaged: entry 4 of rollout m-1 begins with step 1"),
        ],
    )
    def test_what_no_writer_of_ours_would_write(self, change: dict[str, Any], text: str) -> None:
        """It is damage with the number of the entry, never a state."""
        play = Play(plan(SHADOW, WEIGHT))
        assert ["prepare", "ready"] == play.see()
        entries = [*play.entries[:3], msgspec.structs.replace(play.entries[3], **change)]
        assert text == text_of(lambda: fold(play.plan, entries))

    def test_details_that_are_none(self) -> None:
        """A pin without a digest; a step that is jumped over; the same person twice."""
        play = Play(plan(WEIGHT, {"approve": {}}))
        play.see()
        first = msgspec.structs.replace(play.entries[0], details={"plan": "x"})
        assert text_of(lambda: fold(play.plan, [first])).startswith("damaged: entry 1 of rollout m-1 has details that are none")
        play.see(reading=passed(play))
        jumped = msgspec.structs.replace(play.entries[-1], step=2)
        assert "damaged: entry 5 of rollout m-1 leads from step 0 to step 2" == text_of(
            lambda: fold(play.plan, [*play.entries[:-1], jumped])
        )
        play.do(lambda standing: verbs.approve(standing, "bob", ""), "bob")
        twice = [*play.entries, msgspec.structs.replace(play.entries[-1], seq=7)]
        assert "damaged: entry 7 of rollout m-1: 'bob' approves a second time" == text_of(lambda: fold(play.plan, twice))
        assert "damaged: a rollout without any entry has no standing" == text_of(lambda: fold(play.plan, []))

    def test_steps_end_in_order(self) -> None:
        """Promotion is not a way around them."""
        play = Play(plan(SHADOW, WEIGHT))
        play.see()
        assert text_of(lambda: play.add(said(play.standing, Event.COMPLETE, "")) or play.standing).endswith("ends the steps at step 0 of 2")


class TestDirective:
    """What every server does."""

    def test_phase_by_phase(self) -> None:
        """From the queue to the end of the bake."""
        play = Play(plan(SHADOW, WEIGHT, {"pause": {"duration": "10s"}}), admitted=False)
        seen = []

        def note() -> None:
            asked = directive(play.standing)
            seen.append((asked.mode, asked.weight, asked.isolated))

        note()
        for options in (
            {"ready": False, "champion": STABLE},
            {},
            {"reading": Reading(0, Overall.PASS, 1_000)},
            {"reading": Reading(1, Overall.PASS, 1_000)},
            {"seconds": 10.0},
            PASSED,
            {"seconds": 60.0},
        ):
            play.see(**options)
            note()
        assert [
            (Mode.OVER, 0, True),
            (Mode.HOLD, 0, True),
            (Mode.SHADOW, 0, True),
            (Mode.CANARY, 1_000, False),  # its shadow is over
            (Mode.CANARY, 1_000, False),  # a pause keeps the weight
            (Mode.CANARY, 1_000, False),
            (Mode.BAKE, 10_000, False),
            (Mode.OVER, 0, False),
        ] == seen
        assert "succeeded" == play.standing.phase.value

    def test_what_it_says(self) -> None:
        """Everything that workers need, of the plan and of the journal."""
        metrics = [
            {"name": "slo", "type": "rate", "event": "latency_ms > 50"},
            {"name": "late", "type": "rate", "event": "latency_ms>7.5"},
            {"name": "errors", "type": "rate", "event": "server_error"},
            {"name": "same", "type": "agreement", "tolerance": {"atol": 0.5, "rtol": 0.0}},
        ]
        play = Play(plan(SHADOW, unit={"from": ["header:x-user"]}, analysis={"metrics": metrics, "sample": 0.25}, fallback="none"))
        play.see()
        asked = directive(play.standing)
        assert ("m-1", "m", "0" * 32, 0) == (asked.rollout, asked.model, asked.salt, asked.step)
        assert (1, 2, STABLE.manifest, CANDIDATE.manifest) == (
            asked.stable,
            asked.candidate,
            asked.stable_manifest,
            asked.candidate_manifest,
        )
        assert (50.0, 20.0, 0.3) == (asked.shadow_percent, asked.shadow_qps, asked.shadow_share)
        assert (("header:x-user",), 0.25, (0.0075, 0.05), 0.5, 0.0) == (
            asked.unit_sources,
            asked.sample,
            asked.slo_s,
            asked.atol,
            asked.rtol,
        )
        assert not asked.fallback
        assert () == slo_s(plan())

    def test_without_a_shadow_it_runs_in_a_process_of_its_own(self) -> None:
        """Unless the plan or its past says otherwise; a shadow does always."""
        assert [True, False, False] == [
            directive(play.standing).isolated for play in (Play(plan()), Play(plan(inline=True)), Play(plan(), skip="window"))
        ]
        play = Play(plan(SHADOW, inline=True))
        play.see()
        assert directive(play.standing).isolated

    def test_no_champion(self) -> None:
        """Nothing is pinned as stable."""
        play = Play(plan(), stable=None, skip="initial")
        asked = directive(play.standing)
        assert (0, "", Mode.OVER) == (asked.stable, asked.stable_manifest, asked.mode)
        assert ["candidate"] == [arm.name for arm in pinned(play.standing)]

    def test_arms(self) -> None:
        """Of an A/B, with their shares."""
        arms = [{"name": "small", "version": 2, "weight": 10}, {"name": "large", "version": 3, "weight": 25}]
        made = plan(candidate=2)
        strategy = msgspec.convert({"ab": {"arms": arms, "duration": "60s"}}, type(made.spec.strategy))
        made = msgspec.structs.replace(made, spec=msgspec.structs.replace(made.spec, candidate=None, strategy=strategy))
        play = Play(made)
        play.see()
        asked = directive(play.standing)
        assert (Mode.CANARY, 3_500, (("small", 2, 1_000), ("large", 3, 2_500))) == (asked.mode, asked.weight, asked.arms)
        assert ["stable", "small", "large"] == [arm.name for arm in pinned(play.standing)]
        assert [] == play.see(59, reading=passed(play))
        assert ["conclude"] == play.see(1, reading=passed(play))
        assert Phase.CONCLUDED is play.standing.phase

    def test_nothing_goes_to_what_has_failed(self) -> None:
        """From the moment of the entry on, though the pause would keep the weight for other causes."""
        for cause in Cause:
            assert cause.keeps_traffic == (cause not in {Cause.FAILED, Cause.INVALID})
        play = Play(plan({"setWeight": 10, "until": {"on_fail": "pause"}}))
        play.see()
        play.see(reading=Reading(0, Overall.FAIL, 10, (Trip("errors", True, "worse"),)))
        assert (Phase.PAUSED, Mode.HOLD, 0) == (play.standing.phase, (asked := directive(play.standing)).mode, asked.weight)
        play.do(lambda standing: verbs.resume(standing, "seen", accept_evidence=True))
        assert 1_000 == directive(play.standing).weight


def test_what_it_waits_for() -> None:
    """A sentence for every phase that is not over."""
    steps = ({"setWeight": 5, "until": {"min_duration": "90s"}}, {"pause": {"duration": "1h"}}, {"approve": {"count": 2}})
    play = Play(plan(*steps), admitted=False)
    said_ = [waiting(play.standing, play.now_s)]

    def look(seconds: float = 0.0, **seen: Any) -> None:
        play.see(seconds, **seen)
        said_.append(waiting(play.standing, play.now_s))

    look(ready=False, champion=STABLE)
    look()
    look(30)
    look(60, reading=Reading(0, Overall.INCONCLUSIVE, 10))
    look(reading=passed(play))
    look(3_600)
    play.do(lambda standing: verbs.pause(standing, "", play.now_s))
    look()
    play.do(lambda standing: verbs.resume(standing, "", accept_evidence=False))
    play.do(lambda standing: verbs.approve(standing, "bob", ""), "bob")
    look()
    play.do(lambda standing: verbs.approve(standing, "cas", ""), "cas")
    look(ready=False)
    look()
    look(outcome=Outcome(Attempt.MOVED), champion=CANDIDATE)
    look(60)
    assert [
        "the rollouts before it",
        "both versions to be ready",
        "at least 1 min 30 s more",
        "at least 1 min more",
        "a verdict",
        "1 h to go by",
        "2 more approvals",
        "somebody to resume, or to abort",
        "1 more approval",
        "both versions to be ready",
        "the alias to be moved",
        "1 min in which stable is kept warm",
        "",
    ] == said_
    assert ["0 s", "59 s", "1 h", "2 d 3 h"] == [span(0), span(59.4), span(3601), span(2 * 86400 + 3 * 3600 + 59)]
