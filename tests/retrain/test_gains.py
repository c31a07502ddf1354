"""A gain is the difference of two measures, and its interval that of days drawn anew."""

from __future__ import annotations

import numpy as np
import pytest

from retrain.gains import gains
from retrain.metrics import measured
from retrain.resampling import blocks_of, draws, resampled

pytestmark = pytest.mark.demo
DAYS, ROWS = 40, 6_000


def rows(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, what is behind them, and times: noise that a whole day shares, so that days count and not rows."""
    generator = np.random.default_rng(seed)
    times = np.sort(generator.uniform(0, DAYS * 86_400, ROWS))
    logit = generator.normal(size=ROWS) + generator.normal(size=DAYS)[(times // 86_400).astype(int)]
    return (generator.random(ROWS) < 1 / (1 + np.exp(-logit))).astype(np.int64), logit, times


def scores(logit: np.ndarray, noise: float, seed: int) -> np.ndarray:
    return 1 / (1 + np.exp(-logit - noise * np.random.default_rng(seed).normal(size=len(logit))))


def test_it_is_what_the_slow_way_says() -> None:
    """Values to the last digit; the interval as of every draw measured row by row, but for ties within bins."""
    labels, logit, times = rows(1)
    before, after = scores(logit, 1.5, 2), scores(logit, 0.5, 3)
    found = {one.metric: one for one in gains(labels, before, after, times, generator=np.random.default_rng(5), repeats=80)}
    blocks = blocks_of(times, ROWS)
    drawn = draws(blocks, repeats=80, generator=np.random.default_rng(5))
    for metric, sign in (("auc", 1), ("brier", -1)):
        worth = [measured(metric, labels, one, np.ones(ROWS)) for one in (before, after)]  # type: ignore[arg-type]
        changes = sign * resampled(
            lambda w, m=metric: measured(m, labels, after, w) - measured(m, labels, before, w),
            np.ones(ROWS), blocks, drawn,
        )  # fmt: skip
        one = found[metric]
        assert (worth, sign * (worth[1] - worth[0])) == ([one.before, one.after], one.gain)
        assert [one.low, one.high] == pytest.approx(np.quantile(changes, [0.025, 0.975]), abs=2e-4)
        assert "better" == one.verdict


def test_nothing_gained_is_said() -> None:
    """The same scores gain exactly nothing; the other way round what was gained is lost."""
    labels, logit, times = rows(4)
    before, after = scores(logit, 1.5, 2), scores(logit, 0.5, 3)
    for one in gains(labels, before, before, times, generator=np.random.default_rng(0), repeats=60):
        assert (0.0, 0.0, 0.0, "neither better nor worse for certain") == (one.gain, one.low, one.high, one.verdict)
    there = gains(labels, before, after, times, generator=np.random.default_rng(0), repeats=60)
    back = gains(labels, after, before, times, generator=np.random.default_rng(0), repeats=60)
    for one, other in zip(there, back, strict=True):
        assert ("worse", -one.gain) == (other.verdict, other.gain)
        assert (-one.high, -one.low) == pytest.approx((other.low, other.high))


def test_the_interval_covers_what_is_so() -> None:
    """Two ways that are equally good in truth: of 60 years, hardly more than one in twenty calls one of them better."""
    wrong = {"auc": 0, "brier": 0}
    for seed in range(60):
        labels, logit, times = rows(1_000 + seed)
        one, other = scores(logit, 0.8, 2 * seed), scores(logit, 0.8, 2 * seed + 1)
        for found in gains(labels, one, other, times, generator=np.random.default_rng(seed), repeats=200):
            wrong[found.metric] += found.verdict in ("better", "worse")
    assert max(wrong.values()) <= 9  # of Binomial(60, 0.05), more has probability 0.001
