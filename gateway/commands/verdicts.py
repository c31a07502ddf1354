"""A verdict on one step, as people read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.commands.output import printable, say, table

if TYPE_CHECKING:
    from gateway.rollout.verdict import Found, MetricVerdict, StepVerdict

_NUMBERS = ["candidate", "stable", "ratio", "against", "for"]


def show(found: StepVerdict) -> None:
    """The verdict, a row for each metric, and a sentence for each."""
    say(f"{found.verdict}: {printable(found.sentence)}")
    table(["", "metric", *_NUMBERS], [_cells(one) for one in found.metrics], right=_NUMBERS)
    for one in found.metrics:
        say(f"  {printable(one.sentence)}")
    if found.excluded:
        say(f"  not counted: {', '.join(f'{count:,} {printable(reason)}' for reason, count in found.excluded.items())}")


def _cells(one: MetricVerdict) -> list[str]:
    name = f"{one.metric} (reported only)" if one.dry_run else one.metric
    against = f"{one.greatest_log_e_fail:.1f} of {one.fail_at:.1f}"
    speaks = f"{one.greatest_log_e_pass:.1f} of {one.pass_at:.1f}" if one.has_say else ""
    return [one.verdict, name, *_sides(one.found), _ratio(one.found), against, speaks]


def _sides(found: Found) -> tuple[str, str]:
    events, units = found.events, found.units
    candidate, stable = (f"{count:,} of {of:,}" for count, of in zip(events, units, strict=True))
    return candidate, stable


def _ratio(found: Found) -> str:
    if found.ratio is None:
        return ""
    high = "∞" if found.ratio_high is None else f"{found.ratio_high:.2f}"
    return f"{found.ratio:.2f} ({found.ratio_low or 0.0:.2f} to {high})"
