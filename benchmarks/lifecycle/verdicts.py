"""From what callers saw to figures and faults. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.lifecycle.callers import Answers
from benchmarks.lifecycle.truth import Truth

MAX_FAULTS = 10


@dataclass(slots=True)
class Judged:
    """The answers of one group of callers, each looked at."""

    versions: np.ndarray  # that answers name, in the order of `Answers`
    wrong: list[str] = field(default_factory=list)  # the first texts
    wrong_count: int = 0


def judge(answers: Answers, truth: Truth) -> Judged:
    """Look at every answer. One that was not kept cannot be looked at, and is wrong."""
    judged = Judged(np.zeros(answers.asked.size, np.int64))
    whole = answers.payloads
    for place, (index, size) in enumerate(zip(answers.asked.tolist(), answers.sizes.tolist(), strict=True)):
        version, fault = truth.judge(index, whole[place, :size].tobytes())
        judged.versions[place] = version
        if fault is not None:
            judged.wrong_count += 1
            judged.wrong = [*judged.wrong, f"{answers.protocol}: {fault}"][:MAX_FAULTS]
    if missing := answers.ok - answers.asked.size:
        judged.wrong_count += missing
        judged.wrong.append(f"{answers.protocol}: {missing} answers were not kept")
    return judged


def p99_us(latencies: Sequence[np.ndarray]) -> float | None:
    """The 99th percentile of all together; None of nothing."""
    every = np.concatenate(latencies) if latencies else np.zeros(0)
    return round(float(np.percentile(every, 99)), 1) if every.size else None


def bar(name: str, value: float | None, op: str, bound: float) -> dict[str, Any]:
    """One bar. Without a value it does not hold."""
    holds = value is not None and (value <= bound if op == "<=" else value >= bound if op == ">=" else value == bound)
    return {"name": name, "value": None if value is None else round(float(value), 4), "op": op, "bound": bound, "holds": bool(holds)}


def outcomes(groups: Iterable[Answers]) -> dict[str, int]:
    """Everything but good answers, by protocol and outcome."""
    found: dict[str, int] = {}
    for answers in groups:
        for outcome, count in answers.outcomes.items():
            if count:
                key = f"{answers.protocol} {outcome}"
                found[key] = found.get(key, 0) + count
    return dict(sorted(found.items()))
