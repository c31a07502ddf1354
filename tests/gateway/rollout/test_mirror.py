"""Copies of stable's batches on a candidate: each request its own result, whatever the candidate does."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gateway.errors import Code
from gateway.protocol.tensors import TensorSpec
from gateway.rollout import mirror
from gateway.rollout.copies import copies_of
from gateway.rollout.mirror import Found, Limiter
from gateway.rollout.records import Flag, Kind
from gateway.serving.batch import Batch
from gateway.serving.model import RunFault
from gateway.serving.splits import CANDIDATE, limit_of, mixed
from tests.gateway.rollout.mirrored import INPUTS, POISON, POISON_KILLS, RUN_S, Double, Stage, outcomes, records_of, rows
from tests.gateway.serving.serving_fakes import FakeLoop

GOOD = Flag.SAMPLED | Flag.AGREES


def run(stage: Stage, *batches: Batch) -> Found:
    return stage.mirror.run([copy for batch in batches for copy in copies_of(batch, stage.stable.signature)])


def test_each_request_of_a_batch_is_one_pair() -> None:
    """With its unit, both answers, and what both runs took."""
    stage = Stage()
    found = run(stage, stage.batch(rows(1), rows(0.5), units=[7, 2**64 - 1]))
    records = records_of(found)
    assert {"mirrored": 2} == outcomes(found.counts)
    assert [7, 2**64 - 1] == records["unit"].tolist()
    assert [GOOD, GOOD] == records["flags"].tolist()
    assert [(Kind.PAIR, CANDIDATE, 2, 3, 2)] * 2 == records[["kind", "arm", "step", "slot", "batch_rows"]].tolist()
    assert [0.0, 1.0] == records["value"].tolist() == records["other_value"].tolist()
    assert [pytest.approx(RUN_S)] * 4 == [*records["latency_s"].tolist(), *records["other_latency_s"].tolist()]
    assert [pytest.approx(1e9 + 1_000.0 + RUN_S)] * 2 == records["time_s"].tolist()


def test_copies_are_joined_but_for_the_first_which_alone_is_timed() -> None:
    """Runs of other sizes say nothing of how long such a batch takes."""
    stage = Stage()
    found = run(stage, *[stage.batch(rows(1), rows(2), rows(3)) for _ in range(5)])
    records = records_of(found)
    assert [3, 12] == stage.candidate.runs
    assert [True] * 3 + [False] * 12 == [math.isfinite(one) for one in records["latency_s"].tolist()]
    assert np.isnan(records["latency_s"]).tolist() == np.isnan(records["other_latency_s"]).tolist()
    assert [GOOD] * 15 == records["flags"].tolist()


def test_joined_runs_have_no_more_rows_than_the_candidate_takes_and_cut_no_request() -> None:
    """A request with more than one run has is run in pieces."""
    loop = FakeLoop()
    stage = Stage(Double(loop, most=8), stable=Double(loop))
    found = run(stage, stage.batch(rows(1)), stage.batch(*[rows(*[2.0] * 3)] * 4), stage.batch(rows(*range(20))))
    assert [1, 6, 6, 8, 8, 4] == stage.candidate.runs
    assert [GOOD] * 6 == records_of(found)["flags"].tolist()


@pytest.mark.parametrize(("weight", "flags", "difference"), [(1.005, GOOD, 0.01), (1.5, Flag.SAMPLED, 1.0)])
def test_answers_agree_within_the_tolerance(weight: float, flags: int, difference: float) -> None:
    """Of the rollout; the difference is told in any case."""
    stage = Stage(Double(FakeLoop(), weight), rtol=0.01)
    (record,) = records_of(run(stage, stage.batch(rows(2.0))))
    assert (flags, pytest.approx(difference, rel=1e-4)) == (record["flags"], record["difference"])


def test_a_request_agrees_where_all_its_rows_do_and_is_told_by_its_first() -> None:
    """Several rows are one request."""
    stage = Stage()
    stage.candidate.answers = lambda arrays: [np.where(arrays[0] == 5.0, np.float32(-9.0), arrays[0])]
    records = records_of(run(stage, stage.batch(rows(2, 5), rows(2, 2), rows(5, 2))))
    assert [Flag.SAMPLED | Flag.CLASS_CHANGED, GOOD, Flag.SAMPLED | Flag.CLASS_CHANGED] == records["flags"].tolist()
    assert ([0.0, 0.0, 1.0], [0.0, 0.0, 0.0]) == (records["value"].tolist(), records["other_value"].tolist())
    assert [14.0, 0.0, 14.0] == records["difference"].tolist()


def test_answers_that_are_none_are_told_of_either_side() -> None:
    """NaN and infinities; the same in both is no disagreement."""
    stage = Stage()
    stage.candidate.answers = lambda arrays: [np.where(arrays[0] == 5.0, np.float32(np.nan), arrays[0])]
    records = records_of(run(stage, stage.batch(rows(5), rows(np.inf), rows(1))))
    assert [Flag.SAMPLED | Flag.CLASS_CHANGED | Flag.BAD_OUTPUT, GOOD | Flag.BAD_OUTPUT, GOOD] == records["flags"].tolist()
    assert [0, Flag.BAD_OUTPUT, 0] == records["other_flags"].tolist()


@pytest.mark.parametrize(
    "answers",
    [
        lambda arrays: [arrays[0][:, :1]],
        lambda arrays: [np.full((len(arrays[0]), 2, 2), np.nan, np.float32)],
        lambda arrays: [np.float32(np.nan)],
    ],
    ids=["narrow", "another rank", "no rows"],
)
def test_answers_of_another_shape_disagree_and_do_no_harm(answers) -> None:
    """Whatever is in them; what is no number is told."""
    stage = Stage()
    stage.candidate.answers = answers
    records = records_of(run(stage, stage.batch(rows(1), rows(2))))
    assert [0, 0] == (records["flags"] & Flag.AGREES).tolist()
    bad = not np.isfinite(answers([rows(1, 2)])[0]).all()
    assert [Flag.BAD_OUTPUT * bad] * 2 == (records["flags"] & Flag.BAD_OUTPUT).tolist()


def test_what_fails_together_is_run_again_until_it_is_known_who_failed() -> None:
    """Copy by copy, then request by request; neighbours have their answers."""
    stage = Stage()
    batches = [stage.batch(*[rows(value) for value in values]) for values in ((1, 1), (2, 2), (3, 3))]
    batches[1].inputs[0][0] = np.where(batches[1].inputs[0][0] == [[2, 1], [9, 9]], POISON, batches[1].inputs[0][0]).astype(np.float32)
    found = run(stage, *batches)
    records = records_of(found)
    assert ({"mirrored": 6}, [2, 4, 2, 1, 1, 2]) == (outcomes(found.counts), stage.candidate.runs)
    by_value = sorted(records["flags"].tolist())
    assert sorted([GOOD] * 5 + [Flag.SAMPLED | Flag.REJECTED_INPUT]) == by_value


def test_after_a_failure_fewer_are_joined_and_more_again_while_all_goes_well() -> None:
    """A candidate that fails often is not asked three times for everything."""
    stage = Stage()
    bad = stage.batch(rows(1), rows(1))
    bad.inputs[0][0] = np.full((2, 2), POISON, np.float32)
    run(stage, stage.batch(rows(1)), *[stage.batch(rows(1), rows(1)) for _ in range(31)], bad)
    stage.candidate.runs.clear()
    run(stage, *[stage.batch(rows(1), rows(1)) for _ in range(129)])
    assert [2, 32, 64, 64, 64, 32] == stage.candidate.runs


def test_a_request_that_ends_the_process_is_found_and_few_processes_are_lost_for_it() -> None:
    """Joined, as a copy, alone."""
    stage = Stage()
    bad = stage.batch(rows(3), rows(4), rows(5))
    bad.inputs[0][0] = np.array([[3, 1], [POISON_KILLS, 1], [5, 1]], np.float32)
    found = run(stage, stage.batch(rows(1)), stage.batch(rows(1)), bad)
    flags = records_of(found)["flags"].tolist()
    assert {"mirrored": 5} == outcomes(found.counts)
    assert [GOOD] * 4 + [Flag.SAMPLED | Flag.SERVER_ERROR | Flag.CRASHED] == sorted(flags, key=lambda flag: flag & Flag.CRASHED)
    assert [1, 4, 1, 3, 1, 1, 1] == stage.candidate.runs


def test_a_process_that_ends_with_everything_is_given_up_after_a_few() -> None:
    """What was found until then counts; the rest has no result."""
    stage = Stage()
    batches = [stage.batch(rows(1), rows(2)) for _ in range(10)]
    for batch in batches:
        batch.inputs[0][0] = np.full((2, 2), POISON_KILLS, np.float32)
    found = run(stage, *batches)
    assert mirror.MAX_LOST == len(stage.candidate.runs)
    assert {"mirrored": 2, "candidate_failed": 18} == outcomes(found.counts)
    assert [Flag.SAMPLED | Flag.SERVER_ERROR | Flag.CRASHED] * 2 == records_of(found)["flags"].tolist()


def test_without_a_process_nobody_has_a_result() -> None:
    """That is no failure of these requests."""
    stage = Stage()
    stage.candidate.alive = False
    found = run(stage, stage.batch(rows(1)), stage.batch(rows(1)))
    assert ({"candidate_failed": 2}, []) == (outcomes(found.counts), found.records)


def test_requests_that_stable_failed_are_run_too() -> None:
    """Or a candidate with as many failures would look worse. Where both refuse, they agree."""
    stage = Stage()
    found = run(stage, stage.batch(rows(POISON), rows(1)))
    records = records_of(found)
    assert {"mirrored": 2} == outcomes(found.counts)
    refused = records[records["other_flags"] == Flag.REJECTED_INPUT]
    assert [GOOD | Flag.REJECTED_INPUT] == refused["flags"].tolist()
    stage.candidate.timed = lambda arrays, options=None: ([arrays[0]], RUN_S)  # type: ignore[method-assign]
    records = records_of(run(stage, stage.batch(rows(POISON))))
    assert [(Flag.SAMPLED, Flag.REJECTED_INPUT)] == records[["flags", "other_flags"]].tolist()


@pytest.mark.parametrize(
    "inputs",
    [
        (TensorSpec("x", "FP64", (-1, 2)),),
        (TensorSpec("x", "FP32", (-1, 3)),),
        (TensorSpec("y", "FP32", (-1, 2)),),
        (*INPUTS, TensorSpec("more", "FP32", (-1, 1))),
        (),
    ],
    ids=["datatype", "width", "name", "one more", "one less"],
)
def test_a_candidate_with_other_inputs_refuses_what_stable_took(inputs: tuple[TensorSpec, ...]) -> None:
    """As it would if it were asked; it is not run."""
    loop = FakeLoop()
    stage = Stage(Double(loop, inputs=inputs), stable=Double(loop))
    found = run(stage, stage.batch(rows(1), rows(2)))
    assert ({"mirrored": 2}, []) == (outcomes(found.counts), stage.candidate.runs)
    assert [Flag.SAMPLED | Flag.REJECTED_INPUT] * 2 == records_of(found)["flags"].tolist()


def test_inputs_are_found_by_their_names() -> None:
    """In whatever order the candidate has them."""
    loop = FakeLoop()
    both = (TensorSpec("a", "FP32", (-1, 2)), TensorSpec("b", "FP32", (-1, 2)))
    stage = Stage(Double(loop, inputs=both[::-1]), stable=Double(loop, inputs=both))
    batch = stage.batch(rows(1), shapes=((2,), (2,)))
    batch.inputs[0][1] = rows(2)
    seen = []
    stage.candidate.answers = lambda arrays: seen.extend(arrays) or [arrays[1]]  # type: ignore[func-returns-value]
    assert [GOOD] == records_of(run(stage, batch))["flags"].tolist()
    assert [[[2.0, 1.0]], [[1.0, 1.0]]] == [array.tolist() for array in seen]


def test_a_candidate_without_rows_is_asked_request_by_request() -> None:
    """Its tensors are as the callers sent them, and each request is one answer."""
    loop = FakeLoop()
    stage = Stage(Double(loop, most=0), stable=Double(loop))
    records = records_of(run(stage, stage.batch(rows(1, 2), rows(3))))
    assert [2, 1] == stage.candidate.runs
    assert [GOOD, GOOD] == records["flags"].tolist()


def test_the_contract_of_the_candidate_holds_for_its_shadow() -> None:
    """Whom it would turn away is not run."""
    stage = Stage()

    class Door:
        def refused(self, items, inputs):
            return [(items[0], "no")] if (inputs[0] == 2.0).any() else []

    stage.versions[1].door = Door()
    records = np.sort(records_of(run(stage, stage.batch(rows(1), rows(2), rows(3)))), order="unit")
    assert [GOOD, Flag.SAMPLED | Flag.REJECTED_INPUT, GOOD] == records["flags"].tolist()
    assert [1, 1] == stage.candidate.runs


def test_who_is_shadowed_is_decided_by_the_unit() -> None:
    """Exactly those whose other hash is below the share; nothing of their requests is looked at before."""
    stage = Stage(shadow_percent=30.0)
    units = np.random.default_rng(0).integers(0, 1 << 64, 400, np.uint64).tolist()
    batches = [stage.batch(*[rows(1)] * 50, units=units[at : at + 50]) for at in range(0, 400, 50)]
    found = run(stage, *batches)
    expected = [unit for unit in units if mixed(unit, 2) < limit_of(0.3)]
    assert expected == records_of(found)["unit"].tolist()
    assert {"mirrored": len(expected), "percent": 400 - len(expected)} == outcomes(found.counts)
    assert 80 < len(expected) < 160


def test_who_takes_no_part_in_the_rollout_has_no_shadow() -> None:
    """A caller that named a version, or a tester."""
    stage = Stage()
    batch = stage.batch(rows(1), rows(2, 3), rows(4))
    batch.items[1].whose = None
    found = run(stage, batch)
    assert ([1, 3], {"mirrored": 2}, [2]) == (records_of(found)["unit"].tolist(), outcomes(found.counts), stage.candidate.runs)


def test_a_rate_lets_no_more_through() -> None:
    """The rest is counted."""
    stage = Stage(shadow_qps=10.0)
    found = run(stage, stage.batch(*[rows(1)] * 25))
    assert {"mirrored": 10, "qps": 15} == outcomes(found.counts)
    assert pytest.approx(0.1) == stage.mirror.limiter.wait_s
    stage.loop.time += 0.5
    assert {"mirrored": 5, "qps": 20} == outcomes(run(stage, stage.batch(*[rows(1)] * 25)).counts)


def test_a_rate_below_one_a_second_lets_one_through_now_and_then() -> None:
    """No burst is too small for one."""
    limiter = Limiter(0.5)
    assert [1, 0, 0, 1, 0] == [limiter.take(3, at) for at in (10.0, 10.5, 11.5, 12.0, 13.5)]
    assert pytest.approx(0.5) == limiter.wait_s


def test_it_leaves_off_where_others_need_the_time() -> None:
    """Between two runs."""
    stage = Stage()
    answers = stage.candidate._weighed

    def last(arrays):
        stage.yields = True
        return answers(arrays)

    stage.candidate.answers = last
    found = run(stage, stage.batch(rows(1)), stage.batch(rows(1)), stage.batch(rows(1)))
    assert ({"mirrored": 1, "crowded": 2}, [1]) == (outcomes(found.counts), stage.candidate.runs)


def test_stopped_it_ends_the_run_that_is_under_way_and_begins_no_other() -> None:
    """From another thread."""
    stage = Stage()

    def stop(arrays):
        stage.mirror.stop()
        assert stage.candidate.handles[-1].terminate
        raise RunFault(Code.CANCELLED, "nobody waits")

    stage.candidate.answers = stop
    found = run(stage, stage.batch(rows(1)), stage.batch(rows(1)))
    assert ([], [1]) == (found.records, stage.candidate.runs)


def test_no_copies_are_no_work() -> None:
    """Nor are those of whom nobody is chosen."""
    stage = Stage(shadow_percent=0.0)
    assert {} == outcomes(run(stage).counts)
    assert {"percent": 2} == outcomes(run(stage, stage.batch(rows(1), rows(2))).counts)
    assert [] == stage.candidate.runs
