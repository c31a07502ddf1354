"""One simulated rollout through the product: tally, verdicts, and the machine that decides by them; without a registry or a server."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.rollout_traffic import Requests, records_of
from gateway.rollout.deciding import decide, followed
from gateway.rollout.machine import Phase
from gateway.rollout.observation import Observation, Overall, Reading
from gateway.rollout.plan import WEIGHT_UNITS, Plan
from gateway.rollout.standing import Begun, Pin, Standing, Trip
from gateway.rollout.tally import Tally
from gateway.rollout.verdict import StepVerdict

BEGIN_S = 1_700_000_000.0
STABLE, CANDIDATE = (Pin(version=number, manifest=f"sha256:{number:064x}") for number in (1, 2))
ENDS = {Phase.PROMOTING: "promoted", Phase.ROLLING_BACK: "failed", Phase.PAUSED: "paused"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a rollout, after how many requests."""

    verdict: str  # promoted, failed, paused, open
    requests: int
    fast: bool = False


def run(plan: Plan, requests: Requests, *, look: int, most: int, sample: float) -> Outcome:
    """Until it is over, or for `most` requests. `look`: requests between two looks, each of which takes a second."""
    standing, tally = _decided(_queued(plan), None, BEGIN_S), Tally(plan)
    while requests.count < most:
        now_s = BEGIN_S + requests.count / look
        if tally.step != standing.step:
            tally.enter(standing.step, standing.weight, now_s)
        calls = requests.next(look, standing.weight / WEIGHT_UNITS)
        tally.add(records_of(*calls, step=standing.step, begin_s=now_s, sample=sample))
        reading = reading_of(tally.verdicts(now_s + 1.0))
        standing = _decided(standing, reading, now_s + 1.0)
        if standing.phase in ENDS:
            return Outcome(ENDS[standing.phase], requests.count, reading.fast is not None)
    return Outcome("open", requests.count)


def reading_of(found: StepVerdict) -> Reading:
    """A verdict as the machine reads it."""
    return Reading(
        step=found.step,
        overall=Overall(found.verdict.value),
        units=found.units,
        tripped=tuple(Trip(one.metric, one.critical, one.sentence) for one in found.tripped),
        fast=found.fast,
        invalid=found.sample_ratio.sentence if found.sample_ratio.tripped else None,
        sentence=found.sentence,
    )


def _queued(plan: Plan) -> Standing:
    begun = Begun(plan=f"sha256:{0:064x}", salt="0" * 32, alias="champion", candidate=CANDIDATE, publisher="publisher")
    return Standing(rollout="r", model="m", plan=plan, begun=begun, starter="bench", phase=Phase.QUEUED, entered_s=BEGIN_S)


def _decided(standing: Standing, reading: Reading | None, now_s: float) -> Standing:
    for draft in decide(standing, Observation(ready=True, champion=STABLE, reading=reading), now_s):
        standing = followed(standing, draft, now_s)
    return standing


def spread(outcomes: list[Outcome], verdict: str) -> tuple[int, float | None]:
    """How many came to a verdict, and the median of their requests."""
    requests = [one.requests for one in outcomes if one.verdict == verdict]
    return len(requests), float(np.median(requests)) if requests else None
