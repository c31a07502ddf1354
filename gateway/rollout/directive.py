"""What one rollout asks of every server: the same of all of them, because it follows from the journal alone. Pure."""

from __future__ import annotations

import enum

import msgspec

from gateway.rollout.events import slo_s
from gateway.rollout.machine import Phase
from gateway.rollout.plan import WEIGHT_UNITS, Plan, ShadowStep, Tolerance
from gateway.rollout.standing import PinnedArm, Standing


class Mode(enum.Enum):
    """What the data plane does."""

    HOLD = "hold"  # both versions are held, all traffic goes to stable
    SHADOW = "shadow"  # the same, and the candidate runs on copies
    CANARY = "canary"  # traffic is split
    BAKE = "bake"  # all traffic goes to the candidate, stable is held
    OVER = "over"  # the rollout asks nothing any more


class Directive(msgspec.Struct, frozen=True, kw_only=True):
    """What a server does for one rollout. Both versions are pinned; 0 and "" where there is none."""

    rollout: str
    model: str
    salt: str  # 32 hexadecimal digits
    step: int
    mode: Mode
    stable: int
    candidate: int
    stable_manifest: str
    candidate_manifest: str
    weight: int  # units of `WEIGHT_UNITS` that go to the candidate, or to all arms
    arms: tuple[tuple[str, int, int], ...] = ()  # name, version, units of an A/B
    arm_manifests: tuple[str, ...] = ()
    shadow_percent: float = 0.0  # of units
    shadow_qps: float | None = None
    shadow_share: float = 0.0  # of one core of each worker
    isolated: bool  # the candidate runs in a process of its own
    gives_way: bool = False  # and that gives way to whatever else runs, because nobody waits for its answers
    fallback: bool  # failed canary calls are asked of stable again
    unit_sources: tuple[str, ...]
    sample: float
    slo_s: tuple[float, ...]  # every threshold of the plan, ascending
    score: bool = False  # scores of outputs are compared rather than classes
    atol: float
    rtol: float


def directive(standing: Standing) -> Directive:
    """What `standing` asks. The weight is 0 in every phase in which something speaks against the candidate."""
    spec, mode = standing.plan.spec, mode_of(standing)
    shadow = _shadow(standing) if mode is Mode.SHADOW else None
    arms = standing.begun.arms
    tolerance = _tolerance(standing.plan)
    return Directive(
        rollout=standing.rollout,
        model=standing.model,
        salt=standing.begun.salt,
        step=standing.step,
        mode=mode,
        stable=standing.stable.version if standing.stable else 0,
        candidate=standing.begun.candidate.version,
        stable_manifest=standing.stable.manifest if standing.stable else "",
        candidate_manifest=standing.begun.candidate.manifest,
        weight={Mode.CANARY: standing.share, Mode.BAKE: WEIGHT_UNITS}.get(mode, 0),
        arms=tuple((arm.name, arm.pin.version, arm.units) for arm in arms),
        arm_manifests=tuple(arm.pin.manifest for arm in arms),
        shadow_percent=shadow.percent if shadow else 0.0,
        shadow_qps=shadow.max_qps if shadow else None,
        shadow_share=shadow.max_share_of_capacity if shadow else 0.0,
        isolated=_is_isolated(standing) or _gives_way(standing),
        gives_way=_gives_way(standing),
        fallback=spec.fallback == "stable",
        unit_sources=spec.unit.sources,
        sample=spec.analysis.sample,
        slo_s=slo_s(standing.plan),
        score=any(metric.type == "distribution" and metric.of == "score" for metric in spec.analysis.metrics),
        atol=tolerance.atol,
        rtol=tolerance.rtol,
    )


def mode_of(standing: Standing) -> Mode:
    """What the data plane does in this phase."""
    if standing.final or standing.phase in {Phase.QUEUED, Phase.ADMITTED}:
        return Mode.OVER
    if standing.phase is Phase.BAKING:
        return Mode.BAKE
    if standing.share:
        return Mode.CANARY
    return Mode.SHADOW if _shadow(standing) is not None else Mode.HOLD


def pinned(standing: Standing) -> tuple[PinnedArm, ...]:
    """Every version that is to be held, by the name of its arm; stable first."""
    stable = () if standing.stable is None else (PinnedArm("stable", standing.stable, 0),)
    arms = standing.begun.arms or (PinnedArm("candidate", standing.begun.candidate, standing.share),)
    return (*stable, *arms)


def _shadow(standing: Standing) -> ShadowStep | None:
    steps = standing.plan.steps()
    return steps[standing.step].shadow if standing.phase is Phase.STEP and standing.step < len(steps) else None


def _gives_way(standing: Standing) -> bool:
    """From before its shadow begins, so that the process that is made ready is the one that it needs, until the step is over."""
    steps = standing.plan.steps()
    here = standing.step < len(steps) and steps[standing.step].shadow is not None
    return here and standing.phase in {Phase.PREPARING, Phase.STEP, Phase.PAUSED} and not standing.skip


def _is_isolated(standing: Standing) -> bool:
    """Until its shadow is over, unless the plan says otherwise; a shadow always is. A version that has been champion is trusted."""
    if _shadow(standing) is not None:
        return True
    return not (standing.plan.spec.inline or standing.shadowed or standing.skip or standing.phase is Phase.BAKING)


def _tolerance(plan: Plan) -> Tolerance:
    """Of the first metric that compares outputs."""
    return next((metric.tolerance for metric in plan.spec.analysis.metrics if metric.type == "agreement"), Tolerance())
