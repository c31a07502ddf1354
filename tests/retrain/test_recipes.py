"""Recipes: what they take, that they come out the same, and that what may be missing may be missing in the exported model too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from retrain import recipes
from retrain.dataset import Dataset, DatasetError
from retrain.entry import by_recipe
from retrain.errors import RetrainError
from retrain.export import export
from retrain.recipes import Recipe, fit, recipe_of, search
from retrain.train import frame
from tests.retrain.jobs import drawn

pytestmark = pytest.mark.demo
SMALL = (Recipe("gradient_boosting", {"trees": 5, "depth": 2, "share": 0.5, "rate": 0.1}), Recipe("logistic", {"inverse_penalty": 1.0}))


@pytest.mark.parametrize("recipe", SMALL, ids=str)
def test_numbers_may_be_missing(recipe: Recipe) -> None:
    """Where the rows say so; the exported model gives what the pipeline gives for NaN."""
    rows = drawn(400)
    x = rows.columns["x"].copy()
    x[::7] = np.nan
    with pytest.raises(DatasetError, match="missing or infinite"):
        replace(rows, columns={**rows.columns, "x": x})
    holed = replace(rows, columns={**rows.columns, "x": x}, missing=frozenset({"x"}))
    exported = export(fit(recipe, holed, seed=0), holed, fitted=holed)
    assert exported.parity.holds
    assert 400 == exported.parity.rows


@pytest.mark.parametrize("recipe", SMALL, ids=str)
def test_the_same_rows_and_seed_give_the_same_model(recipe: Recipe) -> None:
    """To the byte; weights count."""
    rows = drawn(300)
    first, second = (export(fit(recipe, rows, seed=4), rows).model for _ in range(2))
    weighted = replace(rows, weights=np.linspace(0, 3, rows.rows))
    assert first == second
    assert first != export(fit(recipe, weighted, seed=4), weighted).model


def test_a_search_takes_what_is_best_on_later_rows() -> None:
    """The truth is linear, and few rows know it: logistic regression wins over shallow trees; progress goes up to the end."""
    told: list[float] = []
    chosen, losses = search(drawn(600), seed=0, recipes=SMALL, progress=lambda _, share: told.append(share))
    assert SMALL[1] == chosen
    assert losses[str(SMALL[1])] == min(losses.values())
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_the_champions_recipe_is_fitted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless another is asked for; one of another release, or none, means a search."""
    monkeypatch.setattr(recipes, "SEARCHED", SMALL)
    rows = drawn(300)
    assert "logistic(inverse_penalty=0.5)" == by_recipe(rows, {}, {"recipe": "logistic", "inverse_penalty": 0.5}, seed=0).how
    asked = by_recipe(rows, {"recipe": "gradient_boosting", "trees": 3}, {"recipe": "logistic"}, seed=0)
    assert {"recipe": "gradient_boosting", "trees": 3, "depth": 3, "share": 0.5, "rate": 0.1} == asked.parameters
    for champion in ({}, {"recipe": "of another release"}, {"recipe": "logistic", "unheard_of": 1}):
        assert 2 == len(by_recipe(rows, {}, champion, seed=0).metrics)
    assert by_recipe(rows, {"recipe": "search"}, {"recipe": "logistic"}, seed=0).metrics
    assert (300, 2) == asked.estimator.predict_proba(frame(rows)).shape


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"recipe": "magic"}, "there is no recipe 'magic'; there are gradient_boosting, logistic"),
        ({"recipe": "logistic", "trees": 3}, "recipe logistic has the numbers inverse_penalty, and no 'trees' like that"),
        ({"recipe": "logistic", "inverse_penalty": "1"}, "no 'inverse_penalty' like that"),
    ],
)
def test_recipes_that_are_none(parameters: dict[str, object], text: str) -> None:
    """Refused by name."""
    with pytest.raises(RetrainError, match=text):
        recipe_of(parameters)


def test_labels_of_one_kind_teach_nothing() -> None:
    """Said before anything is fitted."""
    rows = drawn(50)
    with pytest.raises(RetrainError, match="all labels of the rows to train on are the same"):
        fit(SMALL[0], Dataset(rows.columns, np.ones(50, np.int64)), seed=0)
