"""A tally from records to verdicts: which units count, over any cut of the records and over restarts, and what each metric concludes."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rollout.labels import LABELLED
from gateway.rollout.records import RECORD, Flag, Kind
from gateway.rollout.saved import SavedError
from gateway.rollout.tally import Tally
from gateway.rollout.verdict import StepVerdict, Verdict
from tests import naive_rollouts as naive
from tests.gateway.rollout.traffic import ERRORS, SHADOW, pairs, plan, records, traffic

ALL = (
    ERRORS,
    {"name": "rejected", "type": "rate", "event": "rejected_input"},
    {"name": "slo", "type": "rate", "event": "latency_ms > 30", "pass_if": {"ratio": 1.5, "or_abs": 0.02}},
    {"name": "latency", "type": "dominance"},
    {"name": "mix", "type": "distribution"},
    {"name": "scores", "type": "distribution", "of": "score"},
    {"name": "agreement", "type": "agreement"},
    {"name": "accuracy", "type": "label", "label": "churned"},
    {"name": "query", "type": "query", "query": "up", "server": "http://p", "below": 5},
)


def entered(made, *, step=0, weight=500, now_s=0.0):
    tally = Tally(made)
    tally.enter(step, weight, now_s)
    return tally


def metric(found: StepVerdict, name: str):
    return next(one for one in found.metrics if one.metric == name)


# --- who counts ---------------------------------------------------------------------------------------------------------------------------

CALL = st.tuples(
    st.integers(1, 15),
    st.integers(0, 1),
    st.integers(0, 1),
    st.sampled_from([0, Flag.SAMPLED, Flag.SERVER_ERROR, Flag.SERVER_ERROR | Flag.SAMPLED, Flag.REJECTED_INPUT | Flag.SAMPLED]),
)


@given(st.lists(CALL, max_size=40), st.lists(CALL, max_size=40), st.integers(0, 40))
def test_a_unit_counts_once_in_a_rollout_and_by_its_first_call_in_a_step(first, second, cut) -> None:
    """Of any records, in any cut, as two loops over them count; late ones of the step before count there."""
    first = [(unit, 0, arm, flags) for unit, _, arm, flags in first]
    tally = entered(plan())
    tally.add(_of(first[:cut]))
    tally.add(_of(first[cut:]))
    tally.enter(1, 2500, 1.0)
    tally.add(_of(second))
    found = metric(tally.verdicts(2.0), "errors").found
    events = naive.first_events(first + second, Flag.SERVER_ERROR)
    assert [(step, events.get((step, 1), 0), events.get((step, 0), 0)) for step in (0, 1)] == [
        (level.step, level.candidate, level.stable) for level in found.levels
    ]
    looked_at = naive.first_calls(first + second, Flag.SAMPLED, Flag.SERVER_ERROR, 1)
    assert [looked_at.get(arm, (0, 0)) for arm in (1, 0)] == list(zip(found.step_units, found.step_events, strict=True))


def _of(calls):
    units, steps, arms, flags = (np.array(column) for column in zip(*calls, strict=True)) if calls else [np.zeros(0, int)] * 4
    return records(units, step=steps, arm=arms, flags=flags)


def test_records_of_elsewhere_are_counted_as_such_and_no_further() -> None:
    """Of a step that was not entered, of an arm that there is not, of a pair where none is."""
    tally = entered(plan())
    tally.add(np.concatenate((records([1], step=2), records([2], step=77), records([3], arm=5), pairs([4]))))
    found = tally.verdicts(1.0)
    assert ({"elsewhere": 4}, 0, Verdict.NO_DATA) == (found.excluded, found.units, found.verdict)


def test_the_warm_up_is_not_counted_in_either_arm() -> None:
    """Until a minute is over and the canary has had three calls; failures in a row are seen all the same."""
    tally = entered(plan(warmup={"requests": 3, "duration": "60s"}), now_s=1000.0)
    tally.add(records([1, 2, 3, 4], arm=[0, 1, 1, 1], flags=Flag.SAMPLED | Flag.SERVER_ERROR, time_s=1001.0))
    tally.add(records([5, 6], arm=[0, 1], time_s=1059.0))
    assert {"warm_up": 6} == tally.verdicts(1059.0).excluded
    tally.add(records([7, 8, 9], arm=[0, 1, 1], time_s=1061.0))
    found = tally.verdicts(1061.0)
    assert ((2, 1), (0, 0)) == (metric(found, "errors").found.units, metric(found, "errors").found.events)
    late = entered(plan(warmup={"requests": 3, "duration": "60s"}), now_s=1000.0)
    late.add(records([1, 2], arm=1, time_s=1100.0))
    late.add(records([3, 4, 5], arm=[1, 0, 1], time_s=1101.0))
    assert ({"warm_up": 3}, (1, 1)) == (late.verdicts(1102.0).excluded, metric(late.verdicts(1102.0), "errors").found.units)
    crashing = entered(plan(warmup={"requests": 300, "duration": "60s"}), now_s=1000.0)
    crashing.add(records(range(50), time_s=1001.0))
    failing = np.arange(400) % 50 == 0
    crashing.add(records(range(50, 450), arm=failing, flags=Flag.SAMPLED | np.where(failing, Flag.SERVER_ERROR, 0), time_s=1002.0))
    assert crashing.verdicts(1003.0).fast is not None


def test_records_of_another_form_are_refused() -> None:
    """Before anything is counted."""
    with pytest.raises(ValueError, match="RECORD"):
        entered(plan()).add(np.zeros(3, np.uint64))


def test_there_is_no_verdict_before_a_step_and_no_other_weight_in_one() -> None:
    """Nor a step that the plan does not have."""
    tally = Tally(plan())
    assert -1 == tally.step
    with pytest.raises(ValueError, match="no step"):
        tally.verdicts(1.0)
    with pytest.raises(ValueError, match="plan of 3"):
        tally.enter(3, 500, 1.0)


def test_a_plan_with_too_many_rates_is_refused() -> None:
    """Marks of a unit are few."""
    Tally(plan(*[ERRORS | {"name": f"m{index}"} for index in range(15)]))
    with pytest.raises(ValueError, match="at most 15"):
        Tally(plan(*[ERRORS | {"name": f"m{index}"} for index in range(16)]))


def test_units_of_a_sample_stand_for_all() -> None:
    """A quarter is sampled: four times as many have been seen; events are of all units."""
    tally = entered(plan(sample=0.25))
    tally.add(records(range(100), arm=np.arange(100) % 2))
    tally.add(records(range(200, 220), flags=Flag.SERVER_ERROR))
    found = tally.verdicts(1.0)
    assert (200, (200, 200), (0, 20)) == (found.units, metric(found, "errors").found.units, metric(found, "errors").found.events)


# --- saved --------------------------------------------------------------------------------------------------------------------------------


def everything(seed):
    """Records of a shadow and of a canary, all sorts of them."""
    random = np.random.default_rng(seed)
    shadow = pairs(
        random.integers(1, 300, 400),
        flags=Flag.SAMPLED | random.choice([0, 32, 64, 1], 400),
        other_flags=random.choice([0, 1], 400, p=[0.95, 0.05]),
    )
    count = 3000
    calls = traffic(random, count, 0.5, step=1, rate=0.03, latency_s=random.exponential(0.02, count),
                    batch_rows=random.integers(1, 6, count), value=random.integers(0, 4, count))  # fmt: skip
    return shadow, calls


@pytest.mark.parametrize("cut", [0, 100, 1000, 3000])
def test_a_restored_tally_goes_on_as_if_nothing_had_been(cut) -> None:
    """With every kind of metric, saved in the shadow and in the middle of the canary."""
    made = plan(*ALL, steps=SHADOW)
    shadow, calls = everything(3)
    whole, parts = entered(made, weight=0), entered(made, weight=0)
    for tally in (whole, parts):
        tally.add(shadow[:200])
        tally.queried("query", 1.0)
    parts = Tally.restore(made, parts.document())
    for tally in (whole, parts):
        tally.add(shadow[200:])
        tally.enter(1, 5000, 5.0)
        tally.add(calls[:cut])
        tally.labelled("accuracy", _labels(calls["unit"][:50], calls["arm"][:50], step=1, wrong=True))
    parts = Tally.restore(made, parts.document())
    for tally in (whole, parts):
        tally.add(calls[cut:])
        tally.assigned([100, 100], [90, 99])
    assert whole.verdicts(9.0) == parts.verdicts(9.0)
    assert whole.document() == Tally.restore(made, whole.document()).document()


def test_a_verdict_is_json() -> None:
    """With bounds that are infinite, numbers that are none, and certainty."""
    tally = entered(plan(*ALL))
    tally.add(np.concatenate((records(range(30)), records(range(100, 140), arm=1, flags=Flag.SAMPLED | Flag.SERVER_ERROR))))
    for _ in range(3):
        tally.queried("query", 9.0)
    found = tally.verdicts(1.0)
    assert found == msgspec.json.decode(msgspec.json.encode(found), type=StepVerdict)


def _changed(content, **changes):
    return msgspec.msgpack.encode(msgspec.msgpack.decode(content) | changes)


def test_what_is_not_to_be_gone_on_from_is_refused() -> None:
    """Of another plan, another format, cut off, or contradicting itself."""
    made = plan()
    content = entered(made).document()
    fresh = msgspec.msgpack.decode(content)
    wrong = {
        "another plan": (plan(ERRORS, steps=SHADOW), content),
        "format 7": (made, _changed(content, format=7)),
        "cannot be read": (made, content[:-5]),
        "contradicts itself": (made, _changed(content, counters=[])),
        "and the document": (made, _changed(content, tally=["part", {}])),
        "not an array": (made, _changed(content, tally=["part", fresh["tally"][1] | {"fail": ["array", "<f8", [9], b""]}])),
        "is meant": (made, _changed(content, tally=["part", fresh["tally"][1] | {"ratio": "much"}])),
        "not a set of units": (made, _changed(content, counting=["part", fresh["counting"][1] | {"calls": 1}])),
        "no set": (made, _changed(content, counting=["part", fresh["counting"][1] | {"calls": ["units", b"1" * 8, b"", 3, 0]}])),
    }
    for text, (of, broken) in wrong.items():
        with pytest.raises(SavedError, match=text):
            Tally.restore(of, broken)


# --- what is concluded --------------------------------------------------------------------------------------------------------------------


def run(tally, random, calls, weight, *, step=0, looks=20, **options):
    for _ in range(looks):
        tally.add(traffic(random, calls // looks, weight, step=step, **options))
    return tally.verdicts(9.0)


def test_four_times_the_errors_fail_and_as_many_pass() -> None:
    """From 1 %, at half of the traffic; the failure stays when evidence is weaker later, and in the next step."""
    random = np.random.default_rng(1)
    worse, good = entered(plan(), weight=5000), entered(plan(), weight=5000)
    found = run(worse, random, 8000, 0.5, ratio=4.0)
    assert (Verdict.FAIL, ("errors",)) == (found.verdict, tuple(one.metric for one in found.tripped))
    assert metric(found, "errors").found.ratio_low > 1
    worse.enter(1, 2500, 2.0)
    run(worse, random, 20_000, 0.25, step=1, ratio=0.2)
    assert Verdict.FAIL is worse.verdicts(3.0).verdict
    assert Verdict.PASS is run(good, random, 60_000, 0.5).verdict


def test_a_pass_is_of_one_step_only() -> None:
    """What was certain in the last one begins anew."""
    tally = entered(plan(), weight=5000)
    assert Verdict.PASS is run(tally, np.random.default_rng(2), 60_000, 0.5).verdict
    tally.enter(1, 2500, 2.0)
    assert (Verdict.NO_DATA, 0.0) == (tally.verdicts(3.0).verdict, metric(tally.verdicts(3.0), "errors").greatest_log_e_pass)


def test_rare_errors_pass_by_the_difference_of_rates() -> None:
    """None at all in either arm: no ratio is ever certain, half a point is."""
    made = plan(ERRORS | {"pass_if": {"ratio": 1.5, "or_abs": 0.005}})
    tally = entered(made, weight=5000)
    found = run(tally, np.random.default_rng(3), 8000, 0.5, rate=0.0)
    assert Verdict.PASS is found.verdict
    assert (0.0, True) == (metric(found, "errors").greatest_log_e_pass, "0.5 points more is certain" in found.sentence)


def test_units_that_are_missing_make_everything_invalid_and_say_where() -> None:
    """A fifth of the canary's units never leaves a record; a failure from before stays."""
    random, tally = np.random.default_rng(4), entered(plan(), weight=5000)
    for _ in range(20):
        sent = traffic(random, 500, 0.5)
        tally.add(sent[(sent["arm"] == 0) | (random.random(500) > 0.2)])
    tally.assigned([5000, 5000], [5000, 4000])
    found = tally.verdicts(1.0)
    assert (Verdict.INVALID, True, Verdict.INVALID) == (found.verdict, found.sample_ratio.tripped, metric(found, "errors").verdict)
    assert "1,000 of 5,000 requests of canary are missing" in found.sentence
    assert Verdict.INVALID is run(tally, random, 4000, 0.5, ratio=9.0).verdict


def test_a_failure_that_is_not_critical_asks_for_a_look() -> None:
    """Neither FAIL nor PASS of the step, and one that is only reported changes nothing."""
    slack = ERRORS | {"name": "slack", "critical": False, "pass_if": None}
    for options, verdict in (({}, Verdict.INCONCLUSIVE), ({"dryRun": True}, Verdict.PASS)):
        made = plan(ERRORS | {"event": "bad_output", "pass_if": {"or_abs": 0.1}}, slack | options)
        found = run(entered(made, weight=5000), np.random.default_rng(5), 8000, 0.5, ratio=4.0)
        assert (verdict, Verdict.FAIL) == (found.verdict, metric(found, "slack").verdict)
        assert (found.pause is None) == bool(options)


def test_latency_is_compared_at_equal_batch_sizes() -> None:
    """Three quarters of the calls, so larger batches, so longer calls: nothing is wrong; and something is where they are longer even so."""
    random, made = np.random.default_rng(6), plan({"name": "latency", "type": "dominance"})
    for slower in (1.0, 1.3):
        tally = entered(made, weight=7500)
        for _ in range(20):
            calls = traffic(random, 500, 0.75)
            rows = 1 + random.poisson(np.where(calls["arm"] == 1, 15, 5))
            calls["batch_rows"] = rows
            calls["latency_s"] = 1e-3 * (1 + 0.1 * rows) * random.lognormal(0, 0.2, 500) * np.where(calls["arm"] == 1, slower, 1.0)
            tally.add(calls)
        found = metric(tally.verdicts(1.0), "latency")
        assert (slower > 1) == found.tripped
        assert "at equal batch sizes" in found.sentence


def test_a_little_slower_is_tolerated() -> None:
    """A tenth and 0.05 ms by default, however many calls show it; more where the plan says so."""
    random = np.random.default_rng(11)
    for grace, slower, times_s in ((1.1, 1.0, 4e-5), (1.1, 1.08, 0.0), (1.1, 1.3, 0.0), (1.5, 1.3, 0.0)):
        tally = entered(plan({"name": "latency", "type": "dominance", "tolerate": {"slower": grace}}), weight=5000)
        for _ in range(20):
            calls = traffic(random, 500, 0.5)
            calls["latency_s"] = 1e-3 * random.lognormal(0, 0.1, 500)
            calls["latency_s"] = np.where(calls["arm"] == 1, slower * calls["latency_s"] + times_s, calls["latency_s"])
            tally.add(calls)
        found = metric(tally.verdicts(1.0), "latency")
        assert (slower > grace) == found.tripped, (grace, slower)
        assert f"runs of canary, less {grace - 1:.0%} and 0.05 ms, took over " in found.sentence


def test_calls_without_a_time_are_no_fast_ones() -> None:
    """They are not looked at; those that failed are, as too slow for any bound."""
    tally = entered(plan({"name": "latency", "type": "dominance"}, ERRORS), weight=5000)
    calls = traffic(np.random.default_rng(9), 1000, 0.5)
    calls["latency_s"] = 0.01
    calls["latency_s"][:300] = np.nan
    calls["flags"][:100] |= np.uint16(Flag.SERVER_ERROR)
    tally.add(calls)
    assert 800 == sum(metric(tally.verdicts(1.0), "latency").found.units)


def test_a_run_counts_once_however_many_calls_were_in_it() -> None:
    """Runs of eight, some fast and some slow, of both arms alike: nothing is wrong. Calls that fail in one run count once, too."""
    random = np.random.default_rng(10)
    tally = entered(plan({"name": "latency", "type": "dominance"}, ERRORS), weight=5000)
    for turn in range(40):
        calls = traffic(random, 800, 0.5, time_s=0.0)
        for arm in (0, 1):
            own = np.flatnonzero(calls["arm"] == arm)
            runs = np.arange(len(own)) // 8
            calls["time_s"][own] = turn + runs * 1e-3
            calls["latency_s"][own] = random.lognormal(0, 0.5, runs[-1] + 1)[runs]
            calls["flags"][own] = np.where(runs == 1, Flag.SAMPLED | Flag.SERVER_ERROR, Flag.SAMPLED)
        calls["batch_rows"] = 8
        tally.add(calls)
    found = metric(tally.verdicts(1.0), "latency").found
    assert 40 * 99 <= sum(found.units) <= 40 * 102
    assert found.log_e_fail < 3.0


def test_a_bound_on_latency_passes_and_fails() -> None:
    """2 % of the calls over 30 ms in both arms, and four times as many."""
    random = np.random.default_rng(7)
    for ratio, verdict in ((1.0, Verdict.PASS), (4.0, Verdict.FAIL)):
        tally = entered(plan(ALL[2] | {"critical": True}), weight=5000)
        for _ in range(40):
            calls = traffic(random, 1000, 0.5)
            slow = random.random(1000) < 0.02 * np.where(calls["arm"] == 1, ratio, 1.0)
            calls["latency_s"] = np.where(slow, 0.05, 0.01)
            tally.add(calls)
        assert verdict is tally.verdicts(1.0).verdict


def test_another_mix_of_answers_asks_for_a_look_and_never_fails_the_step() -> None:
    """Critical as it calls itself; the sentence names the class."""
    random, made = np.random.default_rng(8), plan(ERRORS, ALL[4] | {"critical": True})
    tally = entered(made, weight=5000)
    for _ in range(10):
        calls = traffic(random, 1000, 0.5)
        calls["value"] = np.where(random.random(1000) < 0.1 + 0.1 * calls["arm"], 3, 8)
        tally.add(calls)
    found = tally.verdicts(1.0)
    assert (Verdict.INCONCLUSIVE, Verdict.FAIL) == (found.verdict, metric(found, "mix").verdict)
    assert "class 8 went from 9" in (found.pause or "")


def test_a_shadow_compares_pairs() -> None:
    """It agrees often enough and fails no more often; with twice the failures, or in agreement too rarely, it does not pass."""
    for rate, agrees, verdict in ((0.01, 0.99, Verdict.PASS), (0.03, 0.99, Verdict.FAIL), (0.01, 0.95, Verdict.INCONCLUSIVE)):
        random = np.random.default_rng(9)
        made = plan(ERRORS | {"pass_if": {"or_abs": 0.01}}, ALL[6], ALL[2], steps=SHADOW)
        tally = entered(made, weight=0)
        units = random.integers(0, 2**64 - 1, 8000, np.uint64, endpoint=True)
        flags = Flag.SAMPLED | np.where(random.random(8000) < rate, 1, 0) | np.where(random.random(8000) < agrees, Flag.AGREES, 0)
        for part in np.array_split(pairs(units, flags=flags, other_flags=np.where(random.random(8000) < 0.01, 1, 0)), 20):
            tally.add(part)
        assert verdict is tally.verdicts(1.0).verdict
        assert (0, 8000) == (sum(metric(tally.verdicts(1.0), "slo").found.units), tally.verdicts(1.0).units)


def test_a_shadow_that_always_fails_is_seen_at_once() -> None:
    """Where stable answered; where it failed as well that says nothing."""
    for other, seen in ((0, True), (Flag.SERVER_ERROR, False)):
        tally = entered(plan(steps=SHADOW), weight=0)
        tally.add(pairs(range(60), flags=Flag.SAMPLED | Flag.SERVER_ERROR, other_flags=other))
        assert seen == (tally.verdicts(1.0).fast is not None)


def _labels(units, arms, *, step=0, wrong, kind=Kind.CALL, other_wrong=False):
    made = np.zeros(len(units), LABELLED)
    for name, column in {"unit": units, "arm": arms, "step": step, "kind": kind, "wrong": wrong, "other_wrong": other_wrong}.items():
        made[name] = column
    return made


def test_labels_tell_who_is_wrong_more_often() -> None:
    """20 % of the answers against 10 %; of a unit its first label counts, and one of a step that never was does not."""
    random, tally = np.random.default_rng(10), entered(plan(ALL[7] | {"critical": True}), weight=5000)
    arms = random.integers(0, 2, 4000)
    answers = _labels(np.arange(4000), arms, wrong=random.random(4000) < 0.1 + 0.1 * arms)
    tally.labelled("accuracy", answers)
    tally.labelled("accuracy", answers)
    tally.labelled("accuracy", _labels([9999], [0], step=2, wrong=True))
    found = metric(tally.verdicts(1.0), "accuracy")
    assert (4000, answers["wrong"].sum()) == (sum(found.found.units), sum(found.found.events))
    assert (Verdict.FAIL, True) == (found.verdict, "wrong answers" in found.sentence)


def test_labels_of_pairs_are_paired() -> None:
    """One label for both answers: which of them it makes wrong."""
    tally = entered(plan(ALL[7] | {"critical": True}, steps=SHADOW), weight=0)
    wrong, other = np.arange(300) % 10 < 3, np.arange(300) % 10 == 0
    tally.labelled("accuracy", _labels(np.arange(300), 1, kind=Kind.PAIR, wrong=wrong, other_wrong=other))
    found = metric(tally.verdicts(1.0), "accuracy").found
    assert ((60, 0, 30), pytest.approx(3.0)) == (_sides(found), found.ratio)


def _sides(found):
    level = found.levels[0]
    return level.candidate, level.stable, level.both


def test_a_query_fails_by_three_breaches_in_a_row_and_never_by_silence() -> None:
    """An answer that is missing breaks no row, and alone is an error; so does a step pass only once it has been asked."""
    tally = entered(plan(ERRORS | {"pass_if": {"or_abs": 0.5}}, ALL[8] | {"critical": True}), weight=5000)
    run(tally, np.random.default_rng(11), 2000, 0.5)
    assert Verdict.NO_DATA is tally.verdicts(1.0).verdict
    tally.queried("query", None, "connection refused")
    assert (Verdict.ERROR, True) == (tally.verdicts(1.0).verdict, "connection refused" in tally.verdicts(1.0).sentence)
    for value, verdict in ((1.0, "INCONCLUSIVE"), (1.0, "INCONCLUSIVE"), (1.0, "PASS"), (9.0, "INCONCLUSIVE")):
        tally.queried("query", value)
        assert verdict == metric(tally.verdicts(1.0), "query").verdict or value == 9.0
    tally.queried("query", float("nan"))
    tally.queried("query", 9.0)
    assert Verdict.FAIL is not tally.verdicts(1.0).verdict
    tally.queried("query", 9.0)
    assert Verdict.FAIL is tally.verdicts(1.0).verdict
    with pytest.raises(KeyError):
        tally.queried("errors", 1.0)


def test_each_arm_of_several_is_beside_stable() -> None:
    """Of two arms the one that fails is named; α is divided."""
    made = plan(ab={"arms": [{"name": "blue", "version": 2, "weight": 25}, {"name": "green", "version": 3, "weight": 25}]})
    tally, random = entered(made, weight=5000), np.random.default_rng(12)
    for _ in range(20):
        units = random.integers(1, 2**63, 1000, np.uint64)
        arms = random.choice(3, 1000, p=[0.5, 0.25, 0.25])
        failed = random.random(1000) < np.array([0.01, 0.01, 0.05])[arms]
        tally.add(records(units, arm=arms, flags=Flag.SAMPLED | np.where(failed, 1, 0)))
    found = tally.verdicts(1.0)
    assert ("green",) == tuple(one.arm for one in found.tripped)
    assert found.sentence.startswith("green had server errors")


def test_an_empty_batch_is_nothing() -> None:
    """As a reader that finds nothing new hands over."""
    tally = entered(plan())
    tally.add(np.zeros(0, RECORD))
    assert ("no unit has been seen in this step yet", {}) == (tally.verdicts(1.0).sentence, tally.verdicts(1.0).excluded)
