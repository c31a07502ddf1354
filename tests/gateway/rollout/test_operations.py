"""The verbs: what they append, what they refuse and with which words, and that doing them twice is doing them once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.errors import TidegateError
from gateway.rollout.observation import Overall
from gateway.rollout.plan import Plan
from gateway.rollout.standing import Trip
from registry.errors import RegistryError
from registry.rollouts import Rollouts
from tests.gateway.rollout.rolled import BY_ANN, Clock, move, operations, plan, registry
from tests.gateway.rollout.world import World

NOW_STEP = {"setWeight": 10, "until": {"min_units": 0, "max_duration": "60s"}}
ERRORS = Trip("errors", critical=True, sentence="errors are 3.1 times as many")


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Versions 1 to 3 of m by pat; 1 is champion. Nothing is concluded yet."""
    world = World(registry(tmp_path / "registry"))
    world.said.overall = Overall.INCONCLUSIVE
    return world


def text_of(deed: Callable[[], object]) -> str:
    """What a deed is refused with."""
    with pytest.raises((RegistryError, TidegateError)) as caught:
        deed()
    error = caught.value
    return f"{error.kind.value if isinstance(error, RegistryError) else error.code.name}: {error.message}"


def ab(**split: Any) -> Plan:
    """Versions 2 and 3 beside stable."""
    arms = [{"name": "small", "version": 2, "weight": 10}, {"name": "large", "version": 3, "weight": 25}]
    made = plan()
    strategy = msgspec.convert({"ab": {"arms": arms, **split}}, type(made.spec.strategy))
    return msgspec.structs.replace(made, spec=msgspec.structs.replace(made.spec, candidate=None, strategy=strategy))


class TestApply:
    """How a rollout begins."""

    def test_everything_is_pinned(self, world: World) -> None:
        """By digest, with a salt of its own; the plan can be read back."""
        done = world.operations.apply(plan(), actor="ann", reason="a new quarter", commit="c0ffee")
        status = done.status
        assert (True, "m-1", "admitted", "ann", "pat", "c0ffee") == (
            done.new,
            status.id,
            status.phase,
            status.starter,
            status.publisher,
            status.commit,
        )
        assert [("stable", 1), ("candidate", 2)] == [(arm.name, arm.version) for arm in status.arms]
        assert [world.store.record("m", number).manifest for number in (1, 2)] == [arm.manifest for arm in status.arms]
        assert plan() == world.operations.plan("m-1")
        assert status.salt != world.operations.apply(plan(candidate=3), actor="ann").status.salt

    def test_the_same_plan_twice_is_one_rollout(self, world: World) -> None:
        """While it is open, and after it has succeeded; with an operation id, whatever became of it."""
        first = world.operations.apply(plan(NOW_STEP), actor="ann", operation_id="one")
        again = world.operations.apply(plan(NOW_STEP), actor="bob")
        assert (False, "m-1") == (again.new, again.status.id)
        world.said.overall = Overall.PASS
        world.run()
        again = world.operations.apply(plan(NOW_STEP), actor="bob")
        assert (False, "succeeded", first.status.salt) == (again.new, again.status.phase, again.status.salt)
        text = "conflict: version 2 of model 'm' is what alias 'champion' stands for already"
        assert text == text_of(lambda: world.operations.apply(plan(name="another"), actor="ann"))
        aborted = world.operations.apply(plan(candidate=3), actor="ann", operation_id="two")
        world.operations.abort("m", **BY_ANN)
        world.run()
        assert not world.operations.apply(plan(candidate=3), actor="ann", operation_id="two").new
        assert aborted.status.id != world.operations.apply(plan(candidate=3), actor="ann").status.id

    def test_queue_replace_reject(self, world: World) -> None:
        """As the new plan says."""
        world.operations.apply(plan(), actor="ann")
        queued = world.operations.apply(plan(candidate=3), actor="bob").status
        assert ("queued", ("m-1",), "the rollouts before it") == (queued.phase, queued.ahead, queued.waiting)
        text = "conflict: rollout m-1 is open, and the plan says to be rejected then"
        assert text == text_of(lambda: world.operations.apply(plan(candidate=3, name="x", on_supersede="reject"), actor="ann"))
        third = world.operations.apply(plan(candidate=3, name="y", on_supersede="replace"), actor="cas").status
        assert ("m-3", "admitted") == (third.id, third.phase)
        assert ["superseded", "superseded"] == [world.phase("m-1"), world.phase("m-2")]
        assert "rollout m-3 takes its place" == world.operations.status("m-1").reason

    def test_of_two_at_the_same_moment_the_second_sees_the_first(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """Both would be rejected beside another; both have seen nobody."""
        rival, begin = operations(world.store), Rollouts.begin

        def late(*arguments: Any) -> Any:
            monkeypatch.setattr(Rollouts, "begin", begin)
            rival.apply(plan(candidate=3, on_supersede="reject"), actor="bob")
            return begin(*arguments)

        monkeypatch.setattr(Rollouts, "begin", late)
        text = "conflict: rollout m-1 is open, and the plan says to be rejected then"
        assert text == text_of(lambda: world.operations.apply(plan(on_supersede="reject"), actor="ann"))
        assert ["m-1"] == world.store.rollouts.ids("m")

    def test_what_was_rolled_back_is_not_tried_again(self, world: World) -> None:
        """Not by the same plan and not by another, until somebody forces it; then a success takes the mark away."""
        world.operations.apply(plan(NOW_STEP), actor="ann")
        world.said.tripped = (ERRORS,)
        world.run()
        assert ("rolled_back", ["rollout"]) == (world.phase(), self._rejecters(world))
        text = "policy: version 2 of model 'm' came to nothing in rollout m-1 (errors are 3.1 times as many); force tries it again"
        assert text == text_of(lambda: world.operations.apply(plan(NOW_STEP), actor="ann"))
        assert text == text_of(lambda: world.operations.apply(plan(name="other"), actor="ann"))
        forced = world.operations.apply(plan(NOW_STEP), actor="ann", force=True)
        assert (True, "m-2", True) == (forced.new, forced.status.id, forced.status.forced)
        world.said.tripped, world.said.overall = (), Overall.PASS
        world.run()
        assert ("succeeded", []) == (world.phase(), self._rejecters(world))

    def test_what_could_not_be_loaded_or_is_objected_to(self, world: World) -> None:
        """As well."""
        world.operations.apply(plan(), actor="ann")
        world.said.failures[2] = "it wants 90 GiB"
        world.run()
        assert "failed" == world.phase()
        text = "policy: version 2 of model 'm' came to nothing in rollout m-1 (it wants 90 GiB); force tries it again"
        assert text == text_of(lambda: world.operations.apply(plan(), actor="ann"))
        world.store.aliases("m").reject("champion", 3, actor="dan", reason="biased", now_s=1e9)
        text = "policy: version 3 of model 'm' is rejected by dan; force tries it again"
        assert text == text_of(lambda: world.operations.apply(plan(candidate=3), actor="ann"))

    def test_what_there_is_not(self, world: World) -> None:
        """Versions, models, plans that contradict themselves."""
        assert "not_found: model 'm' has no version 9" == text_of(lambda: world.operations.apply(plan(candidate=9), actor="ann"))
        assert "not_found: model 'm' has no alias 'next'" == text_of(lambda: world.operations.apply(plan(candidate="next"), actor="ann"))
        none = msgspec.structs.replace(plan(), spec=msgspec.structs.replace(plan().spec, candidate=None))
        text = "INVALID_ARGUMENT: a rollout names a candidate, and an A/B names its versions as arms instead"
        assert text == text_of(lambda: world.operations.apply(none, actor="ann"))
        heavy = ab()
        arms = tuple(msgspec.structs.replace(arm, weight=60.0) for arm in heavy.spec.strategy.ab.arms)  # type: ignore[union-attr]
        split = msgspec.structs.replace(heavy.spec.strategy.ab, arms=arms)
        spec = msgspec.structs.replace(heavy.spec, strategy=msgspec.structs.replace(heavy.spec.strategy, ab=split))
        text = "INVALID_ARGUMENT: the arms of an A/B have more than 100 % of the traffic"
        assert text == text_of(lambda: world.operations.apply(msgspec.structs.replace(heavy, spec=spec), actor="ann"))
        assert text_of(lambda: world.operations.apply(plan(), actor="")).startswith("invalid_name: actor")
        assert [] == world.store.rollouts.models()

    def _rejecters(self, world: World) -> list[str]:
        return [opinion.actor for opinion in world.store.aliases("m").opinions("champion", 2) if not opinion.approved]


class TestVerbs:
    """On a rollout at its weight, or where it says otherwise."""

    @pytest.fixture
    def world(self, world: World) -> World:
        """At 10 %."""
        world.operations.apply(plan(NOW_STEP), actor="ann")
        world.tick()
        assert ("step", 10.0) == (world.phase(), world.operations.status("m").percent)
        return world

    def test_pause_and_resume(self, world: World) -> None:
        """Twice is once; the weight stays."""
        assert [True, False] == [world.operations.pause("m", actor="bob", reason="lunch").new for _ in range(2)]
        status = world.operations.status("m")
        assert ("paused", "operator", "lunch", 10.0) == (status.phase, status.cause, status.reason, status.percent)
        assert [True, False] == [world.operations.resume("m-1", actor="bob").new for _ in range(2)]
        assert "step" == world.phase()

    def test_an_answer_that_was_lost(self, world: World) -> None:
        """With an operation id, what was done stays done, whatever came after it."""
        done = [world.operations.pause("m", actor="bob", operation_id="p").new]
        world.operations.resume("m", actor="cas")
        done.append(world.operations.pause("m", actor="bob", operation_id="p").new)
        assert ([True, False], "step") == (done, world.phase())

    def test_no_verdict_in_time(self, world: World) -> None:
        """Resumed, the step has its time again; with the evidence accepted it is over, by that person's word."""
        world.tick(60.0)
        assert ("paused", "inconclusive") == (world.phase(), world.operations.status("m").cause)
        world.operations.resume("m", actor="bob")
        world.tick(59.0)
        assert "step" == world.phase()
        world.tick(1.0)
        text = "INVALID_ARGUMENT: resume with accept_evidence wants a reason, for whoever reads the journal"
        assert text == text_of(lambda: world.operations.resume("m", actor="bob", accept_evidence=True))
        status = world.operations.resume("m", actor="bob", reason="it is a test model", accept_evidence=True).status
        assert (1, (0,), ()) == (status.step, status.waived, status.passed)
        world.tick()
        assert 2 == world.champion()

    def test_a_failure_is_accepted_or_not(self, world: World) -> None:
        """Without that, it is not resumed."""
        world.operations.abort("m", **BY_ANN)
        world.tick()
        world.operations.apply(plan(NOW_STEP | {"until": {"on_fail": "pause"}}), actor="ann")
        world.said.tripped = (ERRORS,)
        world.tick()
        assert ("paused", "failed", 0.0) == (
            (status := world.operations.status("m")).phase,
            status.cause,
            status.percent,
        )
        text = "policy: rollout m-2 is paused: errors are 3.1 times as many; accept the evidence, with a reason, or abort"
        assert text == text_of(lambda: world.operations.resume("m", actor="bob"))
        status = world.operations.resume("m", actor="bob", reason="a known fault", accept_evidence=True).status
        assert (("errors",), 10.0) == (status.accepted, status.percent)
        world.tick()
        assert "step" == world.phase()

    def test_promote(self, world: World) -> None:
        """One step or all; never without a reason, and told which step, never one too many."""
        assert text_of(lambda: world.operations.promote("m", actor="bob", reason=" ")).startswith("INVALID_ARGUMENT: promote wants")
        text = "conflict: rollout m-1 is at step 0, not at step 1"
        assert text == text_of(lambda: world.operations.promote("m", actor="bob", reason="sure", step=1))
        assert [True, False] == [world.operations.promote("m", actor="bob", reason="sure", step=0).new for _ in range(2)]
        assert not world.operations.promote("m", actor="bob", reason="sure").new, "no step is left, and it is about to be"
        world.tick()
        assert ("baking", 2) == (world.phase(), world.champion())
        assert not world.operations.promote("m", actor="bob", reason="sure", full=True).new
        assert (("bob", "sure"),) == tuple(
            (entry.actor, entry.reason) for entry in world.operations.history("m").entries if entry.event == "advance"
        )

    def test_promote_in_spite_of_a_failure(self, world: World) -> None:
        """Somebody's word, in the journal; what fails after it still counts."""
        world.operations.abort("m", **BY_ANN)
        world.tick()
        world.operations.apply(plan(NOW_STEP | {"until": {"on_fail": "pause"}}), actor="ann")
        world.said.tripped = (ERRORS,)
        world.tick()
        world.operations.promote("m", actor="bob", reason="the errors are the client's", full=True)
        world.tick()
        assert ("baking", ("errors",)) == (world.phase(), world.operations.status("m").accepted)
        world.said.tripped = (ERRORS, Trip("bad_output", critical=True, sentence="NaN"))
        world.run()
        assert ("rolled_back", 1) == (world.phase(), world.champion())

    def test_abort(self, world: World) -> None:
        """Nothing more goes to the candidate from that moment; the version is not marked."""
        text = "INVALID_ARGUMENT: abort wants a reason, for whoever reads the journal"
        assert text == text_of(lambda: world.operations.abort("m", actor="bob", reason=""))
        status = world.operations.abort("m", **BY_ANN).status
        assert ("rolling_back", 0.0, "hold") == (status.phase, status.percent, status.mode)
        assert not world.operations.abort("m", **BY_ANN).new
        world.tick()
        assert ("aborted", []) == (world.phase(), world.store.aliases("m").opinions("champion", 2))
        assert not world.operations.abort("m", **BY_ANN).new

    def test_what_is_over(self, world: World) -> None:
        """It cannot be paused, resumed, promoted, approved; a success is not aborted."""
        world.said.overall = Overall.PASS
        world.run()
        status = "conflict: rollout m-1 is succeeded: it"
        assert f"{status} cannot be paused" == text_of(lambda: world.operations.pause("m", actor="bob"))
        assert f"{status} cannot be resumed" == text_of(lambda: world.operations.resume("m", actor="bob"))
        assert f"{status} asks for no approval" == text_of(lambda: world.operations.approve("m", actor="bob"))
        assert f"{status} cannot be aborted; roll out the version before" == text_of(lambda: world.operations.abort("m", **BY_ANN))
        world.operations.apply(plan(candidate=3), actor="ann")
        world.operations.abort("m", **BY_ANN)
        assert "conflict: rollout m-2 is aborted: it cannot be promoted" == text_of(lambda: world.operations.promote("m", **BY_ANN))

    def test_names(self, world: World) -> None:
        """By id or by model; what there is not is said."""
        assert world.operations.status("m") == world.operations.status("m-1")
        for which in ("n", "m-9", "", "../m", "m-x"):
            assert text_of(lambda which=which: world.operations.status(which)).startswith("not_found: there is no rollout")
        world.operations.apply(plan(candidate=3), actor="ann")
        assert "m-1" == world.operations.status("m").id, "the one that acts"
        assert ["m-1", "m-2"] == [status.id for status in world.operations.statuses()]
        world.operations.abort("m-2", **BY_ANN)
        assert ["m-1"] == [status.id for status in world.operations.statuses()]
        assert ["m-1", "m-2"] == [status.id for status in world.operations.statuses(everything=True)]

    def test_another_writer_is_first(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """The verb is judged anew: what was possible a moment ago may not be."""
        append = Rollouts.append

        def late(self: Rollouts, journal: Any, draft: Any) -> Any:
            monkeypatch.setattr(Rollouts, "append", append)
            world.operations.abort("m", actor="cas", reason="first")
            return append(self, journal, draft)

        monkeypatch.setattr(Rollouts, "append", late)
        text = "conflict: rollout m-1 is rolling back: it cannot be paused"
        assert text == text_of(lambda: world.operations.pause("m", actor="bob"))


class TestApprove:
    """People who agree."""

    @pytest.fixture
    def world(self, world: World) -> World:
        """Two of three, neither the publisher nor who started it."""
        step = {"approve": {"by": ["bob", "cas", "pat", "ann"], "count": 2, "not": ["publisher", "starter"]}}
        world.operations.apply(plan(step, NOW_STEP), actor="ann")
        world.tick()
        return world

    def test_who_may(self, world: World) -> None:
        """Distinct people of the list."""
        refused = {who: text_of(lambda who=who: world.operations.approve("m", actor=who)) for who in ("ann", "pat", "eve")}
        assert {
            "ann": "policy: 'ann' started it and cannot approve rollout m-1",
            "pat": "policy: 'pat' published version 2 and cannot approve rollout m-1",
            "eve": "policy: 'eve' is not one of those who may and cannot approve rollout m-1",
        } == refused
        assert [True, False] == [world.operations.approve("m", actor="bob").new for _ in range(2)]
        world.tick()
        status = world.operations.status("m")
        assert (0, ("bob",), 2, "1 more approval") == (status.step, status.approvals, status.approvals_wanted, status.waiting)
        world.operations.approve("m", actor="cas", reason="looks well")
        world.tick()
        assert 1 == world.operations.status("m").step
        assert "conflict: rollout m-1 is at step 1: it asks for no approval" == text_of(lambda: world.operations.approve("m", actor="bob"))

    def test_promoting_is_no_way_around(self, world: World) -> None:
        """Not past this one, and not past one that is to come."""
        text = "policy: step 0 of rollout m-1 wants approvals, which promoting does not replace"
        assert text == text_of(lambda: world.operations.promote("m", **BY_ANN))
        assert text == text_of(lambda: world.operations.promote("m", full=True, **BY_ANN))

    def test_not_while_it_is_paused(self, world: World) -> None:
        """First it goes on."""
        world.operations.pause("m", actor="bob")
        text = "conflict: rollout m-1 is paused: it asks for no approval"
        assert text == text_of(lambda: world.operations.approve("m", actor="cas"))


class TestComparison:
    """An A/B."""

    def test_it_reports_and_never_promotes(self, world: World) -> None:
        """Its end is somebody's word or its time; the alias stays."""
        world.operations.apply(ab(), actor="ann")
        world.tick()
        status = world.operations.status("m")
        assert [("stable", 65.0), ("small", 10.0), ("large", 25.0)] == [(arm.name, arm.percent) for arm in status.arms]
        assert ("somebody to end it", 35.0) == (status.waiting, status.percent)
        world.said.overall = Overall.PASS
        world.tick(1e6)
        assert "step" == world.phase()
        text = "policy: rollout m-1 is an A/B: it reports, and never promotes"
        assert text == text_of(lambda: world.operations.promote("m", full=True, **BY_ANN))
        assert "concluded" == world.operations.abort("m", **BY_ANN).status.phase
        assert [(None, 1)] == world.moves()

    def test_its_time_is_over(self, world: World) -> None:
        """The report is in the last entry."""
        world.operations.apply(ab(duration="1h"), actor="ann")
        world.tick()
        world.tick(3_600.0)
        status = world.operations.status("m")
        assert "concluded" == status.phase
        assert status.report is not None
        assert b'"overall"' in world.operations.report(status.report)

    def test_it_wants_something_that_serves(self, tmp_path: Path) -> None:
        """Without a champion there is nothing beside it."""
        world = World(registry(tmp_path / "other", champion=None))
        status = world.operations.apply(ab(), actor="ann").status
        assert ("superseded", "alias 'champion' stands for nothing, and an A/B needs a version that serves") == (
            status.phase,
            status.reason,
        )


def test_a_status_is_json(world: World) -> None:
    """And so are a history and what a verb came to."""
    done = world.operations.apply(plan(), actor="ann")
    for value in (done, world.operations.history("m"), world.operations.statuses()):
        assert value == msgspec.json.decode(
            msgspec.json.encode(value), type=tuple[type(value[0])] if isinstance(value, tuple) else type(value)
        )


def test_a_champion_that_is_moved_meanwhile(tmp_path: Path) -> None:
    """By hand, while a rollout compares with it: the rollout is over, and says why."""
    world = World(registry(tmp_path / "registry"), clock=Clock())
    world.operations.apply(plan(), actor="ann")
    world.tick()
    move(world.store, 3, 1)
    world.tick()
    assert "superseded" == world.phase()
    assert "alias 'champion' was moved meanwhile: it stands for version 3, not for version 1" == world.operations.status("m").reason
