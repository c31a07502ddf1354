"""What the metrics page shows of rollouts: where each stands, what each arm got, and the evidence for and against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gateway.control.benches import Bench, Benches
from gateway.rollout.plan import WEIGHT_UNITS
from gateway.rollout.standing import Standing

Sample = tuple[tuple[str, ...], float]
Families = dict[str, list[Sample]]


def families_of(standings: Mapping[str, Standing], benches: Benches) -> Families:
    """Family → label values and numbers, of every rollout that this server decides about."""
    found: Families = {"tidegate_rollout_records_lost_total": [((), float(benches.lost))]}
    for rollout, standing in standings.items():
        bench = benches.benches.get(rollout)
        for name, labels, value in (*_standing(standing), *(() if bench is None else _evidence(bench))):
            found.setdefault(name, []).append(((rollout, standing.model, *labels), value))
    return found


def _standing(standing: Standing) -> Iterator[tuple[str, tuple[str, ...], float]]:
    yield "tidegate_rollout_phase", (standing.phase.value,), 1.0
    yield "tidegate_rollout_step", (), float(standing.step)
    yield "tidegate_rollout_weight_ratio", (), standing.share / WEIGHT_UNITS


def _evidence(bench: Bench) -> Iterator[tuple[str, tuple[str, ...], float]]:
    names = ("stable", *bench.tally.arms)
    for name, assigned, ended in zip(names, bench.tally.assigned_calls.tolist(), bench.tally.ended_calls.tolist(), strict=True):
        yield "tidegate_rollout_requests_total", (name, "assigned"), float(assigned)
        yield "tidegate_rollout_requests_total", (name, "ended"), float(ended)
    verdict = bench.verdict
    if verdict is None:
        return
    yield "tidegate_rollout_verdict", (verdict.verdict.value,), 1.0
    yield "tidegate_rollout_units", (), float(verdict.units)
    for one in verdict.metrics:
        yield "tidegate_rollout_log_e", (one.metric, one.arm, "fail"), one.greatest_log_e_fail
        yield "tidegate_rollout_log_e", (one.metric, one.arm, "pass"), one.greatest_log_e_pass
