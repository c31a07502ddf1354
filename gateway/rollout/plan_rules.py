"""What must hold of a plan beyond its types: whatever could not be done, or contradicts itself. Pure; knows no registry and no traffic."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterator, Sequence

from gateway.hosts import is_loopback
from gateway.rollout import metric_rules
from gateway.rollout.metric_rules import Finding, url_problem
from gateway.rollout.plan import ApproveStep, BlueGreen, Plan, Split, Step, Until, seconds, weight_units
from gateway.rollout.thresholds import has_say
from registry.errors import RegistryError
from registry.names import MODEL_NAME, check_alias_name, check_model_name

MAX_STEPS, MAX_METRICS, MAX_ARMS, MAX_SOURCES, MAX_NOTIFICATIONS = 64, 32, 16, 8, 16
FORCED = "tidegate-arm"  # the header by which a caller chooses an arm
WHOLE = weight_units(100.0)
_SOURCES = {
    "header": (re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,128}"), "a header's name in lower case"),
    "metadata": (re.compile(r"[a-z0-9_.-]{1,128}"), "a key of gRPC metadata in lower case"),
    "parameter": (re.compile(r"[A-Za-z0-9_.-]{1,128}"), "a parameter's name"),
}
_MOST = {"strategy.steps": MAX_STEPS, "analysis.metrics": MAX_METRICS, "unit.from": MAX_SOURCES, "notifications": MAX_NOTIFICATIONS}


def mistakes(plan: Plan) -> Iterator[Finding]:
    """Everything that is wrong, by dotted path. A plan without any can be carried out."""
    spec = plan.spec
    if MODEL_NAME.fullmatch(plan.metadata.name) is None:
        yield "metadata.name", f"name {plan.metadata.name[:80]!r} does not match {MODEL_NAME.pattern}"
    lists: dict[str, Sequence[object]] = dict(
        zip(_MOST, (spec.strategy.steps, spec.analysis.metrics, spec.unit.sources, spec.notifications), strict=True)
    )
    for path, found in lists.items():
        if len(found) > _MOST[path]:
            yield f"spec.{path}", f"{len(found)} are more than the {_MOST[path]} that are allowed"
    yield from _below("spec", _targets(plan))
    yield from _below("spec.unit.from", _sources(spec.unit.sources))
    yield from _below("spec.strategy", _strategy(plan))
    yield from _below("spec.analysis", _analysis(plan))
    yield from _below("spec.notifications", _notifications(plan))


def _below(prefix: str, found: Iterator[Finding]) -> Iterator[Finding]:
    for path, message in found:
        yield f"{prefix}.{path}".rstrip("."), message


def _targets(plan: Plan) -> Iterator[Finding]:
    spec = plan.spec
    try:
        check_model_name(spec.model)
    except RegistryError as error:
        yield "model", error.message
    for name, target in (("stable", spec.stable), ("candidate", spec.candidate)):
        if target is not None and target.alias is not None:
            try:
                check_alias_name(target.alias)
            except RegistryError as error:
                yield f"{name}.alias", error.message
    if spec.strategy.ab is None and spec.candidate is None:
        yield "candidate", "required: the version that is tried, such as {version: 13}"
    if spec.strategy.ab is not None and spec.candidate is not None:
        yield "candidate", "what an A/B compares is named by its arms"
    if spec.candidate == spec.stable:
        yield "candidate", "the candidate is what is stable already"


def _sources(sources: Sequence[str]) -> Iterator[Finding]:
    for number, source in enumerate(sources):
        kind, colon, name = source.partition(":")
        if kind not in _SOURCES or not colon:
            yield f"{number}", f"{source[:80]!r} is no source: write header:NAME, metadata:NAME or parameter:NAME"
            continue
        pattern, what = _SOURCES[kind]
        if pattern.fullmatch(name) is None:
            yield f"{number}", f"{name[:80]!r} is not {what}"
        elif kind != "parameter" and (name == FORCED or name.endswith("-bin") or name.startswith((":", "grpc-"))):
            yield f"{number}", f"{name!r} says nothing of who asks"
        elif source in sources[:number]:
            yield f"{number}", f"{source!r} is there already"


def _strategy(plan: Plan) -> Iterator[Finding]:
    strategy = plan.spec.strategy
    if strategy.bluegreen is not None:
        yield from _below("bluegreen", _bluegreen(plan, strategy.bluegreen))
    elif strategy.ab is not None:
        yield from _below("ab", _split(plan, strategy.ab))
    else:
        yield from _below("steps", _steps(plan))


def _steps(plan: Plan) -> Iterator[Finding]:
    steps, weight = plan.spec.strategy.steps, 0
    if all(step.waits for step in steps):
        yield "", "no step meets traffic: add shadow or setWeight"
    for number, step in enumerate(steps):
        yield from _below(f"{number}", _step(step, weight))
        if not step.waits:
            asked = _until(plan, step.until or Until(), shadow=step.shadow is not None, weight=step.set_weight or 0)
            yield from _below(f"{number}.until", asked)
        weight = max(weight, weight_units(step.set_weight or 0.0))


def _step(step: Step, weight: int) -> Iterator[Finding]:
    """Of one step, after others that came up to `weight`."""
    if step.shadow is not None:
        if weight:
            yield "shadow", "a shadow comes before the first weight: at this one the candidate answers callers already"
        if step.shadow.percent == 0:
            yield "shadow.percent", "a shadow of nothing sees nothing"
    if step.set_weight is not None:
        yield from _weight("setWeight", step.set_weight)
        if weight_units(step.set_weight) <= weight:
            before = f"the one before was {weight / 100:g}" if weight else "0 is where it begins"
            yield "setWeight", f"weights rise from step to step, and {before}"
    if step.approve is not None:
        yield from _below("approve", _approve(step.approve))


def _weight(path: str, percent: float) -> Iterator[Finding]:
    if abs(weight_units(percent) - percent * 100) > 1e-6:
        yield path, f"weights are multiples of 0.01 percent, and {percent!r} is none"


def _approve(approve: ApproveStep) -> Iterator[Finding]:
    if len(set(approve.by)) != len(approve.by):
        yield "by", "somebody is named twice"
    elif approve.by and approve.count > len(approve.by):
        yield "count", f"{approve.count} people must agree, and {len(approve.by)} may"


def _until(plan: Plan, until: Until, *, shadow: bool, weight: float) -> Iterator[Finding]:
    least, most = seconds(until.min_duration), None if until.max_duration is None else seconds(until.max_duration)
    if most is not None and most <= least:
        yield "max_duration", f"it is over before min_duration, {until.min_duration}, is reached"
    if until.verdict is None:
        if not least and most is None:
            yield "min_duration", "a step that asks for no verdict lasts as long as this says, and that is no time"
        return
    if weight_units(weight) == WHOLE:
        yield "verdict", "at 100 percent nothing is left to compare with: end with less, or write verdict: null and a min_duration"
    elif not _can_pass(plan, shadow=shadow):
        ways = "a shadow asks for agreement, and for pass_if of a rate that is no latency" if shadow else "it takes pass_if, or type query"
        yield "verdict", f"no metric of spec.analysis can pass here: {ways}; or write verdict: null and a min_duration"


def _can_pass(plan: Plan, *, shadow: bool) -> bool:
    """Whether a metric has a say; of a plan with a mistake there, which is told by itself, whether one might."""
    for metric in plan.spec.analysis.metrics:
        try:
            if has_say(metric, shadow=shadow):
                return True
        except ValueError:  # of an event that is none
            return True
    return False


def _bluegreen(plan: Plan, blue: BlueGreen) -> Iterator[Finding]:
    if blue.shadow is not None:
        yield from _step(Step(shadow=blue.shadow), 0)
        yield from _below("until", _until(plan, blue.until, shadow=True, weight=0))
    elif blue.until != Until():
        yield "until", "belongs to the shadow, and there is none"
    yield from _below("bake", _until(plan, blue.bake, shadow=False, weight=100))


def _split(plan: Plan, split: Split) -> Iterator[Finding]:
    arms = split.arms
    if not 0 < len(arms) <= MAX_ARMS:
        yield "arms", f"a split has 1 to {MAX_ARMS} arms beside stable"
    for number, arm in enumerate(arms):
        if metric_rules.METRIC_NAME.fullmatch(arm.name) is None or arm.name in ("stable", "candidate", "shadow"):
            yield f"arms.{number}.name", f"{arm.name[:80]!r} cannot be the name of an arm: a letter, then letters, digits, _ and -"
        if any(arm.name == other.name for other in arms[:number]):
            yield f"arms.{number}.name", f"{arm.name!r} is there already"
        if arm.version == plan.spec.stable.version or any(arm.version == other.version for other in arms[:number]):
            yield f"arms.{number}.version", f"version {arm.version} has an arm already"
        if arm.weight == 0:
            yield f"arms.{number}.weight", "an arm without traffic compares nothing"
        yield from _weight(f"arms.{number}.weight", arm.weight)
    total = sum(weight_units(arm.weight) for arm in arms)
    if total > WHOLE:
        yield "arms", f"their weights come to {total / 100:g} percent"
    elif total == WHOLE:
        yield "arms", "their weights leave nothing to stable, which they are compared with"


def _analysis(plan: Plan) -> Iterator[Finding]:
    analysis, seen = plan.spec.analysis, set[str]()
    for name, share in (("fail", analysis.alpha.fail), ("pass", analysis.alpha.passes), ("srm", analysis.alpha.srm)):
        if share >= 0.5:
            yield f"alpha.{name}", f"{share:g} is no better than a coin: 0.01 to 0.05 are usual"
    shadowed = any(step.shadow is not None for step in plan.steps())
    for number, metric in enumerate(analysis.metrics):
        place = f"metrics.{number}"
        yield from _below(place, metric_rules.mistakes(metric))
        if metric.name in seen:
            yield f"{place}.name", f"{metric.name!r} is there already"
        if metric.type == "agreement" and not shadowed:
            yield f"{place}.type", "only a shadow and stable answer the same requests, and there is no shadow step"
        seen.add(metric.name)


def _notifications(plan: Plan) -> Iterator[Finding]:
    for number, notification in enumerate(plan.spec.notifications):
        if problem := url_problem(notification.url):
            yield f"{number}.url", problem
        elif not _is_safe(notification.url):
            yield f"{number}.url", "what is told must not be read on the way: write https, or name this machine"
        path = notification.secret_file
        if not path.startswith("/") or "\0" in path:
            yield f"{number}.secretFile", "an absolute path, since servers read it wherever they run"
        if not notification.on:
            yield f"{number}.on", "nothing would be told"
        elif len(set(notification.on)) != len(notification.on):
            yield f"{number}.on", "an event is named twice"


def _is_safe(url: str) -> bool:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme == "https" or is_loopback(parts.hostname or "")
