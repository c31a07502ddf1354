"""What the year of the demo is told: how much of it there is, the policy, the rollout's plan, and the settings of its server. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.demo_airline import LATEST_S
from gateway.demo_months import NAMES
from gateway.demo_rollouts import PLAN
from gateway.demo_server import EVALUATE_S
from gateway.demo_story import MODEL

SEAL_S = 0.3  # the year takes a minute: what was answered can be read soon
HOLDOUT = 0.2
ABOVE_TRAINING = 0.01  # in the Brier score
VOLUME = 75_000  # flights with labels


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of the year."""

    every: int  # each so many-th flight
    looks: frozenset[int]  # months at whose end the policy is looked at


FULL = Scale(1, frozenset({4, 6, 8, 10}))
QUICK = Scale(8, frozenset({5, 9}))


def policy_of(log: Path, scale: Scale, seed: int) -> dict[str, Any]:
    """When the model is trained again, and on what. Volumes are of the flights that are asked about."""
    return {
        "apiVersion": "tidegate/v1",
        "kind": "Retraining",
        "model": MODEL,
        "data": {
            "log": str(log), "days": 365, "max_rows": 40_000, "holdout": HOLDOUT, "join": {"time": "event"},
        },
        "training": {"seed": seed},
        "gates": {"repeats": 200},
        "when": {
            "rules": [
                {
                    "kind": "loss", "metric": "brier", "above_training": ABOVE_TRAINING, "window": "7d", "for": "2 of 4", "min_rows": 200,
                    "mature_after": f"{LATEST_S / 86_400:.0f}d",
                },
                {"kind": "volume", "rows": VOLUME // scale.every},
                {"kind": "drift"},
            ],
            "cooldown": "28d",
            "max_per_week": 1,
            "min_new_rows": 20_000 // scale.every,
        },
    }  # fmt: skip


def told_policy(scale: Scale) -> str:
    """For people: when the policy is looked at, and what it asks for."""
    months = [NAMES[number - 1] for number in sorted(scale.looks)]
    return (
        f"looked at after {', '.join(months[:-1])} and {months[-1]}, the policy wants a job where the Brier score is surely worse than "
        f"that of the version's own hold-out by {ABOVE_TRAINING} in 2 of 4 weeks, or {VOLUME // scale.every:,} flights with labels are new"
    )


def plan_of() -> dict[str, Any]:
    """The plan of the other rollouts, but for the agreement, which is only told: who learned from more may say something else."""
    spec = PLAN["spec"]
    metrics = [
        metric | ({"dryRun": True, "critical": False} if metric["name"] == "agreement" else {}) for metric in spec["analysis"]["metrics"]
    ]
    return {
        **PLAN,
        "metadata": {"name": "next"},
        "spec": {**spec, "candidate": {"alias": "challenger"}, "analysis": {**spec["analysis"], "metrics": metrics}},
    }


def settings_of(folder: Path) -> dict[str, Any]:
    """Of the server: everything is logged, texts too, and labels count."""
    return {
        "capture": {"enabled": True, "directory": str(folder / "log"), "seal_s": SEAL_S},
        "labels": {"enabled": True, "directory": str(folder / "log")},
        "drift": {"evaluate_s": EVALUATE_S},
        "processes": {"state": str(folder / "state")},
        "models": {MODEL: {"capture": {"fields": {name: {"policy": "keep"} for name in ("carrier", "origin", "dest")}}}},
    }
