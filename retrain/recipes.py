"""Ways to fit that need no code of anybody's: gradient boosting, and logistic or ridge regression, and a small search over both.

A recipe is a name with parameters, which stand in the training record; so the champion's is fitted again to new rows. Everything in a
pipeline has an ONNX counterpart. Given the same rows, parameters and seed, it comes out the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from retrain.dataset import Dataset
from retrain.errors import RetrainError
from retrain.metrics import Metric, measured
from retrain.target import WORDS, Target
from retrain.train import frame

RECIPE = "recipe"  # the parameter that names one
Progress = Callable[[str, float], None]  # what is being fitted, and which share of everything is done
_VALIDATED = 0.2  # of the rows, the latest ones, by which a search chooses


def unseen(what: str, share: float) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to fit."""

    name: str
    parameters: Mapping[str, float]

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{name}={value:g}' for name, value in self.parameters.items())})"

    @property
    def recorded(self) -> dict[str, Any]:
        """As a training record has it."""
        return {RECIPE: self.name, **self.parameters}


_DEFAULTS: dict[str, dict[str, float]] = {
    "gradient_boosting": {"trees": 60, "depth": 3, "share": 0.5, "rate": 0.1},
    "logistic": {"inverse_penalty": 1.0},
    "ridge": {"penalty": 1.0},
}
_BOOSTED = (
    Recipe("gradient_boosting", _DEFAULTS["gradient_boosting"]),
    Recipe("gradient_boosting", {"trees": 120, "depth": 3, "share": 0.5, "rate": 0.08}),
    Recipe("gradient_boosting", {"trees": 80, "depth": 5, "share": 0.5, "rate": 0.08}),
)
SEARCHED = (*_BOOSTED, Recipe("logistic", {"inverse_penalty": 0.05}), Recipe("logistic", {"inverse_penalty": 1.0}))
SEARCHED_NUMBERS = (*_BOOSTED, Recipe("ridge", {"penalty": 1.0}), Recipe("ridge", {"penalty": 100.0}))
_OF_NUMBERS = frozenset({"gradient_boosting", "ridge"})
_OF_CLASSES = frozenset({"gradient_boosting", "logistic"})


def recipe_of(parameters: Mapping[str, Any]) -> Recipe | None:
    """The recipe that parameters name, with defaults for what they leave out; None where they name none. Raises `RetrainError`."""
    name = parameters.get(RECIPE)
    if name is None:
        return None
    if name not in _DEFAULTS:
        raise RetrainError(f"there is no recipe {name!r}; there are {', '.join(_DEFAULTS)}, and entry points for anything else")
    given = {key: value for key, value in parameters.items() if key != RECIPE}
    wrong = [key for key, value in given.items() if key not in _DEFAULTS[name] or not _is_number(value)]
    if wrong:
        raise RetrainError(f"recipe {name} has the numbers {', '.join(_DEFAULTS[name])}, and no {wrong[0]!r} like that")
    return Recipe(name, {**_DEFAULTS[name], **given})


def fit(recipe: Recipe, rows: Dataset, *, seed: int, progress: Progress = unseen) -> Pipeline:
    """A fitted pipeline that takes the frame of `rows`. Texts are one-hot encoded; one never seen in training is all zeros.

    Raises `RetrainError` where the rows say nothing, such as labels of one kind.
    """
    _check(recipe, rows)
    last, estimator = _estimator(recipe, rows.target, seed)
    pipeline = Pipeline([("columns", _columns(rows, scaled=recipe.name != "gradient_boosting")), (last, estimator)])
    more: dict[str, Any] = {} if rows.weights is None else {f"{last}__sample_weight": rows.weights}
    if recipe.name == "gradient_boosting":
        more[f"{last}__monitor"] = lambda done, *_: progress(str(recipe), (done + 1) / recipe.parameters["trees"])
    try:
        with threadpool_limits(1):  # sums come out otherwise on other numbers of cores
            pipeline.fit(frame(rows), rows.labels, **more)
    except ValueError as error:
        raise RetrainError(f"{recipe} cannot be fitted: {' '.join(str(error).split())[:300]}") from error
    progress(str(recipe), 1.0)
    return pipeline


class Fitter(Protocol):
    """Who fits. What comes out does not depend on it."""

    def fit(self, recipe: Recipe, rows: Dataset, *, seed: int, progress: Progress) -> Pipeline:
        """As `fit`."""
        ...

    def losses(self, recipes: tuple[Recipe, ...], before: Dataset, after: Dataset, *, seed: int, progress: Progress) -> list[float]:
        """`loss_of` of each recipe."""
        ...


class Here:
    """This process, one fit after the other."""

    def fit(self, recipe: Recipe, rows: Dataset, *, seed: int, progress: Progress) -> Pipeline:
        """See `Fitter`."""
        return fit(recipe, rows, seed=seed, progress=progress)

    def losses(self, recipes: tuple[Recipe, ...], before: Dataset, after: Dataset, *, seed: int, progress: Progress) -> list[float]:
        """See `Fitter`."""
        parts = [_part(progress, place, len(recipes)) for place in range(len(recipes))]
        return [loss_of(recipe, before, after, seed=seed, progress=part) for recipe, part in zip(recipes, parts, strict=True)]


HERE = Here()


def loss_of(recipe: Recipe, before: Dataset, after: Dataset, *, seed: int, progress: Progress = unseen) -> float:
    """Log loss, or RMSE of numbers, on the rows `after` of a pipeline that is fitted to those `before`. Raises `RetrainError`."""
    pipeline = fit(recipe, before, seed=seed, progress=progress)
    weights = np.ones(after.rows) if after.weights is None else after.weights
    return measured(criterion(after.target), after.labels, foretold(pipeline, after), weights)


def criterion(target: Target) -> Metric:
    """What a search chooses by."""
    return "rmse" if target.kind == "number" else "log_loss"


def foretold(pipeline: Pipeline, rows: Dataset) -> np.ndarray:
    """As `metrics` takes it."""
    if rows.target.kind == "number":
        return np.asarray(pipeline.predict(frame(rows)), np.float64)
    found: np.ndarray = pipeline.predict_proba(frame(rows))
    return found[:, 1] if rows.target.kind == "yes_no" else found


def _check(recipe: Recipe, rows: Dataset) -> None:
    """Raises `RetrainError` where a recipe cannot learn such labels, or they say nothing."""
    kinds = np.unique(rows.labels)
    if recipe.name not in (_OF_NUMBERS if rows.target.kind == "number" else _OF_CLASSES):
        raise RetrainError(f"recipe {recipe.name} does not learn {WORDS[rows.target.kind]}, which the labels of this model are")
    if len(kinds) < 2:
        raise RetrainError("all labels of the rows to train on are the same")
    if rows.target.kind == "class" and len(kinds) < rows.target.classes:
        lacking = sorted(set(range(rows.target.classes)) - set(kinds.tolist()))
        raise RetrainError(f"no row to train on is of class {lacking[0]}")


def search(
    rows: Dataset, *, seed: int, recipes: tuple[Recipe, ...] | None = None, progress: Progress = unseen, fitter: Fitter = HERE
) -> tuple[Recipe, dict[str, float]]:
    """The recipe with the least log loss, or RMSE, on the latest rows, fitted to those before; and that of each. Raises `RetrainError`."""
    if recipes is None:
        recipes = SEARCHED_NUMBERS if rows.target.kind == "number" else SEARCHED
    cut = rows.rows - max(int(rows.rows * _VALIDATED), 1)
    before, after = rows.take(slice(0, cut)), rows.take(slice(cut, None))
    found = fitter.losses(recipes, before, after, seed=seed, progress=progress)
    losses = {str(recipe): loss for recipe, loss in zip(recipes, found, strict=True)}
    return min(recipes, key=lambda recipe: losses[str(recipe)]), losses


def _part(progress: Progress, place: int, parts: int) -> Progress:
    return lambda what, share: progress(what, (place + share) / parts)


def _estimator(recipe: Recipe, target: Target, seed: int) -> tuple[str, Any]:
    given = recipe.parameters
    if recipe.name == "ridge":
        return "linear", Ridge(alpha=given["penalty"], random_state=seed)
    if recipe.name == "logistic":
        return "linear", LogisticRegression(C=given["inverse_penalty"], max_iter=1000, random_state=seed)
    boosting = GradientBoostingRegressor if target.kind == "number" else GradientBoostingClassifier
    return "trees", boosting(
        n_estimators=int(given["trees"]),
        max_depth=int(given["depth"]),
        subsample=given["share"],
        learning_rate=given["rate"],
        random_state=seed,
    )


def _columns(rows: Dataset, *, scaled: bool) -> ColumnTransformer:
    """Numbers that may be missing get the median of those that are not."""
    whole = [name for name in rows.numbers if name not in rows.missing]
    holed = [name for name in rows.numbers if name in rows.missing]
    scaler = [StandardScaler()] if scaled else []
    parts: list[tuple[str, Any, list[str]]] = [
        ("numbers", make_pipeline(*scaler) if scaled else "passthrough", whole),
        ("filled", make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), *scaler), holed),
        ("texts", OneHotEncoder(handle_unknown="ignore", dtype=np.float32), rows.texts),
    ]
    return ColumnTransformer([part for part in parts if part[2]])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
