"""What an evaluation is asked to promise: levels, tolerances, sizes of windows. Pure data with reasons; who reads settings is elsewhere."""

from __future__ import annotations

from typing import Annotated

import msgspec

Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]
Rows = Annotated[int, msgspec.Meta(ge=1)]
Minutes = Annotated[int, msgspec.Meta(ge=1, le=60)]
Psi = Annotated[float, msgspec.Meta(gt=0)]

REFERENCE_SHARE = 0.1  # of alpha: for references that happen to lie far from what they were drawn of


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one version is watched."""

    alpha: Share = 0.05  # chance that anything of a version is called drifting, over its whole life, while nothing has moved
    warn_psi: Psi = 0.1
    alarm_psi: Psi = 0.25
    window_rows: Rows = 500  # a window of the e-detector has so many at least; a change is dated no finer
    recent_minutes: Minutes = 60  # what numbers about now are of
    calm_minutes: Minutes = 30  # the cool-down: so long must traffic speak for the reference again
    min_rows: Rows = 500  # fewer tell nothing about now: a longer time is taken then
    hysteresis: Share = 0.8  # of a level's PSI; below it the level is left
    accuracy_drop: Share = 0.05  # of the estimated accuracy, against the reference, that is a risk
    outside_share: Share = 0.1  # of rows that the calibration knows nothing of; from there on the estimate is not to be trusted

    @property
    def test_alpha(self) -> float:
        """What tests may spend."""
        return self.alpha * (1 - REFERENCE_SHARE)

    @property
    def reference_delta(self) -> float:
        """What is left for the reference."""
        return self.alpha * REFERENCE_SHARE

    @property
    def tolerances(self) -> tuple[float, float]:
        """Radii in nats for WARN and ALARM: a PSI is the sum of both KL divergences, which are alike where a shift is small."""
        return self.warn_psi / 2, self.alarm_psi / 2
