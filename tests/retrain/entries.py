"""Entry points, as users write them."""

from __future__ import annotations

from typing import Any

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from retrain import recipes
from retrain.table import Part
from retrain.train import frame


def train(dataset: Part, params: dict[str, Any]) -> Pipeline:
    """Logistic regression on everything, whose rows come in pieces as well."""
    rows = dataset.load()
    assert rows.rows == sum(part.rows for part in dataset.batches(500))
    assert (["x"], ["t"], 5) == (dataset.numbers, dataset.texts, params["seed"])
    pipeline = recipes.fit(recipes.Recipe("logistic", {"inverse_penalty": 1.0}), rows, seed=params["seed"])
    last = LogisticRegression(C=1 / params["penalty"])
    columns = pipeline.named_steps["columns"]
    return Pipeline([("columns", columns), ("linear", last.fit(columns.transform(frame(rows)), rows.labels))])


def raises(dataset: Part, params: dict[str, Any]) -> None:
    """Has no luck."""
    raise ValueError("no such luck")


def nothing(dataset: Part, params: dict[str, Any]) -> None:
    """Gives nothing."""
