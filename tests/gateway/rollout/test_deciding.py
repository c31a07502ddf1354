"""Each rule of the machine, one look at a time."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.rollout import verbs
from gateway.rollout.directive import directive
from gateway.rollout.machine import Cause, Phase
from gateway.rollout.observation import Attempt, Outcome, Overall, Reading
from gateway.rollout.standing import Trip
from tests.gateway.rollout.play import CANDIDATE, OTHER, STABLE, Play
from tests.gateway.rollout.rolled import plan

ERRORS = Trip("errors", critical=True, sentence="errors are 3.1 times as many")
MIX = Trip("mix", critical=False, sentence="classes are others")
MOVED = {"outcome": Outcome(Attempt.MOVED), "champion": CANDIDATE}


def reading(play: Play, overall: Overall = Overall.PASS, units: int = 1_000, *trips: Trip, **more: Any) -> Reading:
    """Of the step that it is at."""
    return Reading(play.standing.step, overall, units, trips, **more)


def at_weight(until: dict[str, Any] | None = None, *more: dict[str, Any], **spec: Any) -> Play:
    """At 10 %, the first step."""
    play = Play(plan({"setWeight": 10, "until": until or {}}, *more, **spec))
    assert ["prepare", "ready"] == play.see()
    return play


class TestPreparing:
    """Before there is traffic."""

    def test_no_weight_before_both_are_ready(self) -> None:
        """However long that takes."""
        play = Play(plan())
        assert ["prepare"] == play.see(ready=False)
        assert [] == play.see(1e6, ready=False)
        assert (Phase.PREPARING, 0) == (play.standing.phase, directive(play.standing).weight)
        assert ["ready"] == play.see()

    def test_what_cannot_be_loaded_has_failed(self) -> None:
        """For good, with the reason."""
        play = Play(plan())
        play.see(ready=False)
        assert ["load_failed"] == play.see(ready=False, load_failure="it wants 90 GiB")
        assert (Phase.FAILED, "it wants 90 GiB", True) == (play.standing.phase, play.standing.reason, play.standing.final)

    def test_the_queue(self) -> None:
        """Stable is pinned once it is the first, as what serves then."""
        play = Play(plan(), admitted=False)
        assert [] == play.see(first=False, champion=STABLE)
        assert ["admit"] == play.see(champion=OTHER, ready=False)[:1]
        assert OTHER == play.standing.stable
        assert (3,) == play.entries[1].pins

    @pytest.mark.parametrize(
        ("made", "champion", "text"),
        [
            (plan(), CANDIDATE, "alias 'champion' stands for version 2 already"),
            (plan(stable={"version": 1}), OTHER, "alias 'champion' stands for version 3, and the plan compares with version 1"),
            (plan(stable={"version": 1}), None, "alias 'champion' stands for nothing, and the plan compares with version 1"),
        ],
    )
    def test_a_queue_that_took_too_long(self, made: Any, champion: Any, text: str) -> None:
        """What has lost its sense meanwhile does not begin."""
        play = Play(made, admitted=False)
        assert ["supersede"] == play.see(champion=champion)
        assert text == play.standing.reason

    def test_nothing_to_compare_with(self) -> None:
        """No champion: no steps, but readiness all the same; and nothing is kept warm after it."""
        play = Play(plan({"setWeight": 10}, {"approve": {}}), admitted=False)
        assert ["admit", "prepare"] == play.see(champion=None, ready=False)
        assert ["ready", "complete"] == play.see(champion=None)
        assert ["moved", "baked"] == play.see(**MOVED)
        failing = Play(plan(), stable=None, skip="initial")
        assert ["prepare", "load_failed"] == failing.see(load_failure="golden answers differ")

    def test_going_back_to_a_recent_champion(self) -> None:
        """No steps either; stable is kept warm."""
        play = Play(plan(), admitted=False)
        assert ["admit", "prepare", "ready", "complete"] == play.see(champion=STABLE, recent=True)
        assert ["moved"] == play.see(**MOVED)
        assert "window" == play.standing.skip


class TestVerdicts:
    """What leads on, and what does not."""

    @pytest.mark.parametrize("overall", [Overall.INCONCLUSIVE, Overall.NO_DATA, Overall.ERROR, Overall.FAIL])
    def test_only_pass_leads_on(self, overall: Overall) -> None:
        """However many units, however long."""
        play = at_weight()
        assert [] == play.see(1e7, reading=reading(play, overall, 10**9))

    def test_pass_wants_units_time_and_readiness(self) -> None:
        """All of them."""
        play = at_weight({"min_units": 500, "min_duration": "60s"})
        assert [] == play.see(59, reading=reading(play))
        assert [] == play.see(1, reading=reading(play, Overall.PASS, 499))
        assert [] == play.see(ready=False, reading=reading(play))
        assert [] == play.see(reading=None)
        assert [] == play.see(reading=Reading(1, Overall.PASS, 1_000)), "of another step"
        assert ["pass", "complete"] == play.see(reading=reading(play))

    @pytest.mark.parametrize(
        ("overall", "on_inconclusive", "events", "cause"),
        [
            (Overall.INCONCLUSIVE, "pause", ["pause"], Cause.INCONCLUSIVE),
            (Overall.ERROR, "pause", ["pause"], Cause.INCONCLUSIVE),
            (Overall.NO_DATA, "pause", ["pause"], Cause.NO_DATA),
            (Overall.NO_DATA, "rollback", ["fail"], None),
            (Overall.INCONCLUSIVE, "rollback", ["fail"], None),
            (Overall.INCONCLUSIVE, "hold", ["hold"], None),
        ],
    )
    def test_no_verdict_in_time(self, overall: Overall, on_inconclusive: str, events: list[str], cause: Cause | None) -> None:
        """As the plan says; a rollout that holds may pass later, and says only once that it holds."""
        play = at_weight({"max_duration": "100s", "on_inconclusive": on_inconclusive})
        assert [] == play.see(99, reading=reading(play, overall))
        assert events == play.see(1, reading=reading(play, overall, sentence="39 of 500 units"))
        assert cause is play.standing.cause
        assert "no verdict after 100s: 39 of 500 units" == play.standing.reason
        assert 1_000 == directive(play.standing).weight or on_inconclusive == "rollback"
        if on_inconclusive == "hold":
            assert [] == play.see(1e6, reading=reading(play, overall))
            assert ["pass", "complete"] == play.see(reading=reading(play))

    def test_time_alone(self) -> None:
        """Where the plan wants no verdict; what fails is heard all the same."""
        play = at_weight({"verdict": None, "min_duration": "10s", "max_duration": "90s"}, {"setWeight": 20})
        assert [] == play.see(9, reading=reading(play, Overall.NO_DATA, 0))
        assert ["timer"] == play.see(1, reading=reading(play, Overall.NO_DATA, 0))
        longest = at_weight({"verdict": None, "max_duration": "90s"})
        assert [] == longest.see(89)
        assert ["trip", "fail"] == longest.see(1, reading=reading(longest, Overall.FAIL, 9, ERRORS))

    def test_a_failure_is_written_at_once_and_for_good(self) -> None:
        """Also where the next look sees nothing of it."""
        play = at_weight({"on_fail": "pause"})
        assert ["trip", "pause"] == play.see(reading=reading(play, Overall.FAIL, 10, ERRORS, MIX))
        assert ("errors are 3.1 times as many; classes are others", Cause.FAILED) == (play.standing.reason, play.standing.cause)
        assert [] == play.see(1e6, reading=reading(play))
        assert play.do(lambda standing: verbs.resume(standing, "known", accept_evidence=True))
        assert [] == play.see(reading=reading(play, Overall.INCONCLUSIVE, 10, ERRORS, MIX))
        assert ["pass", "complete"] == play.see(reading=reading(play))

    def test_one_that_is_not_critical_pauses(self) -> None:
        """Whatever `on_fail` says; a critical one in that pause is heard."""
        play = at_weight({"on_fail": "rollback"})
        assert ["trip", "pause"] == play.see(reading=reading(play, Overall.INCONCLUSIVE, 10, MIX))
        assert 0 == directive(play.standing).weight
        assert [] == play.see(reading=reading(play, Overall.FAIL, 10, MIX))
        assert ["trip", "fail"] == play.see(reading=reading(play, Overall.FAIL, 10, MIX, ERRORS))

    def test_a_split_that_is_none(self) -> None:
        """Nothing is concluded from it; whoever accepts it goes on."""
        play = at_weight()
        assert ["pause"] == play.see(reading=reading(play, Overall.INVALID, invalid="the batcher loses 4 % of the candidate's"))
        assert (Cause.INVALID, 0) == (play.standing.cause, directive(play.standing).weight)
        assert [] == play.see(reading=reading(play))
        assert play.do(lambda standing: verbs.resume(standing, "a proxy was mended", accept_evidence=True))
        assert ["pass", "complete"] == play.see(reading=reading(play, invalid="still"))

    @pytest.mark.parametrize("where", ["step", "paused", "promoting", "baking"])
    @pytest.mark.parametrize("how", ["fast", "load_failure"])
    def test_a_crash_is_no_matter_of_statistics(self, where: str, how: str) -> None:
        """Back at once, whatever the plan says about failures."""
        play = at_weight({"on_fail": "pause", "min_units": 0})
        if where == "paused":
            play.do(lambda standing: verbs.pause(standing, "", play.now_s))
        if where in {"promoting", "baking"}:
            play.see(reading=reading(play))
        if where == "baking":
            play.see(**MOVED)
        assert where == play.standing.phase.value
        seen: dict[str, Any] = {"load_failure": "it died"} if how == "load_failure" else {"reading": reading(play, fast="it died")}
        assert ["fast"] == play.see(**seen)
        assert ("it died", 0) == (play.standing.reason, directive(play.standing).weight)
        assert ["rolled"] == play.see(outcome=Outcome(Attempt.UNDONE, "the alias is back"))
        assert Phase.ROLLED_BACK is play.standing.phase

    def test_a_failure_while_the_alias_is_moved_or_after(self) -> None:
        """A critical one takes it back; another is only written."""
        for outcome in ({}, MOVED):
            play = at_weight({"min_units": 0})
            play.see(reading=reading(play))
            play.see(**outcome)
            assert ["trip"] == play.see(reading=reading(play, Overall.FAIL, 5, MIX), **({"champion": CANDIDATE} if outcome else {}))
            assert ["trip", "fail"] == play.see(reading=reading(play, Overall.FAIL, 5, MIX, ERRORS))


class TestTimers:
    """Time that is not a step's own."""

    def test_they_stand_still_in_a_pause(self) -> None:
        """Hours of it bring no step nearer to its end."""
        play = at_weight({"max_duration": "100s"})
        play.now_s += 60
        assert play.do(lambda standing: verbs.pause(standing, "", play.now_s))
        assert [] == play.see(1e5, reading=reading(play, Overall.INCONCLUSIVE))
        assert 60.0 == play.standing.elapsed_s(play.now_s)
        assert play.do(lambda standing: verbs.resume(standing, "", accept_evidence=False))
        assert [] == play.see(39, reading=reading(play, Overall.INCONCLUSIVE))
        assert ["pause"] == play.see(1, reading=reading(play, Overall.INCONCLUSIVE))

    def test_a_clock_that_goes_back_takes_nothing(self) -> None:
        """And brings nothing."""
        play = at_weight({"min_duration": "60s", "min_units": 0})
        assert [] == play.see(-1e6, reading=reading(play))
        play.do(lambda standing: verbs.pause(standing, "", play.now_s))
        play.do(lambda standing: verbs.resume(standing, "", accept_evidence=False))
        assert [] == play.see(59, reading=reading(play))
        assert ["pass", "complete"] == play.see(1, reading=reading(play))

    def test_a_pause_of_the_plan(self) -> None:
        """For a time, or until somebody resumes; the weight stays."""
        play = at_weight({"min_units": 0}, {"pause": {"duration": "10m"}}, {"pause": {}}, {"setWeight": 50})
        assert ["pass"] == play.see(reading=reading(play))
        assert [] == play.see(599)
        assert ["timer", "pause"] == play.see(1)
        assert (Cause.PLAN, 1_000, 2) == (play.standing.cause, directive(play.standing).weight, play.standing.step)
        assert [] == play.see(1e6)
        assert play.do(lambda standing: verbs.resume(standing, "", accept_evidence=False))
        assert (3, 5_000) == (play.standing.step, directive(play.standing).weight)

    def test_how_long_stable_is_kept_warm(self) -> None:
        """From when the alias was moved."""
        play = at_weight({"min_units": 0}, keep_stable_warm="5m")
        play.see(reading=reading(play))
        play.see(1_000, **MOVED)
        assert [] == play.see(299)
        assert ["baked"] == play.see(1)


class TestApprovals:
    """People who agree."""

    def test_so_many_of_them(self) -> None:
        """Then it goes on, at the weight of the step before."""
        play = at_weight({"min_units": 0}, {"approve": {"count": 2}})
        play.see(reading=reading(play))
        assert play.do(lambda standing: verbs.approve(standing, "bob", ""), "bob")
        assert [] == play.see(1e6)
        assert play.do(lambda standing: verbs.approve(standing, "cas", ""), "cas")
        assert 1_000 == directive(play.standing).weight
        assert ["approved", "complete"] == play.see()
        assert "approved by bob, cas" == play.entries[-2].reason

    @pytest.mark.parametrize(("on_timeout", "events"), [("rollback", ["fail"]), ("pause", ["pause"])])
    def test_too_late(self, on_timeout: str, events: list[str]) -> None:
        """As the plan says; after a pause there is the whole time again."""
        play = Play(plan({"approve": {"count": 2, "timeout": "1h", "on_timeout": on_timeout}}))
        play.see()
        play.do(lambda standing: verbs.approve(standing, "bob", ""), "bob")
        assert [] == play.see(3_599)
        assert events == play.see(1)
        assert "1 of 2 approvals after 1h" == play.standing.reason
        if on_timeout == "pause":
            assert play.do(lambda standing: verbs.resume(standing, "", accept_evidence=False))
            assert [] == play.see(3_599)


class TestOthers:
    """What others do meanwhile."""

    @pytest.mark.parametrize("seen", [{"champion": OTHER}, {"champion": None}, {"champion": CANDIDATE}, {"replaced_by": "m-2"}])
    @pytest.mark.parametrize("phase", ["preparing", "step", "paused"])
    def test_the_alias_is_moved_or_another_takes_the_place(self, seen: dict[str, Any], phase: str) -> None:
        """It is over: all traffic goes where the alias says."""
        play = Play(plan())
        play.see(ready=phase != "preparing")
        if phase == "paused":
            play.do(lambda standing: verbs.pause(standing, "", play.now_s))
        assert phase == play.standing.phase.value
        assert ["supersede"] == play.see(**seen)
        assert play.standing.reason in {
            "alias 'champion' was moved meanwhile: it stands for version 3, not for version 1",
            "alias 'champion' was moved meanwhile: it stands for nothing, not for version 1",
            "alias 'champion' was moved meanwhile: it stands for version 2, not for version 1",
            "rollout m-2 takes its place",
        }

    def test_while_it_is_promoted(self) -> None:
        """Another waits; an alias that somebody moved is left alone, and this rollout's own move must never come."""
        play = at_weight({"min_units": 0})
        play.see(reading=reading(play))
        assert [] == play.see(replaced_by="m-2")
        assert ["displace"] == play.see(outcome=Outcome(Attempt.ELSEWHERE, "it stands for version 3"))
        assert [] == play.see(outcome=Outcome(Attempt.REFUSED, "the policy cannot be read"))
        assert ["replaced"] == play.see(outcome=Outcome(Attempt.UNDONE))
        assert Phase.SUPERSEDED is play.standing.phase

    def test_while_stable_is_kept_warm(self) -> None:
        """Moved on by somebody: it is over, without a mark for the version."""
        play = at_weight({"min_units": 0})
        play.see(reading=reading(play))
        play.see(**MOVED)
        assert [] == play.see(replaced_by="m-2")
        assert ["displace"] == play.see(champion=OTHER)

    def test_a_policy_that_refuses(self) -> None:
        """Paused with what is missing; resumed, it is tried again."""
        play = at_weight({"min_units": 0})
        play.see(reading=reading(play))
        assert ["pause"] == play.see(outcome=Outcome(Attempt.REFUSED, "it has 0 of 1 approvals"))
        assert (Cause.POLICY, "it has 0 of 1 approvals", 1_000) == (
            play.standing.cause,
            play.standing.reason,
            directive(play.standing).weight,
        )
        assert ["displace"] == Play.see(_copied(play), champion=OTHER)
        assert play.do(lambda standing: verbs.resume(standing, "", accept_evidence=False))
        assert ["complete"] == play.see()
        assert ["moved"] == play.see(**MOVED)


def _copied(play: Play) -> Play:
    """As far as it has come."""
    other = Play(play.plan)
    other.entries, other.now_s = list(play.entries), play.now_s
    return other
