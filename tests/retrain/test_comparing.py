"""Champion against candidate on the same rows: what passes, what does not, and what cannot be said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from retrain.comparing import Judged, compare, figures, judged, slices_of
from retrain.dataset import Dataset
from retrain.gate_settings import Change, Check, CrossSlice, Gates, Slices, Value
from tests.retrain.jobs import ADDED, drawn

pytestmark = pytest.mark.demo
NONE = Gates(changes=(), repeats=200)


def scored(rows: Dataset, *, slope: float = 1.5, place: float = 1.0) -> np.ndarray:
    """What a model says that knows so much of x, and so much of the place."""
    added = np.array([ADDED[text] for text in rows.columns["t"]])
    return np.asarray(1 / (1 + np.exp(-(slope * rows.columns["x"] + place * added))), np.float64)


def checks(rows: Dataset, champion: np.ndarray | None, candidate: np.ndarray, **settings: Any) -> list[Check]:
    gates = Gates(**({"changes": (), "repeats": 200} | settings))
    return list(compare(judged(rows, champion, candidate), rows, gates, np.random.default_rng(0)).checks)


@pytest.mark.parametrize("metric", ["auc", "log_loss", "brier", "accuracy"])
def test_who_knows_more_passes_and_who_knows_less_does_not(metric: Any) -> None:
    """Whatever the metric's direction; the change is that of the metric, and its bound lies below it."""
    rows = drawn(4_000)
    good, bad = scored(rows), scored(rows, place=0.0)
    (better,) = checks(rows, bad, good, changes=(Change(metric=metric),))
    (worse,) = checks(rows, good, bad, changes=(Change(metric=metric),))
    assert (True, False) == (better.passed, worse.passed)
    assert better.change is not None
    assert better.bound is not None
    assert better.change > better.bound > 0
    assert worse.change == pytest.approx(-better.change)
    assert "better" in better.text.split(";")[0]
    assert "worse" in worse.text.split(";")[0]


def test_no_worse_is_enough_only_where_enough_rows_say_so() -> None:
    """The same model is tolerated at once; a hardly worse one with many rows and a tolerance, not with few."""
    rows = drawn(6_000)
    same = scored(rows)
    (check,) = checks(rows, same, same, changes=(Change(metric="brier", tolerance=1e-9),))
    assert (True, 0.0, 0.0) == (check.passed, check.change, check.bound)
    other = scored(rows, slope=1.4)
    tolerant = Change(metric="brier", tolerance=0.004)
    assert checks(rows, same, other, changes=(tolerant,))[0].passed
    few = rows.take(slice(0, 60))
    noisy = np.clip(scored(few) + np.random.default_rng(1).normal(0, 0.2, 60), 0, 1)
    assert not checks(few, scored(few), noisy, changes=(tolerant,))[0].passed


def test_values_are_held_against_their_bound() -> None:
    """On the side that counts: the estimate alone would pass."""
    rows = drawn(2_000)
    found = scored(rows)
    (check,) = checks(rows, None, found, values=(Value(metric="auc", at_least=0.5),))
    assert check.candidate is not None
    assert check.bound is not None
    assert check.bound < check.candidate
    (tight,) = checks(rows, None, found, values=(Value(metric="auc", at_least=check.candidate),))
    (loss,) = checks(rows, None, found, values=(Value(metric="brier", at_most=0.5),))
    assert (True, False, True) == (check.passed, tight.passed, loss.passed)
    assert loss.bound is not None
    assert loss.candidate is not None
    assert loss.bound > loss.candidate
    with pytest.raises(ValueError, match="at_least or at_most"):
        Value(metric="auc")


def test_a_slice_that_got_worse_is_found_although_the_whole_got_better() -> None:
    """By its name; slices of too few rows are shown and not judged."""
    rows = drawn(6_000)
    champion, candidate = scored(rows, slope=0.2), scored(rows)
    hurt = rows.columns["t"] == "c"
    candidate = np.where(hurt, np.clip(champion + 0.3, 0, 1), candidate)
    settings = {"changes": (Change(metric="brier"),), "slices": Slices(columns=("t",), n_min=1_500, tolerance=0.01)}
    whole, *slices = checks(rows, champion, candidate, **settings)
    assert whole.passed
    assert {"t=a": True, "t=b": True, "t=c": False} == {check.slice: check.passed for check in slices}
    few = checks(rows, champion, candidate, slices=Slices(columns=("t",), n_min=10_000))
    assert [(False, True)] * 3 == [(check.judged, check.passed) for check in few]
    assert "fewer than 10000" in few[0].text


def test_a_difference_between_slices_is_bounded() -> None:
    """Of the candidate alone; one slice says nothing."""
    rows = drawn(6_000)
    unfair = np.where(rows.columns["t"] == "a", rows.labels, 1 - rows.labels).astype(np.float64)
    for scores, passes in ((scored(rows), True), (unfair, False)):
        (check,) = checks(rows, None, scores, cross_slices=(CrossSlice(column="t", metric="accuracy", at_most=0.3),))
        assert check.passed is passes
    (alone,) = checks(rows.take(slice(0, 300)), None, scored(rows)[:300], cross_slices=(CrossSlice(column="t", at_most=0.1),))
    assert not alone.judged


def test_numbers_are_cut_at_their_quartiles() -> None:
    """Every row is in one slice; what is missing has its own."""
    rows = drawn(1_000)
    x = rows.columns["x"].copy()
    x[:50] = np.nan
    holed = Dataset({"x": x, "t": rows.columns["t"]}, rows.labels, missing=frozenset({"x"}))
    found = slices_of(holed, ("x",))
    assert (np.sum([mask for _, mask in found], axis=0) == 1).all()
    assert 50 == dict(found)["x missing"].sum()
    assert [237, 238] == sorted({int(mask.sum()) for name, mask in found if "<=" in name})


def test_figures_of_all_that_is_large_enough() -> None:
    """Of both models, and of the candidate on slices."""
    rows = drawn(1_200)
    both = judged(rows, scored(rows, place=0.0), scored(rows))
    found = figures(both, rows, Slices(columns=("t",), n_min=100))
    assert {"holdout", "holdout, champion", "t=a", "t=b", "t=c"} == set(found)
    assert found["holdout"]["auc"] > found["holdout, champion"]["auc"]
    assert 1_200 == found["holdout"]["rows"] == sum(figure["rows"] for name, figure in found.items() if "=" in name)


def test_the_seed_decides_the_bounds() -> None:
    """And nothing else does."""
    rows = drawn(1_000)
    champion, candidate, gates = scored(rows, place=0.0), scored(rows), Gates(repeats=100)
    found = [compare(judged(rows, champion, candidate), rows, gates, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert found[0] == found[1] != found[2]
    assert isinstance(judged(rows, None, candidate), Judged)
