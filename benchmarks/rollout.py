"""Are rollouts judged rightly, and how soon? Simulated ones through the product's own tally, verdicts and machine, beside how others judge.

`python -m benchmarks.rollout` runs it whole, in under twenty minutes on one core, and writes benchmarks/results/rollout.json;
`--quick --json -` takes fewer rollouts and prints one JSON object as its last line. A rollout goes through 5, 25 and 50 % of the units as
its verdicts tell, with α of 1 % for failing and 5 % for passing and a margin of 1.5 times the errors of stable; it is looked at after every
`LOOK` requests. Users are of very different activity, errors cluster and their rate drifts (`rollout_traffic.py`). Shares that must not
exceed α are allowed the binomial error of so many rollouts, and stand beside their upper bounds.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks import command, rollout_latency, rollout_peers, rollout_power
from benchmarks.machine import describe_machine, describe_versions
from benchmarks.rollout_driver import Outcome, run, spread
from benchmarks.rollout_traffic import SAMPLE, Crowd, Kind, Requests, seeds
from gateway.rollout.plan import Plan
from gateway.rollout.tally import Tally

RESULT = Path(__file__).parent / "results" / "rollout.json"
LOOK = 1000  # requests
MOST = 250_000  # requests of a rollout that nothing decides
ALPHA_FAIL, ALPHA_PASS, MARGIN = 0.01, 0.05, 1.5

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many rollouts of each part."""

    cell: int
    peers: int
    latency: int
    power: int


WHOLE = Size(cell=2000, peers=2000, latency=500, power=4000)
QUICK = Size(cell=200, peers=200, latency=60, power=600)


# Nothing but the margin of the difference can end it: twice as many errors are tolerated.
DIFFERENCE: Document = {
    "weights": (50.0,), "margin": {"ratio": None, "or_abs": 0.05}, "tolerate": 2.0, "sample": 1.0, "most": 15_000, "look": 500,
}  # fmt: skip
CELLS: dict[str, Document] = {
    "as_good": {"kind": Kind(rate=0.02)},
    "as_good_independent": {"kind": Kind(rate=0.02, clustered=False)},
    "better": {"kind": Kind(rate=0.02, ratio=0.5)},
    "at_the_margin": {"kind": Kind(rate=0.02, ratio=MARGIN)},
    "at_the_margin_one_step": {"kind": Kind(ratio=MARGIN, clustered=False), "weights": (50.0,)},
    "at_the_margin_one_step_clustered": {"kind": Kind(ratio=MARGIN), "weights": (50.0,)},
    "at_the_difference_one_step": DIFFERENCE | {"kind": Kind(rate=0.2, excess=0.05, clustered=False)},
    "at_the_difference_one_step_clustered": DIFFERENCE | {"kind": Kind(rate=0.1, excess=0.05)},
    "four_times": {"kind": Kind(ratio=4.0), "look": 50},
}  # fmt: skip


def main() -> int:
    """Run, judge, write."""
    options = command.parser(__doc__, seed="the rollouts").parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    size, started, machine = QUICK if options.quick else WHOLE, time.monotonic(), describe_machine()
    crowd = Crowd(np.random.default_rng([options.seed, 1]))
    parts: dict[str, Callable[[], Document]] = {
        **{name: lambda name=name: cell(name, size.cell, crowd, options.seed) for name in CELLS},  # type: ignore[misc]
        "peers": lambda: peers(size.peers, crowd, options.seed),
        "latency": lambda: rollout_latency.measure(size.latency, options.seed),
        "power": lambda: rollout_power.measure(size.power, options.seed),
        "cost": lambda: cost(options.seed),
    }
    measurements: Document = {}
    for name, part in parts.items():
        begun = time.monotonic()
        measurements[name] = part()
        print(f"{name}: {time.monotonic() - begun:.0f} s {measurements[name]}", file=sys.stderr, flush=True)
    result = {
        "machine": machine, "versions": describe_versions(), "seed": options.seed, "quick": options.quick,
        "seconds": round(time.monotonic() - started), "measurements": measurements, "bars": judge(measurements),
    }  # fmt: skip
    return command.conclude(result, options.json, RESULT)


# --- rollouts ----------------------------------------------------------------------------------------------------------------------------


def plan_of(
    *, weights: tuple[float, ...], margin: Document, tolerate: float = 1.0, metrics: list[Document] | None = None, sample: float = SAMPLE
) -> Plan:
    """One critical metric, errors, unless others are given; no warm-up."""
    errors: Document = {"name": "errors", "type": "rate", "event": "server_error", "critical": True, "pass_if": margin}
    errors["tolerate"] = {"ratio": tolerate}
    analysis = {
        "alpha": {"fail": ALPHA_FAIL, "pass": ALPHA_PASS}, "warmup": {"requests": 0, "duration": "0s"}, "sample": sample,
        "metrics": metrics or [errors],
    }  # fmt: skip
    strategy = {"steps": [{"setWeight": weight} for weight in weights]}
    spec = {"model": "m", "candidate": {"version": 2}, "strategy": strategy, "analysis": analysis}
    return msgspec.convert({"apiVersion": "tidegate/v1", "kind": "Rollout", "metadata": {"name": "r"}, "spec": spec}, Plan)


def cell(name: str, count: int, crowd: Crowd, seed: int) -> Document:
    """What comes of rollouts of one kind."""
    return summary([rollout(CELLS[name], crowd, random) for random in seeds(seed, name, count)])


def rollout(of: Document, crowd: Crowd, random: np.random.Generator) -> Outcome:
    """One rollout of a cell."""
    sample = of.get("sample", SAMPLE)
    weights, margin = of.get("weights", (5.0, 25.0, 50.0)), of.get("margin", {"ratio": MARGIN})
    plan = plan_of(weights=weights, margin=margin, tolerate=of.get("tolerate", 1.0), sample=sample)
    return run(plan, Requests(crowd, of["kind"], random), look=of.get("look", LOOK), most=of.get("most", MOST), sample=sample)


def summary(outcomes: list[Outcome]) -> Document:
    """Shares with their upper bounds, and medians of requests."""
    found: Document = {"rollouts": len(outcomes), "fast": sum(one.fast for one in outcomes)}
    for verdict in ("promoted", "failed", "paused", "open"):
        count, median = spread(outcomes, verdict)
        bound = round(upper(count, len(outcomes)), 5)
        found[verdict] = {"share": round(count / len(outcomes), 5), "upper_95": bound, "median_requests": median}
    return found


def upper(hits: int, rows: int, alpha: float = 0.05) -> float:
    """The one-sided upper bound of a proportion (Clopper, Pearson), by bisection of the binomial tail."""
    low, high = hits / rows, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        tail = sum(math.exp(_log_binomial(rows, k, middle)) for k in range(hits + 1))
        low, high = (middle, high) if tail > alpha else (low, middle)
    return high


def _log_binomial(rows: int, hits: int, p: float) -> float:
    if p <= 0.0 or p >= 1.0:
        return 0.0 if hits == rows * p else -math.inf
    ways = math.lgamma(rows + 1) - math.lgamma(hits + 1) - math.lgamma(rows - hits + 1)
    return ways + hits * math.log(p) + (rows - hits) * math.log1p(-p)


# --- beside others, and what it costs ----------------------------------------------------------------------------------------------------


def peers(count: int, crowd: Crowd, seed: int) -> Document:
    """Shares of rollouts that others fail: of candidates that are as good, at the margin, and four times as bad. Last, our own evidence
    without its unit rule, of requests."""
    judges: dict[str, Callable[[Any], bool]] = {
        "constant_10_checks": lambda steps: rollout_peers.constant(steps, rollout_peers.FLAGGER_CHECKS),
        "constant_4_checks": lambda steps: rollout_peers.constant(steps, rollout_peers.ARGO_CHECKS),
        "mann_whitney": rollout_peers.mann_whitney,
        "peeked_z": rollout_peers.peeked_z,
        "odds_of_requests": rollout_peers.odds_of_requests,
    }
    found: Document = {}
    for name, ratio in {"as_good": 1.0, "at_the_margin": MARGIN, "four_times": 4.0}.items():
        kind = Kind(ratio=ratio)
        failed = dict.fromkeys(judges, 0)
        for random in seeds(seed, f"peers {name}", count):
            steps = rollout_peers.schedule(Requests(crowd, kind, random))
            for judge_name, fails in judges.items():
                failed[judge_name] += fails(steps)
        found[name] = {"rollouts": count, **{judge_name: round(hits / count, 4) for judge_name, hits in failed.items()}}
    return found


def cost(seed: int) -> Document:
    """Microseconds of a core for each record, with all kinds of metrics that records feed, in batches of a tenth of a second's worth."""
    metrics: list[Document] = [
        {"name": "errors", "type": "rate", "event": "server_error", "critical": True, "pass_if": {"ratio": MARGIN, "or_abs": 0.005}},
        {"name": "rejected", "type": "rate", "event": "rejected_input"}, {"name": "bad", "type": "rate", "event": "bad_output"},
        {"name": "slo", "type": "rate", "event": "latency_ms > 50", "pass_if": {"ratio": MARGIN, "or_abs": 0.01}},
        {"name": "latency", "type": "dominance"}, {"name": "mix", "type": "distribution"},
    ]  # fmt: skip
    tally, random = Tally(plan_of(weights=(5.0,), margin={}, metrics=metrics, sample=1.0)), np.random.default_rng([seed, 2])
    tally.enter(0, 500, 0.0)
    batches = [rollout_latency.calls(random, 5000, weight=0.05, ratio=1.0) for _ in range(60)]
    for batch in batches[:20]:
        tally.add(batch)
    begun = time.process_time()
    for batch in batches[20:]:
        tally.add(batch)
    spent = time.process_time() - begun
    begun = time.process_time()
    document = tally.document()
    return {
        "us_per_record": round(1e6 * spent / (40 * 5000), 3), "core_share_at_50000_per_s": round(spent / 40 / 0.1, 4),
        "document_mib": round(len(document) / 2**20, 2), "document_ms": round(1e3 * (time.process_time() - begun), 1),
    }  # fmt: skip


# --- what is made of it ------------------------------------------------------------------------------------------------------------------


def judge(measured: Document) -> list[Document]:
    """Every bar that is set for verdicts."""
    bars = [bar("four_times_median_requests", measured["four_times"]["failed"]["median_requests"], "<=", 6000)]
    bars.append(bar("four_times_failed", measured["four_times"]["failed"]["share"], ">=", 0.99))
    bars += [allowed(f"{name}_failed", measured[name], "failed", ALPHA_FAIL) for name in ("as_good", "as_good_independent", "better")]
    bars.append(bar("as_good_promoted", measured["as_good"]["promoted"]["share"], ">=", 0.8))
    bars += [allowed(f"{name}_promoted", found, "promoted", ALPHA_PASS) for name, found in measured.items() if name.startswith("at_the_")]
    bars += [bar(name, *rest) for name, *rest in (*rollout_latency.bars(measured["latency"]), *rollout_power.bars(measured["power"]))]
    bars.append(bar("core_share_at_50000_records_per_s", measured["cost"]["core_share_at_50000_per_s"], "<=", 0.10))
    return bars


def allowed(name: str, found: Document, verdict: str, alpha: float) -> Document:
    """A share of at most α, and the binomial error of so many rollouts at 1 %."""
    error = 2.326 * math.sqrt(alpha * (1 - alpha) / found["rollouts"])
    return bar(name, found[verdict]["share"], "<=", round(alpha + error, 5))


def bar(name: str, value: float | None, op: str, bound: float) -> Document:
    """One bar; without a value it does not hold."""
    holds = value is not None and (value <= bound if op == "<=" else value >= bound)
    return {"name": name, "value": None if value is None else round(value, 5), "op": op, "bound": bound, "holds": holds}


if __name__ == "__main__":
    sys.exit(main())
