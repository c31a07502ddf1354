"""What a rollout will take, as `tidegate rollout plan` is told of the traffic and as it shows what follows."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gateway.clock import SystemClock
from gateway.commands.output import UsageError, printable, say, table

if TYPE_CHECKING:
    from gateway.client_rest import RestClient
    from gateway.rollout.forecast import Forecast, MetricForecast, Needed, StepForecast, Traffic
    from gateway.rollout.plan import Plan

_NUMBERS = ["base", "PASS at 1×", "at 1.25×", "FAIL at 2×", "at 4×", "at 10×"]
_DISAGREEING = ["allowed", "PASS at ¼", "at ½", "FAIL at 2×", "at 4×", "at 10×"]


def stated(plan: Plan, rates: Sequence[str], requests_per_s: float | None, requests_per_unit: float) -> Traffic:
    """The traffic of options: `NAME=RATE`, or `RATE` for all others. Raises `UsageError` for what is missing or misspelt."""
    from gateway.rollout.forecast import Traffic

    if requests_per_s is None:
        raise UsageError("--requests-per-second: missing; or --server, whose recent traffic is looked at")
    names = [metric.name for metric in plan.spec.analysis.metrics if metric.type == "rate"]
    given = dict(_rate(text, names) for text in rates)
    missing = [name for name in names if name not in given and "" not in given]
    if missing:
        raise UsageError(f"--base-rate: missing for {', '.join(missing)}; such as --base-rate {missing[0]}=0.005, or --base-rate 0.005")
    found = {name: given.get(name, given.get("", 0.0)) for name in names}
    return Traffic(requests_per_s=requests_per_s, base_rates=found, requests_per_unit=requests_per_unit)


def _rate(text: str, names: Sequence[str]) -> tuple[str, float]:
    name, _, number = text.rpartition("=")
    try:
        rate = float(number)
    except ValueError:
        rate = -1.0
    if not 0.0 < rate < 1.0:
        raise UsageError(f"--base-rate: expected [METRIC=]RATE with a rate above 0 and below 1, got {text!r}")
    if name and name not in names:
        raise UsageError(f"--base-rate: no metric of type rate is called {name!r}; there are {', '.join(names) or 'none'}")
    return name, rate


def measured(plan: Plan, client: RestClient, over_s: float, rates: Sequence[str], requests_per_unit: float) -> Traffic:
    """The traffic of a running server over the next `over_s` seconds; rates that are stated win. Raises `UsageError`, and as `client`."""
    from gateway.rollout import recent

    clock = SystemClock()
    try:
        before, began = recent.reading(client.text("/metrics"), plan.spec.model), clock.now()
        threading.Event().wait(over_s)
        found = recent.reading(client.text("/metrics"), plan.spec.model).since(before)
    except ValueError as error:
        raise UsageError(f"--server: {error}") from None
    if not found.requests:
        raise UsageError(f"--server: no request of model '{plan.spec.model}' in {over_s:g} s; look for longer with --over")
    known = recent.base_rates(plan, found)
    told = [f"{name}={known[name]!r}" for name in known] + list(rates)
    return stated(plan, told, found.requests / (clock.now() - began), requests_per_unit)


def show(found: Forecast) -> None:
    """For people: a line and a table of each step."""
    traffic = found.traffic
    say(f"at {traffic.requests_per_s:,.6g} requests/s, {_units(traffic)}; medians, each step on its own")
    for step in found.steps:
        say()
        say(f"{step.number}. {step.what}: {_course(step)}")
        for kind, columns in (("rate", _NUMBERS), ("agreement", _DISAGREEING)):
            if rows := [_cells(metric) for metric in step.metrics if metric.type == kind]:
                table(["metric", *columns], rows, right=columns)
    say()
    waits = f", and what these take: {printable(', '.join(found.waits))}" if found.waits else ""
    say(f"all steps, for a candidate as good as stable: {_time(found.seconds)}{waits}")
    if found.unknown:
        say(f"not known beforehand: {printable(', '.join(found.unknown))}")


def _units(traffic: Traffic) -> str:
    return "each a unit" if traffic.requests_per_unit == 1.0 else f"{traffic.requests_per_unit:g} of a unit"


def _course(step: StepForecast) -> str:
    late = "; max_duration is over first" if step.late else ""
    if step.seconds is None:
        return f"without end: {step.reason} is never reached{late}" if step.tests else f"until {step.reason}"
    rate = f"{step.candidate_per_s:,.6g} requests/s to the candidate, " if step.candidate_per_s else ""
    late = "; max_duration is over first" if step.late else ""
    return (
        f"{rate}{_time(step.seconds)} for a candidate as good as stable ({printable(step.reason)}){late}" if rate else _time(step.seconds)
    )


def _cells(metric: MetricForecast) -> list[str]:
    passing: list[Any] = list(metric.passing) or [None, None]
    name = f"{metric.metric} ({metric.arm})" if metric.arm else metric.metric
    return [name, f"{metric.base_rate:.3%}", *map(_cell, passing), *map(_cell, metric.failing)]


def _cell(needed: Needed | None) -> str:
    if needed is None:
        return "no say"
    if needed.units is None:
        return "never"
    return f"{needed.units:,.0f} ({_time(needed.seconds) if needed.seconds is not None else 'no traffic'})"


def _time(seconds: float) -> str:
    from gateway.rollout.plan import printed

    return printed(round(seconds)) if seconds >= 1 or not seconds else "below 1s"
