"""What a rollout file says, typed: which version meets which traffic in which steps, and what is compared meanwhile. Knows no traffic."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from gateway.typed_yaml import MisfitError

WEIGHT_UNITS = 10_000  # of the whole traffic: weights are multiples of 1e-4

# `$` alone would let a line break follow, in Python.
Duration = Annotated[
    str,
    msgspec.Meta(pattern=r"^(0|[1-9][0-9]{0,8})(ms|s|m|h|d)$(?!\n)", description="a duration such as 15m: a number with ms, s, m, h or d"),
]
Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]
Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Event = Literal[
    "started", "step", "paused", "resumed", "approval_needed", "failed", "rolled_back", "promoted", "succeeded", "concluded", "aborted",
    "superseded",
]  # fmt: skip

_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(duration: str) -> float:
    """A duration such as `15m` in seconds."""
    digits = duration.rstrip("mshd")
    return int(digits) * _SECONDS[duration[len(digits) :]]


def printed(seconds: float) -> str:
    """Seconds as a duration for people: two units at most, such as `1h 20m`; of more than 100 days, the days."""
    parts = []
    for unit in ("d", "h", "m", "s"):
        count, seconds = divmod(seconds, _SECONDS[unit])
        if count:
            parts.append(f"{count:,.0f}{unit}")
        if len(parts) == 2 or (parts and unit == "d" and count > 100):
            break
    return " ".join(parts) or (f"{seconds * 1e3:.0f}ms" if seconds else "0s")


class Metadata(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What people call it."""

    name: str  # of the rollout, in letters, digits, dots, dashes and underscores


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A version: by number, or by what an alias stands for when the rollout is admitted. The digest of its manifest is pinned then."""

    version: Count | None = None  # its number
    alias: str | None = None  # an alias of the registry, such as champion; never latest

    def __post_init__(self) -> None:
        if (self.version is None) == (self.alias is None):
            raise MisfitError("version", "a version is named by its number or by an alias: set one of the two")


class Unit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is assigned to an arm, and counted once: the first of the sources that a request has."""

    sources: tuple[str, ...] = msgspec.field(default=(), name="from")  # `header:NAME`, `metadata:NAME`, `parameter:NAME`
    fallback: Literal["request"] = "request"  # a request that has none of them is a unit of its own


class Until(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a step is over. Time in which the rollout is paused does not count."""

    verdict: Literal["pass"] | None = "pass"  # every metric that has a say must pass; null: time alone, `min_duration`
    min_units: Annotated[int, msgspec.Meta(ge=0)] = 500  # of the smaller arm, before it can pass
    min_duration: Duration = "0s"  # before it can pass
    max_duration: Duration | None = None  # without a verdict by then, it is inconclusive; null: it waits without end
    on_inconclusive: Literal["pause", "hold", "rollback"] = "pause"  # hold: stay at this weight, and look on
    on_fail: Literal["rollback", "pause"] = "rollback"  # what a failed critical metric does


class ShadowStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The candidate runs on copies of what stable was asked, after the answers are out. Nobody gets its answers."""

    percent: Percent = 100.0  # of units
    max_qps: Annotated[float, msgspec.Meta(gt=0)] | None = None  # copies in a second, of each worker
    max_share_of_capacity: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.3  # of one core of each worker


class PauseStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Wait at the weight of the step before."""

    duration: Duration | None = None  # null: until somebody resumes


class ApproveStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """People agree, at the weight of the step before."""

    by: tuple[str, ...] = ()  # who may; nobody named: whoever has the scope `approve`
    count: Count = 1  # of different people
    exclude: tuple[Literal["publisher", "starter"], ...] = msgspec.field(default=("publisher",), name="not")  # whose word does not count
    timeout: Duration | None = None  # null: it waits without end
    on_timeout: Literal["rollback", "pause"] = "rollback"  # what follows then


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step: a shadow, a weight, a pause, or an approval."""

    shadow: ShadowStep | None = None  # copies only; before the first weight
    set_weight: Percent | None = msgspec.field(default=None, name="setWeight")  # percent of the units that the candidate answers
    pause: PauseStep | None = None  # wait; {}: until somebody resumes
    approve: ApproveStep | None = None  # wait for people
    until: Until | None = None  # of a shadow or a weight; null: as `until: {}`

    def __post_init__(self) -> None:
        kinds = [kind for kind in ("shadow", "set_weight", "pause", "approve") if getattr(self, kind) is not None]
        if len(kinds) != 1:
            raise MisfitError("", "a step is one of shadow, setWeight, pause, approve")
        if self.until is not None and self.waits:
            raise MisfitError("until", "belongs to a shadow or a weight")

    @property
    def waits(self) -> bool:
        """Whether it is a pause or an approval, at the weight of the step before."""
        return self.pause is not None or self.approve is not None


class BlueGreen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything at once, after a shadow; stable stays warm to go back to."""

    shadow: ShadowStep | None = None  # null: none
    until: Until = Until()  # of the shadow
    bake: Until = Until(verdict=None, min_duration="10m")  # of the time at 100 %


class Arm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of several versions that are compared beside stable."""

    name: str  # of the arm, in answers and reports
    version: Count  # its number
    weight: Percent  # of units


class Split(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A/B: a fixed split that is reported on and never promotes."""

    arms: tuple[Arm, ...]  # what they leave of 100 % is stable's
    duration: Duration | None = None  # null: until somebody ends it


class Strategy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How: by steps, all at once, or as a comparison."""

    steps: tuple[Step, ...] = ()  # one after another, then the candidate is promoted
    bluegreen: BlueGreen | None = None  # a shadow, then all traffic at once
    ab: Split | None = None  # a fixed split, which is reported on

    def __post_init__(self) -> None:
        if sum((bool(self.steps), self.bluegreen is not None, self.ab is not None)) != 1:
            raise MisfitError("", "a strategy is one of steps, bluegreen, ab")


class Margin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much worse is still good enough. The candidate passes by either."""

    ratio: Annotated[float, msgspec.Meta(gt=1, le=16)] | None = 1.5  # of the candidate's rate to stable's
    or_abs: Share | None = None  # of the difference of the rates


class Tolerate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From where on worse is a failure."""

    ratio: Annotated[float, msgspec.Meta(ge=1, lt=16)] = 1.0  # of the candidate's rate to stable's
    slower: Annotated[float, msgspec.Meta(ge=1, lt=16)] = 1.1  # of a dominance: of the candidate's time to stable's


class Tolerance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Outputs agree within atol + rtol · |stable|."""

    atol: Annotated[float, msgspec.Meta(ge=0)] = 1e-3  # absolute
    rtol: Annotated[float, msgspec.Meta(ge=0)] = 1e-2  # of stable's value


class Metric(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that is compared between candidate and stable.

    rate: how many units have the event. dominance: whether latencies are larger at any point of their distribution. distribution: whether
    classes or scores are others. agreement: how often shadow and stable say the same. label: correctness, by what came true. query: a
    PromQL expression against a constant.
    """

    name: str  # in verdicts and metrics
    type: Literal["rate", "dominance", "distribution", "agreement", "label", "query"]  # what is compared
    event: str = ""  # of a rate: server_error, rejected_input, bad_output, or `latency_ms > 50`; several joined by `or`
    of: Literal["class", "score"] = "class"  # of a distribution
    critical: bool = False  # a failure ends the rollout; else it is reported and pauses
    dry_run: bool = msgspec.field(default=False, name="dryRun")  # reported only
    tolerate: Tolerate = Tolerate()  # of a rate, a dominance, a label
    pass_if: Margin | None = None  # of a rate, a dominance, a label; null: this metric has no say in passing
    min: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.98  # of an agreement: the rate at least
    tolerance: Tolerance = Tolerance()  # of an agreement
    label: str = ""  # of a label: its name
    metric: Literal["accuracy"] = "accuracy"  # of a label
    mature_after: Duration = "0s"  # of a label
    query: str = ""  # of a query: PromQL with `{{version}}` for the candidate's and `{{model}}` for the model
    server: str = ""  # of a query: the URL of a Prometheus server
    below: float | None = None  # of a query: fails at or above
    above: float | None = None  # of a query: fails at or below


class Alpha(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds on wrong verdicts, of the whole rollout."""

    fail: Share = 0.01  # that a candidate as good as stable fails
    passes: Share = msgspec.field(default=0.05, name="pass")  # that one beyond the margin passes
    srm: Share = 0.001  # that an honest split is called dishonest


class Warmup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is not counted at the begin of the first step with traffic, in both arms: until both are over."""

    requests: Annotated[int, msgspec.Meta(ge=0)] = 200  # of the candidate
    duration: Duration = "60s"  # since the step began


class Analysis(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is compared, and how sure a verdict has to be."""

    alpha: Alpha = Alpha()  # bounds on wrong verdicts
    warmup: Warmup = Warmup()  # what is not counted
    metrics: tuple[Metric, ...] = ()  # what is compared
    sample: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0  # of units, for what every unit has; events are counted of all
    consecutive_failures: Count = 5  # of canary calls: at once back to stable


class Notification(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where events go, signed as Standard Webhooks are."""

    url: str  # https, or http to the machine itself
    secret_file: str = msgspec.field(name="secretFile")  # where the servers find the key that signs, as an absolute path
    on: tuple[Event, ...] = ("paused", "approval_needed", "failed", "rolled_back", "promoted", "concluded")  # which events


class Spec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rollout."""

    model: str  # its name in the registry
    stable: Target = Target(alias="champion")  # what serves now, and what the candidate is held against
    candidate: Target | None = None  # what is tried; an A/B has none, what it compares is named by its arms
    unit: Unit = Unit()  # whose requests stay together
    fallback: Literal["stable", "none"] = "stable"  # failed canary calls are asked of stable, and count against the canary all the same
    inline: bool = False  # without a shadow step before, the candidate serves in a process of its own, unless this is set
    on_supersede: Literal["queue", "replace", "reject"] = "queue"  # what becomes of another rollout of the model that is applied meanwhile
    rollback_window: Annotated[int, msgspec.Meta(ge=0)] = 3  # of the last champions: going back to one skips the steps
    keep_stable_warm: Duration = "10m"  # after the promotion, to go back at once
    strategy: Strategy  # how traffic is met
    analysis: Analysis = Analysis()  # what is compared
    notifications: tuple[Notification, ...] = ()  # who is told


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rollout file."""

    api_version: Literal["tidegate/v1"] = msgspec.field(name="apiVersion")  # of this format
    kind: Literal["Rollout"]  # of document
    metadata: Metadata  # its name
    spec: Spec  # what it does

    def steps(self) -> tuple[Step, ...]:
        """What the strategy comes to, whichever it is; every shadow and weight with an `until`."""
        strategy = self.spec.strategy
        if strategy.bluegreen is not None:
            blue = strategy.bluegreen
            shadow = () if blue.shadow is None else (Step(shadow=blue.shadow, until=blue.until),)
            return (*shadow, Step(set_weight=100.0, until=blue.bake))
        if strategy.ab is not None:
            weight = sum(arm.weight for arm in strategy.ab.arms)
            return (Step(set_weight=weight, until=Until(verdict=None, max_duration=strategy.ab.duration, on_inconclusive="hold")),)
        return tuple(step if step.waits or step.until else msgspec.structs.replace(step, until=Until()) for step in strategy.steps)


def weight_units(percent: float) -> int:
    """A weight in `WEIGHT_UNITS`, rounded to the nearest."""
    return round(percent * WEIGHT_UNITS / 100)
