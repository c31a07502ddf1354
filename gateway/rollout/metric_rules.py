"""What must hold of one metric of a plan. Pure."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterator

from gateway.rollout import events
from gateway.rollout.plan import Metric, Tolerate

Finding = tuple[str, str]  # (dotted path, what is wrong and what to do)

METRIC_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
PLACEHOLDERS = ("version", "model")
# Fields that only some types have.
_OWNERS = {
    "event": ("rate",),
    "of": ("distribution",),
    "tolerate": ("rate", "dominance", "label"),
    "pass_if": ("rate", "dominance", "label"),
    "min": ("agreement",),
    "tolerance": ("agreement",),
    "label": ("label",),
    "metric": ("label",),
    "mature_after": ("label",),
    "query": ("query",),
    "server": ("query",),
    "below": ("query",),
    "above": ("query",),
}
_DEFAULTS = Metric(name="", type="rate")


def mistakes(metric: Metric) -> Iterator[Finding]:
    """Paths are relative to the metric."""
    if METRIC_NAME.fullmatch(metric.name) is None:
        yield "name", f"{metric.name[:80]!r} is no name: a letter, then letters, digits, _ and -, 64 at most"
    for field, types in _OWNERS.items():
        if metric.type not in types and getattr(metric, field) != getattr(_DEFAULTS, field):
            yield field, f"belongs to a metric of type {' or '.join(types)}, and this one is of type {metric.type}"
    if metric.critical and metric.dry_run:
        yield "dryRun", "a metric that is only reported cannot be critical"
    if metric.pass_if is not None and metric.pass_if.ratio is None and metric.pass_if.or_abs is None:
        yield "pass_if", "nothing could pass: set ratio, or_abs or both"
    yield from _OF_TYPE.get(metric.type, _nothing)(metric)


def _rate(metric: Metric) -> Iterator[Finding]:
    if metric.tolerate.slower != Tolerate().slower:
        yield "tolerate.slower", "belongs to a metric of type dominance: of a rate, write it into the bound of its event"
    try:
        events.parse(metric.event)
    except ValueError as error:
        yield "event", str(error)


def _label(metric: Metric) -> Iterator[Finding]:
    if metric.tolerate.slower != Tolerate().slower:
        yield "tolerate.slower", "belongs to a metric of type dominance"
    if not metric.label:
        yield "label", "required of type label: the name of the label"


def _query(metric: Metric) -> Iterator[Finding]:
    if not metric.query.strip():
        yield "query", "required of type query: a PromQL expression"
    for name in re.findall(r"\{\{(.*?)\}\}", metric.query):
        if name.strip() not in PLACEHOLDERS:
            yield "query", f"there is nothing to put for {{{{{name[:40]}}}}}: {{{{version}}}} and {{{{model}}}} are known"
    if metric.below is None and metric.above is None:
        yield "", "a query needs a constant to be held against: below, above or both"
    if metric.below is not None and metric.above is not None and metric.above >= metric.below:
        yield "above", f"no number is above {metric.above:g} and below {metric.below:g}"
    if problem := url_problem(metric.server):
        yield "server", problem


def _nothing(_metric: Metric) -> Iterator[Finding]:
    yield from ()


def url_problem(url: str) -> str:
    """What is wrong with a URL of HTTP as text, "" for nothing. Credentials in it would be shown to everybody who sees the plan."""
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "expected a URL such as https://host/path"
    if parts.scheme not in ("http", "https") or not host or not url.isascii() or not url.isprintable() or " " in url:
        return "expected a URL such as https://host/path"
    return "a URL with a password would be shown to everybody who sees the plan" if parts.username is not None else ""


_OF_TYPE = {"rate": _rate, "label": _label, "query": _query}
