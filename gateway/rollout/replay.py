"""Rows that were kept, asked of stable and of a candidate side by side, and what follows from it as from a shadow step. Blocks.

Every row is a request and a unit of its own. What fails together is asked again in halves, until each row has its own result, as it does
when it is served. Nothing is timed: how long a run takes beside nobody else's is not what callers would wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
import numpy as np

from gateway.errors import Code
from gateway.rollout.fitting import Fit
from gateway.rollout.pairing import Pairing
from gateway.rollout.plan import (
    Alpha,
    Analysis,
    Margin,
    Metadata,
    Metric,
    Plan,
    ShadowStep,
    Spec,
    Step,
    Strategy,
    Target,
    Tolerance,
    Until,
)
from gateway.rollout.recorder import flag_of, mixed_units
from gateway.rollout.records import CANDIDATE, RECORD, Flag, Kind
from gateway.rollout.tally import Tally
from gateway.rollout.thresholds import is_latency
from gateway.rollout.verdict import StepVerdict
from gateway.serving.model import Arrays, RunFault, RunLost
from gateway.serving.versions import Version

ROWS_PER_RUN = 256
_STREAM = 3  # of hashes of units: another one than of samples and shadows


def usual(model: str, candidate: int) -> Plan:
    """What is compared where no plan says it: failures, refusals, agreement, and the mix of classes."""
    metrics = (
        Metric(name="errors", type="rate", event="server_error or bad_output", critical=True, pass_if=Margin(ratio=2.0, or_abs=0.01)),
        Metric(name="refused", type="rate", event="rejected_input", critical=True, pass_if=Margin(ratio=2.0, or_abs=0.01)),
        Metric(name="agreement", type="agreement"),
        Metric(name="class_mix", type="distribution"),
    )
    strategy = Strategy(steps=(Step(shadow=ShadowStep(), until=Until(min_units=0)),))
    spec = Spec(model=model, candidate=Target(version=candidate), strategy=strategy, analysis=Analysis(alpha=Alpha(), metrics=metrics))
    return Plan(api_version="tidegate/v1", kind="Rollout", metadata=Metadata(name="replay"), spec=spec)


def replayed(plan: Plan) -> Plan:
    """A plan of one shadow step, with those metrics of `plan` that rows can tell of: failures, refusals, agreement, mixes."""
    tested = [step for step in plan.steps() if step.until is not None and step.until.verdict is not None]
    shadow = next((step for step in tested if step.shadow is not None), None)
    until = (shadow or (tested[0] if tested else Step(shadow=ShadowStep()))).until or Until()
    analysis = plan.spec.analysis
    kept = tuple(one for one in analysis.metrics if one.type in ("rate", "agreement", "distribution") and not is_latency(one))
    analysis = msgspec.structs.replace(analysis, metrics=kept, sample=1.0)
    strategy = Strategy(steps=(Step(shadow=ShadowStep(), until=until),))
    return msgspec.structs.replace(plan, spec=msgspec.structs.replace(plan.spec, strategy=strategy, analysis=analysis))


class Replay:
    """One candidate beside one stable version."""

    def __init__(self, plan: Plan, stable: Version, candidate: Version, *, wall: Callable[[], float]) -> None:
        """`plan` as `replayed` gives it; `wall()`: Unix seconds. Raises `ValueError` for a plan whose metrics cannot be counted."""
        metrics = plan.spec.analysis.metrics
        tolerance = next((metric.tolerance for metric in metrics if metric.type == "agreement"), Tolerance())
        score = any(metric.type == "distribution" and metric.of == "score" for metric in metrics)
        self._stable, self._candidate, self._wall = stable, candidate, wall
        self._fit = Fit(stable.signature, candidate.signature)
        self._pairing = Pairing(stable.signature, candidate.signature, atol=tolerance.atol, rtol=tolerance.rtol, score=score)
        self._tally = Tally(plan)

    def run(self, inputs: Mapping[str, np.ndarray], told: Callable[[int], object] = lambda _rows: None) -> StepVerdict:
        """What follows from all rows, or from those up to the one at which the candidate's process ended.

        inputs: arrays [rows, …] by stable's names, of its datatypes; `told(rows)` hears of every part that is done. Raises RunLost where
        stable's process ends.
        """
        arrays = [np.ascontiguousarray(inputs[spec.name]) for spec in self._stable.signature.inputs]
        rows, each = len(arrays[0]), self._rows_per_run(arrays)
        units = mixed_units(np.arange(rows, dtype=np.uint64), _STREAM)
        self._tally.enter(0, 0, self._wall())
        for start in range(0, rows, each):
            part = slice(start, start + each)
            records = self._pairs([array[part] for array in arrays], units[part])
            self._tally.add(records)
            told(len(records))
            if (records["flags"] & Flag.CRASHED).any():
                break
        return self._tally.verdicts(self._wall())

    def _rows_per_run(self, arrays: Arrays) -> int:
        if not self._fit.joins:
            return 1
        shapes = tuple(array.shape[1:] for array in arrays)
        return min(ROWS_PER_RUN, self._stable.batch_limit(shapes))

    def _pairs(self, arrays: Arrays, units: np.ndarray) -> np.ndarray:
        """Records of these rows; of those with which the candidate's process ended, of the first. Raises RunFault where stable's did."""
        others, outputs = self._stable_answer(arrays), self._answer(arrays)
        if isinstance(outputs, RunLost):
            records = self._blank(units[:1])
            records["flags"] |= np.uint16(Flag.SERVER_ERROR | Flag.CRASHED)
        elif not isinstance(others, RunFault) and not isinstance(outputs, RunFault):
            records = self._blank(units)
            self._pairing.judge(outputs, others, np.arange(len(units))).write(records)
        elif len(units) == 1:
            records = self._blank(units)
            ours, theirs = _flag(outputs), _flag(others)
            agrees = Flag.AGREES if ours == theirs else 0  # neither has an answer, for the same reason
            records["flags"] |= np.uint16(ours | agrees)
            records["other_flags"] = theirs
        else:
            records = self._halves(arrays, units)
        return records

    def _halves(self, arrays: Arrays, units: np.ndarray) -> np.ndarray:
        middle = len(units) // 2
        first = self._pairs([array[:middle] for array in arrays], units[:middle])
        if (first["flags"] & Flag.CRASHED).any():
            return first
        return np.concatenate([first, self._pairs([array[middle:] for array in arrays], units[middle:])])

    def _stable_answer(self, arrays: Arrays) -> Arrays | RunFault:
        answer = _asked(self._stable, arrays)
        if isinstance(answer, RunLost):
            raise answer
        return answer

    def _answer(self, arrays: Arrays) -> Arrays | RunFault:
        """The candidate's; where it does not take what stable takes, a refusal."""
        given = self._fit.given(arrays)
        return _asked(self._candidate, given) if given is not None else RunFault(Code.INVALID_ARGUMENT, "its inputs are others")

    def _blank(self, units: np.ndarray) -> np.ndarray:
        records = np.zeros(len(units), RECORD)
        records["unit"], records["kind"], records["arm"], records["flags"] = units, Kind.PAIR, CANDIDATE, Flag.SAMPLED
        for name in ("latency_s", "other_latency_s", "value", "other_value"):
            records[name] = np.nan
        records["batch_rows"], records["time_s"] = len(units), self._wall()
        return records


def _asked(version: Version, arrays: Arrays) -> Arrays | RunFault:
    try:
        return version.model.run(arrays)
    except RunFault as fault:
        return fault


def _flag(answer: Arrays | RunFault) -> int:
    """What a request that ended so says of the version."""
    return flag_of(answer.code) if isinstance(answer, RunFault) else 0
