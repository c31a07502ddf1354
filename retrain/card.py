"""The model card of a version that a job made: what it is, what it learned from, how it did and against whom. Markdown."""

from __future__ import annotations

from datetime import UTC, datetime

from registry.training import TrainingRecord
from registry.triggers import Trigger
from retrain.champion import Champion
from retrain.gate_settings import Gate
from retrain.metrics import METRICS
from retrain.validation import Report


def card(champion: Champion, trigger: Trigger, record: TrainingRecord, report: Report, gates: tuple[Gate, ...]) -> str:
    """Sections in a fixed order; text of people stands in it as they wrote it."""
    lines = [f"# {champion.model}, retrained from version {champion.version}", "", *_why(trigger), *_data(record, report), *_how(record)]
    lines += ["## How well", "", *_figures(record), "", *(line for gate in gates for line in _gate(gate))]
    lines += ["## What to know", "", *_limits(report)]
    if champion.card:
        lines += [
            "",
            f"## What the card of version {champion.version} said",
            "",
            *(f"> {line}".rstrip() for line in champion.card.splitlines()),
        ]
    return "\n".join(lines)[:200_000] + "\n"


def _why(trigger: Trigger) -> list[str]:
    return ["## Why", "", f"Trigger `{trigger.id}`, rule `{trigger.rule}`: {trigger.reason or 'asked for by hand'}", ""]


def _data(record: TrainingRecord, report: Report) -> list[str]:
    parts = ", ".join(f"{count:,} rows of {name}" for name, count in record.split_rows.items())
    span = f" from {_moment(report.first_us)} to {_moment(report.last_us)}" if report.first_us is not None else ""
    return [
        "## Data", "", f"{report.labelled:,} labelled rows of {report.rows:,}{span}: {parts}.",
        "The hold-out is later than what was trained on.",
        f"Dataset `{record.dataset_digest}`.", "",
    ]  # fmt: skip


def _how(record: TrainingRecord) -> list[str]:
    given = ", ".join(f"{name} = {value}" for name, value in record.parameters.items()) or "no parameters"
    commit = f"commit `{record.git_sha}`{' with changes' if record.git_dirty else ''}" if record.git_sha else "no commit"
    run = [f"Run: {record.run_url}"] if record.run_url else []
    return ["## Training", "", f"`{record.entry_point}` with {given}, seed {record.seed}; {commit}.", *run, ""]


def _figures(record: TrainingRecord) -> list[str]:
    shown = {name: figures for name, figures in record.metrics.items() if "rows" in figures}
    metrics = ["rows", *(metric for metric in METRICS if any(metric in figures for figures in shown.values()))]
    head = ["| rows of | " + " | ".join(metrics) + " |", "|---|" + "---|" * len(metrics)]
    return head + [f"| {name} | " + " | ".join(_figure(figures, metric) for metric in metrics) + " |" for name, figures in shown.items()]


def _figure(figures: dict[str, float], metric: str) -> str:
    if metric not in figures:
        return ""
    return f"{figures[metric]:,.0f}" if metric == "rows" else f"{figures[metric]:.4f}"


def _gate(gate: Gate) -> list[str]:
    return [f"### {gate.name}: {'passed' if gate.passed else 'not passed'}", "", *(f"* {check.text}" for check in gate.checks[:100]), ""]


def _limits(report: Report) -> list[str]:
    warned = [f"* {one.column or 'the rows'}: {one.text}" for one in report.findings if one.level == "warn"]
    return [
        "* Labels exist only for what was acted on and came back; where that depends on the model's own answers, the rows are not those of "
        "all callers.",
        *warned,
    ]


def _moment(us: int | None) -> str:
    return "?" if us is None else f"{datetime.fromtimestamp(us / 1e6, UTC):%Y-%m-%d %H:%M}"
