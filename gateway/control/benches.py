"""The evidence of every rollout that this server decides about: fed from the rings of its workers, read by the controller."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import Executor

import msgspec
import numpy as np

from gateway.control.matured import Matured, Want
from gateway.control.queries import Fetch, Questions
from gateway.rollout.directive import pinned
from gateway.rollout.labels import LABELLED
from gateway.rollout.observation import Overall, Reading
from gateway.rollout.plan import seconds
from gateway.rollout.records import RECORD
from gateway.rollout.ring import ARMS, Ring
from gateway.rollout.saved import SavedError
from gateway.rollout.standing import Standing, Trip
from gateway.rollout.tally import Tally
from gateway.rollout.verdict import StepVerdict

_log = logging.getLogger(__name__)
CRASHES = 2  # of workers, while they serve the candidate themselves


class Bench:
    """The evidence of one rollout: `controller.Evidence`."""

    def __init__(self, tally: Tally, deaths: int, questions: Questions | None = None, wants: tuple[Want, ...] = ()) -> None:
        """`questions` of the plan to other servers, where somebody asks them; `wants`: the labelled answers that it needs."""
        self.wants = wants
        self.tally = tally
        self.questions = questions
        self.verdict: StepVerdict | None = None  # as of the last reading
        self._made_of = -1  # changes of the tally when it was made
        self.serves_inline = False  # the candidate, in the workers
        self._early: dict[str, np.ndarray] = {}  # metric → labelled answers of steps that have not been entered here yet
        self._deaths_then = self._deaths = deaths
        self._at_begin: dict[int, dict[str, np.ndarray]] = {}  # ring → its counts when this rollout's began

    @property
    def step(self) -> int | None:
        """That was entered last; None for none."""
        return self.tally.step if self.tally.step >= 0 else None

    def enter(self, step: int, weight: int, now_s: float) -> None:
        """See `controller.Evidence`."""
        self.tally.enter(step, weight, now_s)
        self._deaths_then = self._deaths
        for metric in list(self._early):
            self.labelled(metric, np.zeros(0, LABELLED))

    def reading(self, now_s: float) -> Reading:
        """See `controller.Evidence`."""
        if self.step is None:
            return Reading(step=0)
        if self.verdict is None or self._made_of != self.tally.changes:
            self.verdict, self._made_of = self.tally.verdicts(now_s), self.tally.changes
        found = self.verdict
        return Reading(
            step=found.step,
            overall=Overall(found.verdict.value),
            units=found.units,
            tripped=tuple([Trip(one.metric, one.critical, one.sentence) for one in found.tripped]),
            fast=found.fast or self._crashed(),
            invalid=found.sample_ratio.sentence if found.sample_ratio.tripped else None,
            sentence=found.sentence,
        )

    def report(self) -> bytes:
        """See `controller.Evidence`."""
        return msgspec.json.encode(self.verdict)

    def document(self) -> bytes:
        """See `controller.Evidence`."""
        return self.tally.document()

    def count(self, ring: int, counts: Mapping[str, np.ndarray], slot: int) -> None:
        """Requests by arm as one worker counts them, for a rollout that it has had from some time on."""
        self._at_begin.setdefault(ring, {name: of[slot].copy() for name, of in counts.items()})

    def assigned(self, rings: Mapping[int, Mapping[str, np.ndarray]], slot: int) -> None:
        """Requests that were assigned and that ended, over all workers."""
        total = dict.fromkeys(("assigned", "answered", "failed"), np.zeros(ARMS, np.int64))
        for number, counts in rings.items():
            self.count(number, counts, slot)
            for name in total:
                total[name] = total[name] + counts[name][slot] - self._at_begin[number][name]
        arms = len(self.tally.assigned_calls)
        self.tally.assigned(total["assigned"][:arms].tolist(), (total["answered"] + total["failed"])[:arms].tolist())

    def ask(self, now_s: float) -> None:
        """Take what other servers have answered, and ask on."""
        if self.questions is None:
            return
        for metric, value, error in self.questions.answers():
            self.tally.queried(metric, value, error)
        self.questions.due(now_s)

    def labelled(self, metric: str, answers: np.ndarray) -> None:
        """Take answers with their labels, [n] of `LABELLED`. Whoever has them may be ahead by a step."""
        known = np.concatenate([self._early.pop(metric, answers[:0]), answers])
        early = known["step"] > self.tally.step
        if early.any():
            self._early[metric] = known[early]
        self.tally.labelled(metric, known[~early])

    def died(self, deaths: int) -> None:
        """So many workers have died unasked since the server began."""
        self._deaths = deaths
        if not self.serves_inline:
            self._deaths_then = deaths

    def _crashed(self) -> str | None:
        crashes = self._deaths - self._deaths_then
        return f"{crashes} workers died while they served the candidate" if crashes >= CRASHES else None


class Benches:
    """`controller.Evidences`, over the rings of one server."""

    def __init__(self, rings: list[Ring], executor: Executor, *, ask: Fetch, run: str = "") -> None:
        """`ask(url)` asks other servers, on threads of `executor`; `run` is another one for each process."""
        self.no_labels = ""  # why no label ever comes
        self._run, self._opened = run, 0
        self.lost = 0  # records that were overwritten before they were read
        self.slots: Mapping[str, int] = {}  # rollout → where its records are
        self.inline: Mapping[str, bool] = {}  # rollout → whether workers serve its candidate themselves
        self.benches: dict[str, Bench] = {}
        self._rings, self._executor, self._ask = rings, executor, ask
        self._read = [ring.written for ring in rings]  # what was there before is of a time that nobody counts
        self._gathered: list[np.ndarray] = []  # records that were read and are not counted yet
        self._deaths = 0

    def open(self, standing: Standing, saved: bytes | None) -> Bench:
        """See `controller.Evidences`."""
        questions = Questions(standing, self._executor, ask=self._ask)
        self._opened += 1
        wants = wants_of(standing, f"{self._run}.{self._opened}")
        bench = self.benches[standing.rollout] = Bench(_tally(standing, saved), self._deaths, questions, wants)
        if self.no_labels:
            for want in wants:
                bench.tally.unlabelled(want.metric, self.no_labels)
        return bench

    def close(self, rollout: str) -> None:
        """See `controller.Evidences`."""
        self.benches.pop(rollout, None)

    @property
    def wants(self) -> tuple[Want, ...]:
        """The labelled answers that are needed now."""
        return tuple(want for bench in self.benches.values() if bench.step is not None for want in bench.wants)

    def matured(self, matured: Matured) -> None:
        """Some of them. What somebody asked for who is no more counts for nothing."""
        for bench in self.benches.values():
            if any((want.reader, want.metric) == (matured.reader, matured.metric) for want in bench.wants):
                bench.labelled(matured.metric, np.frombuffer(matured.answers, LABELLED))

    def gather(self) -> None:
        """Read what workers have recorded, before they write over it. Counting costs more, and is as good later: that is for `feed`."""
        for number, ring in enumerate(self._rings):
            taken, self._read[number], lost = ring.read(self._read[number])
            self.lost += lost
            if len(taken):
                self._gathered.append(taken)

    def feed(self, deaths: int, now_s: float) -> None:
        """Count what workers have recorded and others have answered since the last time."""
        self._deaths = deaths
        self.gather()
        records = self._new()
        counts = {number: ring.counts() for number, ring in enumerate(self._rings)}
        for rollout, bench in self.benches.items():
            slot = self.slots.get(rollout)
            bench.serves_inline = slot is not None and self.inline.get(rollout, False)
            bench.died(deaths)
            if bench.step is not None:
                bench.ask(now_s)
            if slot is not None:
                bench.assigned(counts, slot)
                if bench.step is not None:
                    bench.tally.add(records[records["slot"] == slot])

    def _new(self) -> np.ndarray:
        parts, self._gathered = self._gathered, []
        if not parts:
            return np.zeros(0, RECORD)
        records = np.concatenate(parts)
        return records[np.argsort(records["time_s"], kind="stable")] if len(parts) > 1 else records


def wants_of(standing: Standing, reader: str) -> tuple[Want, ...]:
    """Of each metric of labels."""
    if standing.stable is None:
        return ()
    versions = tuple(arm.pin.version for arm in pinned(standing))
    return tuple(
        Want(reader, standing.rollout, standing.model, one.name, one.label, seconds(one.mature_after), standing.begun_s, versions)
        for one in standing.plan.spec.analysis.metrics
        if one.type == "label"
    )


def _tally(standing: Standing, saved: bytes | None) -> Tally:
    if saved is not None:
        try:
            return Tally.restore(standing.plan, saved)
        except SavedError as error:
            _log.error("evidence of rollout %s begins anew: %s", standing.rollout, error)
    return Tally(standing.plan)
