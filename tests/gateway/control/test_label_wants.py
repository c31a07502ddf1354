"""From the log and its labels to the verdict of a rollout: each labelled answer counts once, whoever is started again in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from gateway.capture_settings import Capture
from gateway.config import Config, Repository
from gateway.control.benches import Bench, Benches
from gateway.control.label_wants import Wanted
from gateway.control.matured import Matured, Want
from gateway.control.referee import no_labels
from gateway.label_settings import Labels as LabelSettings
from gateway.rollout.labels import LABELLED
from gateway.rollout.verdict import MetricVerdict, Verdict
from registry.label import Label
from registry.labels import Labels
from tests.gateway.rollout import traffic
from tests.gateway.rollout.play import Play
from tests.gateway.rollout.rolled import NOW_S
from tests.retrain.served import commit_answers, request_id

S = 1_000_000
T0 = int(NOW_S) * S
RIGHT, WRONG = 1, 0  # what came true is 1
METRIC = {"name": "accuracy", "type": "label", "label": "came", "critical": True}
HALF = [{"setWeight": 50}, {"setWeight": 60}]
NO_EXECUTOR: Any = None


def unit(number: int) -> int:
    """Whose bytes read one way are not what they are the other way."""
    return (number + 1) << 40 | 7


def answer(number: int, *, arm: str = "stable", said: int = RIGHT, **more: Any) -> dict[str, Any]:
    """By the version of that arm, of a unit of its own."""
    return {
        "request_id": request_id(number, T0), "ts": T0 + number, "rollout_id": "m-1", "step": 0, "arm": arm, "pred_class": said,
        "version": 1 if arm == "stable" else 2, "unit_hash": unit(number).to_bytes(8, "big"),
    } | more  # fmt: skip


def truths(log: Path, numbers: range, *, name: str = "came", suffix: str = "") -> None:
    """1 came true of each."""
    labels = [Label(label_id=f"{number}{suffix}", model="m", name=name, value=1.0, request_id=request_id(number, T0)) for number in numbers]
    Labels(log).ingest(labels, T0 + 50 * S)


def halves(numbers: range) -> list[dict[str, Any]]:
    """Every second one is the candidate's and wrong."""
    return [answer(one, arm=("stable", "canary")[one % 2], said=(RIGHT, WRONG)[one % 2]) for one in numbers]


def benches(run: str = "run") -> Benches:
    return Benches([], NO_EXECUTOR, ask=lambda _url: b"", run=run)


def opened(where: Benches, play: Play, saved: bytes | None = None, *, step: int | None = 0) -> Bench:
    bench = where.open(play.standing, saved)
    if step is not None:
        bench.enter(step, 5000, NOW_S)
    return bench


def told(where: Benches, want: Want, log: Path, now_us: int = T0 + 100 * S) -> None:
    """All that a desk which has just been started tells."""
    tell(where, want, Wanted(want, log, wait_s=1e6, most=10_000).look(now_us))


def tell(where: Benches, want: Want, answers: np.ndarray) -> None:
    where.matured(Matured(want.reader, want.metric, answers.tobytes()))


def counted(bench: Bench) -> tuple[tuple[int, int], tuple[int, int]]:
    """Units and wrong ones: the candidate's and stable's."""
    found = verdict(bench).found
    return found.units, found.events


def verdict(bench: Bench) -> MetricVerdict:
    return bench.tally.verdicts(NOW_S + 1).metrics[0]


@pytest.fixture
def play() -> Play:
    return Play(traffic.plan(METRIC, steps=HALF))


def test_a_candidate_whose_answers_turn_out_wrong_fails(tmp_path: Path, play: Play) -> None:
    """By the label that its plan names, of answers that were assigned in this rollout and can be right or wrong."""
    others = [
        answer(100, arm="forced", said=WRONG),
        answer(101, arm="fallback", version=1, said=WRONG), answer(102, rollout_id="m-2", said=WRONG),
        answer(103, said=WRONG, unit_hash=None), answer(104, said=WRONG, rollout_id=None, step=None),
        answer(105, pred_class=None, score=0.5),
        answer(106, said=WRONG, status=13), answer(107, pred_class=None, score=7.0), answer(108, said=WRONG, version=3),
    ]  # fmt: skip
    commit_answers(tmp_path, halves(range(60)) + others)
    commit_answers(tmp_path, [answer(200, model="other", said=WRONG)], model="other")
    truths(tmp_path, range(300))
    truths(tmp_path, range(60), name="label", suffix="x")
    where = benches()
    bench = opened(where, play)
    (want,) = where.wants
    assert ("m-1", "m", "accuracy", "came", 0.0, NOW_S, (1, 2)) == msgspec.structs.astuple(want)[1:]
    wanted = Wanted(want, tmp_path, wait_s=1e6, most=10_000)
    answers = wanted.look(T0 + 100 * S)
    assert sorted([*map(unit, range(60)), unit(105)]) == sorted(answers["unit"].tolist())
    tell(where, want, answers)
    assert ((30, 31), (30, 0)) == counted(bench)
    assert (Verdict.FAIL, True) == (verdict(bench).verdict, "wrong answers in 30 of 30 units" in verdict(bench).sentence)
    assert 0 == len(wanted.look(T0 + 200 * S))


def test_whoever_is_started_again_each_answer_counts_once(tmp_path: Path, play: Play) -> None:
    """The desk tells all of it again; a referee goes on from what was saved before, and asks under another name."""
    commit_answers(tmp_path, halves(range(20)))
    truths(tmp_path, range(10))
    where = benches()
    bench = opened(where, play)
    (want,) = where.wants
    told(where, want, tmp_path)
    saved = bench.document()
    truths(tmp_path, range(10, 20))
    for _ in range(2):
        told(where, want, tmp_path)
        assert ((10, 10), (10, 0)) == counted(bench)
    again = benches("another")
    resumed = opened(again, play, saved)
    assert ((5, 5), (5, 0)) == counted(resumed)
    tell(again, want, Wanted(want, tmp_path, wait_s=1e6, most=10_000).look(T0 + 100 * S))  # what was meant for the one before
    assert ((5, 5), (5, 0)) == counted(resumed)
    (asked,) = again.wants
    assert asked.reader != want.reader
    told(again, asked, tmp_path)
    assert ((10, 10), (10, 0)) == counted(resumed)


def test_a_correction_that_comes_late_changes_nothing_that_was_counted(tmp_path: Path, play: Play) -> None:
    """Also where a desk that has been started again says so."""
    commit_answers(tmp_path, [answer(0)])
    truths(tmp_path, range(1))
    where = benches()
    bench = opened(where, play)
    told(where, where.wants[0], tmp_path)
    correction = Label(label_id="no", model="m", name="came", value=0.0, request_id=request_id(0, T0), supersedes="0")
    Labels(tmp_path).ingest([correction], T0 + 60 * S)
    told(where, where.wants[0], tmp_path)
    assert ((0, 1), (0, 0)) == counted(bench)


def test_an_answer_counts_when_it_is_mature(tmp_path: Path) -> None:
    """By the plan, not by the server's settings."""
    commit_answers(tmp_path, halves(range(4)))
    truths(tmp_path, range(4))
    where = benches()
    bench = opened(where, Play(traffic.plan(METRIC | {"mature_after": "10m"}, steps=HALF)))
    wanted = Wanted(where.wants[0], tmp_path, wait_s=1.0, most=10_000)
    tell(where, where.wants[0], wanted.look(T0 + 599 * S))
    assert Verdict.NO_DATA is verdict(bench).verdict
    tell(where, where.wants[0], wanted.look(T0 + 601 * S))
    assert ((2, 2), (2, 0)) == counted(bench)


def test_what_cannot_be_read_is_tried_again_and_settles_nothing_by_half(tmp_path: Path, play: Play) -> None:
    """No log yet; then a file that is damaged, with its labels read before."""
    where = benches()
    opened(where, play)
    wanted = Wanted(where.wants[0], tmp_path, wait_s=1e6, most=10_000)
    assert 0 == len(wanted.look(T0))
    path = commit_answers(tmp_path, halves(range(4)))
    truths(tmp_path, range(4))
    whole = path.read_bytes()
    path.write_bytes(b"broken")
    assert 0 == len(wanted.look(T0 + 7_200 * S))
    path.write_bytes(whole)
    assert 4 == len(wanted.look(T0 + 7_200 * S))


def test_answers_of_the_next_step_wait_for_it(play: Play) -> None:
    """Where the desk is ahead; nothing is asked for before a step has been entered."""
    where = benches()
    bench = opened(where, play, step=None)
    assert () == where.wants
    bench.enter(0, 5000, NOW_S)
    made = np.zeros(3, LABELLED)
    made["unit"], made["step"], made["arm"] = [1, 2, 3], [0, 1, 1], [0, 1, 1]
    for part in (made[:2], made[2:]):
        tell(where, where.wants[0], part)
    assert ((0, 1), (0, 0)) == counted(bench)
    bench.enter(1, 6000, NOW_S + 1)
    assert ((2, 1), (0, 0)) == counted(bench)


def test_arms_of_a_comparison_are_told_apart_by_their_versions(tmp_path: Path) -> None:
    """In the log each of them is a canary."""
    arms = [{"name": "b", "version": 2, "weight": 30}, {"name": "c", "version": 3, "weight": 30}]
    commit_answers(tmp_path, [answer(0), *[answer(one, arm="canary", version=3, said=WRONG) for one in (1, 2)], answer(3, arm="canary")])
    truths(tmp_path, range(4))
    where = benches()
    bench = where.open(Play(traffic.plan(METRIC, ab={"arms": arms})).standing, None)
    bench.enter(0, 6000, NOW_S)
    told(where, where.wants[0], tmp_path)
    found = {one.arm: one.found for one in bench.tally.verdicts(NOW_S).metrics}
    assert ((1, 1), (0, 0), (2, 1), (2, 0)) == (found["b"].units, found["b"].events, found["c"].units, found["c"].events)


def test_in_a_shadow_step_stables_labels_say_nothing_of_the_candidate() -> None:
    """Its answers are in no log, so the metric has no say there."""
    where = benches()
    bench = where.open(Play(traffic.plan(METRIC | {"pass_if": {"ratio": 1.5}}, steps=traffic.SHADOW)).standing, None)
    bench.enter(0, 0, NOW_S)
    made = np.zeros(4, LABELLED)
    made["unit"] = [1, 2, 3, 4]
    tell(where, where.wants[0], made)
    assert (Verdict.NO_DATA, False) == (verdict(bench).verdict, verdict(bench).has_say)
    bench.enter(1, 5000, NOW_S)
    assert verdict(bench).has_say


@pytest.mark.parametrize(
    ("labels", "capture", "why"),
    [(False, True, "keeps no labels: set labels.enabled"), (True, False, "set capture.enabled"), (True, True, "")],
)
def test_where_no_label_can_come_the_verdict_says_why(tmp_path: Path, play: Play, labels: bool, capture: bool, why: str) -> None:
    """NO_DATA never passes, and whoever waits for it should know."""
    config = Config(
        repository=Repository(path=tmp_path), labels=LabelSettings(enabled=labels, directory=tmp_path),
        capture=Capture(enabled=capture, directory=tmp_path),
    )  # fmt: skip
    where = benches()
    where.no_labels = no_labels(config)
    found = verdict(opened(where, play))
    assert (Verdict.NO_DATA, "accuracy: nothing has been counted yet") == (found.verdict, found.sentence.partition(",")[0])
    assert (why in found.sentence) if why else "," not in found.sentence
