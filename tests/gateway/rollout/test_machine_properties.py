"""Whatever happens in whatever order: nothing is promoted without its verdicts, nothing that failed gets traffic, replay gives the same."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.rollout import verbs
from gateway.rollout.deciding import decide, said
from gateway.rollout.directive import Mode, directive
from gateway.rollout.machine import FINAL, Cause, Event, Phase
from gateway.rollout.observation import Attempt, Observation, Outcome, Overall, Reading
from gateway.rollout.plan import WEIGHT_UNITS, Plan, Until
from gateway.rollout.standing import Standing, Trip, advance, fold
from registry.errors import RegistryError
from registry.rollout_entries import RolloutEntry
from tests.gateway.rollout.play import CANDIDATE, OTHER, SERVER, STABLE, Play
from tests.gateway.rollout.rolled import plan

MEASURED = {Phase.STEP, Phase.PAUSED, Phase.PROMOTING, Phase.BAKING}
PEOPLE = ("ann", "bob", "cas", "pat")
UNTILS = st.fixed_dictionaries(
    {},
    optional={
        "verdict": st.just("pass"),
        "min_units": st.sampled_from([0, 100]),
        "min_duration": st.sampled_from(["0s", "10s"]),
        "max_duration": st.sampled_from([None, "20s", "60s"]),
        "on_inconclusive": st.sampled_from(["pause", "hold", "rollback"]),
        "on_fail": st.sampled_from(["pause", "rollback"]),
    },
)
STEPS = st.one_of(
    st.builds(lambda until: {"shadow": {}, "until": until}, UNTILS),
    st.builds(lambda weight, until: {"setWeight": weight, "until": until}, st.sampled_from([0, 0.01, 10, 100]), UNTILS),
    st.builds(lambda seconds: {"setWeight": 5, "until": {"verdict": None, "min_duration": seconds}}, st.sampled_from(["5s", "30s"])),
    st.builds(lambda duration: {"pause": {"duration": duration}}, st.sampled_from([None, "10s"])),
    st.builds(
        lambda count, excluded, late: {"approve": {"count": count, "not": excluded, "timeout": "50s", "on_timeout": late}},
        st.integers(1, 2),
        st.lists(st.sampled_from(["publisher", "starter"]), max_size=2, unique=True),
        st.sampled_from(["rollback", "pause"]),
    ),
)
TRIPS = st.lists(st.builds(Trip, st.sampled_from(["errors", "slo", "mix"]), st.booleans(), st.just("worse")), max_size=2)
READINGS = st.tuples(
    st.sampled_from([0, 0, -1, 1]),  # of which step, beside the present one
    st.sampled_from([Overall.PASS, *Overall]),
    st.sampled_from([0, 50, 500]),
    st.one_of(st.just([]), TRIPS),
    st.sampled_from([None, None, "the candidate's process ended"]),
    st.sampled_from([None, None, "the batcher loses requests"]),
)
GOOD = {
    "ready": True,
    "load_failure": None,
    "replaced_by": None,
    "champion": "as it should",
    "outcome": Attempt.MOVED,
    "reading": (0, Overall.PASS, 500, [], None, None),
}
# One thing at a time is not good, or nothing would ever come far.
WRONG = st.one_of(
    st.fixed_dictionaries({"ready": st.just(False)}),
    st.fixed_dictionaries({"load_failure": st.just("it does not load")}),
    st.fixed_dictionaries({"replaced_by": st.just("m-2")}),
    st.fixed_dictionaries({"champion": st.sampled_from([OTHER, None])}),
    st.fixed_dictionaries({"outcome": st.sampled_from([None, *Attempt])}),
    st.fixed_dictionaries({"reading": READINGS}),
    st.fixed_dictionaries({"reading": READINGS}),
    st.fixed_dictionaries({"reading": READINGS, "outcome": st.sampled_from([None, *Attempt])}),
)
VERBS = st.tuples(
    st.sampled_from(
        ["pause", "resume", "resume", "accept", "accept", "approve", "approve", "approve", "approve", "promote", "full", "abort"]
    ),
    st.sampled_from(PEOPLE),
)
SECONDS = st.sampled_from([0.0, 1.0, 10.0, 30.0, 60.0, -20.0])


def mostly_good(chance: int) -> st.SearchStrategy[Any]:
    """Fourteen of twenty are looks that see nothing wrong, two see something, and four are verbs."""
    return st.just(GOOD) if chance < 14 else st.builds(lambda wrong: GOOD | wrong, WRONG) if chance < 16 else VERBS


DEEDS = st.lists(st.tuples(SECONDS, st.integers(0, 19).flatmap(mostly_good)), min_size=4, max_size=40)
SKIPS = st.sampled_from(["", "", "", "", "initial", "window"])


def observation(play: Play, seen: dict[str, Any]) -> Observation:
    """What was drawn, about where the rollout stands."""
    standing = play.standing
    offset, overall, units, tripped, fast, invalid = seen["reading"]
    attempt = seen["outcome"]
    champion = play.serving() if seen["champion"] == "as it should" else seen["champion"]
    if standing.phase is Phase.PROMOTING and attempt is Attempt.MOVED and seen["champion"] == "as it should":
        champion = CANDIDATE  # the look comes after the move
    if standing.phase is Phase.ROLLING_BACK and attempt is Attempt.MOVED:
        attempt = Attempt.UNDONE
    return Observation(
        ready=seen["ready"],
        load_failure=seen["load_failure"],
        champion=champion,
        replaced_by=seen["replaced_by"],
        reading=Reading(standing.step + offset, overall, units, tuple(tripped), fast, invalid) if standing.phase in MEASURED else None,
        outcome=Outcome(attempt, "") if attempt is not None and standing.phase in {Phase.PROMOTING, Phase.ROLLING_BACK} else None,
    )


def do(play: Play, verb: str, actor: str) -> None:
    """What is refused changes nothing."""
    deeds: dict[str, Any] = {
        "pause": lambda standing: verbs.pause(standing, "", play.now_s),
        "resume": lambda standing: verbs.resume(standing, "", accept_evidence=False),
        "accept": lambda standing: verbs.resume(standing, "seen", accept_evidence=True),
        "approve": lambda standing: verbs.approve(standing, actor, ""),
        "promote": lambda standing: verbs.promote(standing, "sure", full=False, step=None),
        "full": lambda standing: verbs.promote(standing, "sure", full=True, step=None),
        "abort": lambda standing: verbs.abort(standing, "enough"),
    }
    before = list(play.entries)
    try:
        play.do(deeds[verb], actor)
    except RegistryError:
        assert before == play.entries


def played(made: Plan, skip: str, deeds: list[Any]) -> Play:
    """All of it, with what holds at every moment checked on the way."""
    play = Play(made, skip=skip, stable=None if skip == "initial" else STABLE)
    for seconds, deed in deeds:
        play.now_s += seconds
        if isinstance(deed, tuple):
            do(play, *deed)
        else:
            seen = observation(play, deed)
            before = play.standing
            drafts = decide(before, seen, play.now_s)
            for draft in drafts:
                check_draft(play.standing, seen, draft.event)
                play.add(draft)
            assert () == decide(play.standing, seen, play.now_s), "the same look twice is one look"
        check(play.standing, play.now_s)
    return play


def check_draft(standing: Standing, seen: Observation, event: Event) -> None:
    """What leads on does so for a reason that is there."""
    steps = standing.plan.steps()
    if event is Event.PASS:
        until = steps[standing.step].until or Until()
        assert seen.reading is not None
        assert (standing.step, Overall.PASS) == (seen.reading.step, seen.reading.overall)
        assert seen.reading.units >= until.min_units
    if event in {Event.PASS, Event.TIMER, Event.APPROVED, Event.COMPLETE, Event.READY}:
        assert seen.ready
        assert not standing.failing
        assert not (seen.reading and (seen.reading.fast or seen.load_failure))


def check(standing: Standing, now_s: float) -> None:
    """Traffic and timers, at any moment."""
    asked = directive(standing)
    off = {Phase.QUEUED, Phase.ADMITTED, Phase.PREPARING, Phase.ROLLING_BACK, *FINAL}
    if standing.phase in off or standing.cause in {Cause.FAILED, Cause.INVALID}:
        assert (0, True) == (asked.weight, asked.mode in {Mode.HOLD, Mode.OVER})
    assert (asked.mode is Mode.OVER) == (standing.final or standing.phase in {Phase.QUEUED, Phase.ADMITTED})
    assert (asked.mode is Mode.CANARY) == (0 < asked.weight and standing.phase is not Phase.BAKING)
    assert asked.weight == WEIGHT_UNITS or standing.phase is not Phase.BAKING
    elapsed = [standing.elapsed_s(now_s + later) for later in (-100.0, 0.0, 1.0, 1.0, 50.0)]
    assert sorted(elapsed) == elapsed
    assert 0.0 <= elapsed[0]
    assert standing.phase is not Phase.PAUSED or elapsed[0] == elapsed[-1]
    assert (standing.phase is Phase.PAUSED) == (standing.cause is not None)


@settings(max_examples=400)
@given(st.lists(STEPS, min_size=1, max_size=4), SKIPS, DEEDS)
def test_nothing_is_promoted_without_its_verdicts(steps: list[dict[str, Any]], skip: str, deeds: list[Any]) -> None:
    """By PASS of every step that wants one and everybody's approval; or by a person's word, which the journal has."""
    made = plan(*steps)
    play = played(made, skip, deeds)
    assert SERVER not in {entry.actor for entry in play.entries if entry.event in {"advance", "promote", "resume", "approval"}}
    ways = [index for index, entry in enumerate(play.entries) if entry.event in {"complete", "promote"}]
    for index in ways:
        standing = fold(made, play.entries[: index + 1])
        if standing.skip:
            continue
        for number, step in enumerate(made.steps()):
            if step.approve is not None:
                assert agreed(play.entries[:index], number) >= step.approve.count
            elif step.pause is None and (step.until or Until()).verdict == "pass":
                assert number in standing.passed | standing.waived
        assert not standing.failing
    if "moved" in play.events:
        assert ways


def agreed(entries: list[RolloutEntry], step: int) -> int:
    """People who approved in a step."""
    return len({entry.actor for entry in entries if entry.event == "approval" and entry.step == step})


@settings(max_examples=200)
@given(st.lists(STEPS, min_size=1, max_size=4), SKIPS, DEEDS)
def test_replay_gives_the_same(steps: list[dict[str, Any]], skip: str, deeds: list[Any]) -> None:
    """Entry by entry or all at once, today or after a restart; and entries with an older token change nothing."""
    made = plan(*steps)
    play = played(made, skip, deeds)
    by_one = None
    for entry in play.entries:
        by_one = advance(made, by_one, entry)
    assert by_one == play.standing == fold(made, list(play.entries))


@settings(max_examples=200)
@given(st.lists(STEPS, min_size=1, max_size=4), SKIPS, DEEDS, st.sampled_from(list(Event)), st.booleans())
def test_who_was_taken_over_changes_nothing(steps: list[dict[str, Any]], skip: str, deeds: list[Any], event: Event, final: bool) -> None:
    """Whatever a controller with an older token has written, it was not said."""
    play = played(plan(*steps), skip, deeds)
    if play.standing.final:
        return
    play.token = 2
    play.add(said(play.standing, Event.LEAD, ""))
    expected = play.standing
    stale = msgspec.structs.replace(play.entries[-1], seq=len(play.entries) + 1, token=1, event=event.value, final=final)
    play.entries.append(stale)
    assert expected == play.standing


@settings(max_examples=200)
@given(st.lists(STEPS, min_size=1, max_size=3), DEEDS)
def test_what_has_failed_stays_failed(steps: list[dict[str, Any]], deeds: list[Any]) -> None:
    """A metric that tripped is in the journal from then on, and only a person takes it out of the way."""
    made = plan(*steps)
    play = played(made, "", deeds)
    tripped: set[str] = set()
    for index in range(1, len(play.entries) + 1):
        standing = fold(made, play.entries[:index])
        assert tripped <= {trip.metric for trip in standing.tripped}
        tripped = {trip.metric for trip in standing.tripped}
        if standing.accepted:
            assert {entry.event for entry in play.entries[:index] if entry.actor in PEOPLE} & {"resume", "advance", "promote"}
