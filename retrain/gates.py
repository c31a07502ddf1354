"""The gates beside the comparison: parity of the export, contract and golden requests of the champion, size and time. Each says why."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from registry.contract import Port
from registry.gate import DEFAULT_GATE
from registry.golden import array_of
from registry.onnx_model import examine
from retrain.asking import Model
from retrain.champion import Champion
from retrain.dataset import Dataset
from retrain.errors import RetrainError
from retrain.export import Parity
from retrain.gate_settings import Budget, Check, Gate
from retrain.validation import Report

VALIDATION, PARITY, CHALLENGER, BUDGET, GOLDEN = GATES = ("validation", "parity", "challenger", "budget", "golden")


def validation_gate(report: Report) -> Gate:
    """What forbids a training, or that nothing does."""
    wrong = [
        Check(name=one.check, passed=False, text=f"{one.column}: {one.text}" if one.column else one.text, slice=one.column, limit=one.limit)
        for one in report.failures
    ]
    good = f"{len(report.findings)} checks of {report.rows:,} rows"
    return Gate(name=VALIDATION, checks=tuple(wrong) or (Check(name="rows", passed=True, text=good, rows=report.rows),))


def parity_gate(parity: Parity) -> Gate:
    """The exported model says what the estimator says."""
    text = (
        f"on {parity.rows:,} rows {parity.labels_differ} labels differ, and probabilities by up to {parity.max_difference:.1e} where "
        f"{parity.tolerance:g} is allowed"
    )
    check = Check(name="parity", passed=parity.holds, text=text, rows=parity.rows, candidate=parity.max_difference, limit=parity.tolerance)
    return Gate(name=PARITY, checks=(check,))


def budget_gate(
    budget: Budget, content: bytes, *, champion_bytes: int, rows: Dataset, models: tuple[Model, Model], now: Callable[[], float]
) -> Gate:
    """Size and time against fixed limits and against the champion. `models`: champion, candidate; `now` gives monotonic seconds."""
    part = rows.take(slice(0, budget.rows))
    before, after = (model.seconds(part.tensors(), now=now, runs=budget.runs) * 1e3 for model in models)
    found = [
        _within("size", len(content), champion_bytes, budget.size_bytes, budget.size_ratio, "bytes"),
        _within(f"latency of {part.rows} rows", after, before, budget.latency_ms, budget.latency_ratio, "ms"),
    ]
    return Gate(name=BUDGET, checks=tuple(check for checks in found for check in checks))


def golden_gate(champion: Champion, content: bytes, candidate: Model) -> Gate:
    """The candidate takes what the champion takes and gives outputs of the same names and types, also for its golden requests."""
    contract = examine(content, DEFAULT_GATE).contract
    wrong = [*_differences("input", contract.inputs, champion.contract.inputs)]
    wrong += _differences("output", contract.outputs, champion.contract.outputs)
    more = {port.name for port in contract.inputs} - {port.name for port in champion.contract.inputs}
    wrong += [f"input '{name}' is new, and callers do not send it" for name in sorted(more)]
    if wrong:
        return Gate(name=GOLDEN, checks=tuple(Check(name="contract", passed=False, text=text) for text in wrong))
    ports = len(contract.inputs) + len(contract.outputs)
    same = Check(name="contract", passed=True, text=f"{ports} inputs and outputs are those of the champion")
    requests = champion.golden.requests if champion.golden else ()
    asked = [{name: array_of(tensor) for name, tensor in request.inputs.items()} for request in requests]
    unanswered = [text for place, tensors in enumerate(asked) if (text := _unanswered(candidate, tensors, place))]
    answered = f"{len(requests) - len(unanswered)} of {len(requests)} golden requests of the champion are answered"
    checks = [Check(name="golden", passed=False, text=text) for text in unanswered] or [Check(name="golden", passed=True, text=answered)]
    return Gate(name=GOLDEN, checks=(same, *checks))


def _differences(side: str, ours: tuple[Port, ...], theirs: tuple[Port, ...]) -> list[str]:
    now = {port.name: port.type for port in ours}
    return [
        f"{side} '{port.name}' is {now.get(port.name, 'not there')}, where the champion has {port.type}"
        for port in theirs
        if now.get(port.name) != port.type
    ]


def _unanswered(candidate: Model, tensors: dict[str, np.ndarray], place: int) -> str | None:
    """Answers may be others than the champion's, but answers they must be."""
    try:
        answers = candidate.ask(tensors)
    except RetrainError as error:
        return f"golden request {place} of the champion: {error}"
    finite = all(np.isfinite(array).all() for array in answers.values() if array.dtype.kind == "f")
    return None if finite else f"golden request {place} of the champion is answered with numbers that are not finite"


def _within(  # noqa: PLR0917 - a row of a table
    what: str, now: float, before: float, limit: float | None, ratio: float | None, unit: str
) -> list[Check]:
    limits = [(limit, f"{limit:,.6g} {unit} are allowed")] if limit is not None else []
    limits += [(ratio * before, f"{ratio:g} times the champion's {before:,.6g} {unit} are allowed")] if ratio is not None else []
    return [
        Check(
            name=what,
            passed=bool(now <= bound),
            text=f"{what} is {now:,.6g} {unit}, and {allowed}",
            champion=before,
            candidate=now,
            limit=bound,
        )
        for bound, allowed in limits
    ]
