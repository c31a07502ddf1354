"""When a model is trained again, on what, how and by which gates: one YAML file, in types. Knows no clock and reads no registry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec

from retrain.cron import schedule
from retrain.errors import RetrainError
from retrain.gate_settings import Gates
from retrain.planning import Data, Training, Wish

Action = Literal["propose", "run"]
Duration = Annotated[str, msgspec.Meta(pattern=r"^(0|[1-9][0-9]{0,8})(s|m|h|d)$(?!\n)", description="a number with s, m, h or d")]
Windows = Annotated[str, msgspec.Meta(pattern=r"^[1-9][0-9]? of [1-9][0-9]?$(?!\n)", description="such as 3 of 4")]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_-]{0,63}$(?!\n)")]
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Drift(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="drift"):
    """What servers have proposed because of drift. A drift alone is no loss, so it waits for a person unless `action` says otherwise."""

    action: Action = "propose"
    rules: tuple[str, ...] = ("estimated_performance", "prediction_drift", "feature_drift")  # of servers
    windows: Windows = msgspec.field(default="1 of 1", name="for")  # of the last days, those with such a trigger


class Loss(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="loss"):
    """The loss of the version that serves, on labels that have come: surely above a level in k of the last n windows."""

    name: Name = "loss"
    metric: Literal["brier", "error"] = "brier"  # error: 1 − accuracy
    level: Share | None = None
    above_training: Annotated[float, msgspec.Meta(ge=0)] | None = None  # that of the version's own hold-out, and so much more
    window: Duration = "1d"
    windows: Windows = msgspec.field(default="3 of 4", name="for")
    min_rows: Count = 200  # of a window; a smaller one says nothing
    mature_after: Duration = "0s"  # rows that are younger do not count yet
    confidence: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.95  # of the lower bound in each window
    action: Action = "run"

    def __post_init__(self) -> None:
        if (self.level is None) == (self.above_training is None):
            raise ValueError("a loss has a level, or is above that of training")


class Volume(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="volume"):
    """Labelled rows that the version that serves has not seen."""

    name: Name = "volume"
    rows: Count
    action: Action = "run"


class Age(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="age"):
    """Time since the version that serves was published."""

    name: Name = "age"
    older_than: Duration
    action: Action = "run"


class Cron(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="schedule"):
    """Five fields of cron, in UTC. A time that nobody watched is made up for once, within a day."""

    name: Name = "schedule"
    cron: str
    action: Action = "run"


Rule = Drift | Loss | Volume | Age | Cron


class BlockIf(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A feed that is broken is not learned from."""

    violations: Share | None = 0.01  # share of the latest rows that break the contract, by the column with most
    drops: Share | None = 0.005  # share of the latest rows that an inference log lost, shadows not counted; files of rows lose none
    open_rollout: bool = True  # of this model


class When(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What asks for a job, and what keeps it from running."""

    rules: tuple[Rule, ...] = ()
    cooldown: Duration = "24h"  # between the starts of two jobs
    max_per_week: Count = 3
    min_new_rows: Annotated[int, msgspec.Meta(ge=0)] = 0  # labelled, since the version that serves
    block_if: BlockIf = BlockIf()
    expire_after: Duration = "7d"  # a trigger that nobody took up by then is over
    look_every: Duration = "5m"


class PolicyFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file."""

    api_version: Literal["tidegate/v1"] = msgspec.field(name="apiVersion")
    kind: Literal["Retraining"]
    model: str
    base: str = "champion"
    data: Data
    training: Training = Training()
    gates: Gates = Gates()
    run_url: str | None = None
    rollout: str | None = None  # path of a rollout file: begun with every version that is published
    when: When = When()


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says."""

    wish: Wish
    when: When
    rollout: str | None = None


def policy_of(plain: Any, *, source: str) -> Policy:
    """From what YAML gave. Raises `RetrainError` naming the place of a mistake."""
    try:
        file = msgspec.convert(plain, PolicyFile)
    except msgspec.ValidationError as error:
        raise RetrainError(f"{source}: {error}") from error
    _check(file, source)
    names = ("model", "base", "data", "training", "gates", "run_url")
    return Policy(wish=Wish(**{name: getattr(file, name) for name in names}), when=file.when, rollout=file.rollout)


def _check(file: PolicyFile, source: str) -> None:
    named = [rule.name for rule in file.when.rules if not isinstance(rule, Drift)]
    twice = next((name for name in named if named.count(name) > 1), None)
    if twice is not None:
        raise RetrainError(f"{source}: two rules are called '{twice}'")
    for rule in file.when.rules:
        if isinstance(rule, Cron):
            schedule(rule.cron)
        if isinstance(rule, Drift | Loss):
            k, n = k_of_n(rule.windows)
            if k > n:
                raise RetrainError(f"{source}: '{rule.windows}' windows can never be")


def seconds(duration: str) -> float:
    """A duration such as `15m` in seconds."""
    return int(duration[:-1]) * _SECONDS[duration[-1]]


def k_of_n(text: str) -> tuple[int, int]:
    """`3 of 4` as (3, 4)."""
    k, _, n = text.partition(" of ")
    return int(k), int(n)


def losses(rules: Sequence[Rule]) -> list[Loss]:
    """Those rules that need labels and scores."""
    return [rule for rule in rules if isinstance(rule, Loss)]
