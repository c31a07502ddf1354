"""Figures of quality are those of plain loops, however answers are divided, and their bounds hold as often as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gateway.quality.sheet import MAX_LOG_LOSS, Sheet
from kernels.quality import auc, mean_bounds

NONE = math.nan


def sheet(classes: list[float], scores: list[float], labels: list[float], *, parts: int = 1, max_error: float | None = None) -> Sheet:
    """Answers that came in so many parts."""
    made = Sheet(max_error=max_error)
    for rows in np.array_split(np.arange(len(labels)), parts):
        made.add(*(np.asarray(values, np.float64)[rows] for values in (classes, scores, labels)))
    return made


def values(made: Sheet) -> dict[str, float]:
    """Every figure by its metric."""
    return {figure.metric: round(figure.value, 9) for figure in made.figures(0.05)}


@pytest.mark.parametrize("parts", [1, 3])
def test_scores_of_truths_and_falsehoods(parts: int) -> None:
    """Accuracy at one half, squares, logarithms, and pairs in order; ties count half."""
    scores, labels = [0.9, 0.2, 0.5, 0.5, 0.1, 0.7], [1.0, 0.0, 1.0, 0.0, 1.0, 0.0]
    brier = sum((score - label) ** 2 for score, label in zip(scores, labels, strict=True)) / 6
    loss = -sum(math.log(score if label else 1 - score) for score, label in zip(scores, labels, strict=True)) / 6
    expected = {"accuracy": 0.5, "brier": brier, "log_loss": loss, "auc": (3 + 1.5 + 0) / 9}
    found = values(sheet([NONE] * 6, scores, labels, parts=parts))
    assert expected == {name: pytest.approx(value) for name, value in found.items() if name != "mae"}


def test_classes_and_numbers() -> None:
    """A class is right or wrong; a number is as far off as it is. Neither needs the other."""
    assert {"accuracy": 2 / 3} == pytest.approx(values(sheet([2, 1, 0], [NONE] * 3, [2, 1, 1])))
    assert {"mae": 2.0} == values(sheet([NONE] * 2, [10.0, 20.0], [13.0, 19.0]))
    assert {"mae": 1.5} == values(sheet([NONE] * 2, [10.0, 20.0], [13.0, 19.0], max_error=2.0))
    assert {} == values(sheet([], [], []))


def test_a_sure_mistake_is_bounded() -> None:
    """One answer does not make the mean infinite."""
    assert pytest.approx(MAX_LOG_LOSS) == values(sheet([NONE], [0.0], [1.0]))["log_loss"]


def test_numbers_without_a_bound_have_no_bounds() -> None:
    """And say so."""
    (figure,) = sheet([NONE], [10.0], [13.0]).figures(0.05)
    assert (None, None) == (figure.low, figure.high)
    (figure,) = sheet([NONE], [10.0], [13.0], max_error=5.0).figures(0.05)
    assert (0.0, 5.0) == (figure.low, figure.high)


def test_bounds_hold_at_all_looks_together() -> None:
    """Of 300 streams that are looked at 40 times each, hardly any ever leaves the bounds of 20 %; with more rows they narrow."""
    draw, missed, looks, widths = np.random.default_rng(5), dict.fromkeys(("accuracy", "brier", "log_loss", "auc"), 0), 40, []
    rate, score = 0.3, np.array([0.2, 0.6])
    chance = np.array([0.15, 0.45])  # of the label 1, at each score
    truth = {
        "accuracy": (1 - chance[0] + chance[1]) / 2,
        "brier": float((chance * (1 - score) ** 2 + (1 - chance) * score**2).mean()),
        "log_loss": float(-(chance * np.log(score) + (1 - chance) * np.log(1 - score)).mean()),
    }
    ones, zeros = chance / chance.sum(), (1 - chance) / (1 - chance).sum()
    truth["auc"] = float(ones[1] * zeros[0] + 0.5 * (ones * zeros).sum())
    for _ in range(300):
        made, left = Sheet(), set()
        for _ in range(looks):
            which = draw.integers(0, 2, 25)
            made.add(np.full(25, NONE), score[which], (draw.random(25) < chance[which]).astype(np.float64))
            for figure in made.figures(0.2):
                if figure.metric in truth and not figure.low <= truth[figure.metric] <= figure.high:
                    left.add(figure.metric)
        for name in left:
            missed[name] += 1
        widths.append(next(figure.high - figure.low for figure in made.figures(0.2) if figure.metric == "brier"))
    assert rate * 300 > max(missed.values()), missed
    assert max(count / 300 for count in missed.values()) <= 0.2
    assert max(widths) < 0.35


def test_the_mean_and_its_bounds_are_those_of_the_formula() -> None:
    """Everything of nothing, and the closed form once."""
    assert (0.0, 3.0) == mean_bounds(0.0, 0.0, 0, 3.0, 3.0)
    level = 1.4 * math.log(math.log(2 * 50.0)) + math.log(2 * 3.10555 / 0.05) - 1.4 * math.log(math.log(2))
    one, two = (2**0.25 + 2**-0.25) / math.sqrt(2), (math.sqrt(2) + 1) / 2
    radius = (math.sqrt(one**2 * 50 * level + (two * level) ** 2) + two * level) / 1000
    assert (0.4 - radius, 0.4 + radius) == pytest.approx(mean_bounds(400.0, 50.0, 1000, 1.0, math.log(20)))


def test_the_area_is_the_share_of_pairs_in_order() -> None:
    """Against all pairs, one by one; none of none."""
    draw = np.random.default_rng(3)
    positives, negatives = draw.integers(0, 5, 12), draw.integers(0, 5, 12)
    pairs = [(a, b) for a in range(12) for b in range(12) for _ in range(positives[a] * negatives[b])]
    assert pytest.approx(sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs)) == auc(positives, negatives)
    assert math.isnan(auc(np.zeros(3), np.ones(3)))
