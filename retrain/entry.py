"""What trains: a function of the user's, `module:train(dataset, params) -> estimator`, or a recipe: the champion's or the best.

The function gets the part to train on (`table.Part`: `load()` for all rows in memory, `batches()` for more) and the parameters with the
seed among them, and gives a fitted estimator that skl2onnx can convert: with `predict`, and unless the labels are numbers `predict_proba`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrain import recipes
from retrain.dataset import Dataset
from retrain.errors import RetrainError
from retrain.recipes import HERE, Fitter, Progress, unseen
from retrain.table import Part

SEARCH = "search"
Train = Callable[[Part, dict[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class Trained:
    """A fitted estimator and how it came about."""

    estimator: Any
    how: str  # "module:function" or the recipe
    parameters: dict[str, Any]  # as a training record has them
    metrics: dict[str, dict[str, float]]  # of a search


def resolve(text: str) -> Train:
    """The function that `module:function` names; the module may lie in the current directory. Raises `RetrainError`."""
    module, colon, name = text.partition(":")
    if not colon or not module or not name:
        raise RetrainError(f"{text!r} is no entry point: expected module:function")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise RetrainError(f"the module of entry point {text!r} cannot be imported: {error}") from error
    except AttributeError:
        raise RetrainError(f"the module of entry point {text!r} has no {name!r}") from None
    if not callable(found):
        raise RetrainError(f"entry point {text!r} is no function")
    return found  # type: ignore[no-any-return]


def by_function(text: str, part: Part, parameters: Mapping[str, Any], *, seed: int) -> Trained:
    """What the user's function gives. Raises `RetrainError` for what it raises, and for what cannot foretell such labels."""
    train = resolve(text)
    try:
        estimator = train(part, {**parameters, "seed": seed})
    except Exception as error:  # whatever the user's code raises is a reason, not a bug of ours
        raise RetrainError(f"{text} failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}") from error
    needed = ("predict",) if part.target.kind == "number" else ("predict", "predict_proba")
    lacking = [name for name in needed if not callable(getattr(estimator, name, None))]
    if lacking:
        raise RetrainError(f"{text} gave a {type(estimator).__name__}, which has no {lacking[0]}")
    return Trained(estimator, text, dict(parameters), {})


def by_recipe(
    rows: Dataset, parameters: Mapping[str, Any], champion: Mapping[str, Any], *, seed: int, progress: Progress = unseen,
    fitter: Fitter = HERE,
) -> Trained:  # fmt: skip
    """The recipe of `parameters`, else that of the `champion`'s record, else the best of a search. Raises `RetrainError`."""
    searched = parameters.get(recipes.RECIPE) == SEARCH
    recipe = None if searched else recipes.recipe_of(parameters) or _known(champion)
    losses: dict[str, float] = {}
    if recipe is None:
        recipe, losses = recipes.search(rows, seed=seed, progress=lambda what, share: progress(what, 0.8 * share), fitter=fitter)
    start = 0.8 if losses else 0.0
    fitted = fitter.fit(recipe, rows, seed=seed, progress=lambda what, share: progress(what, start + (1 - start) * share))
    metrics = {f"search {name}": {str(recipes.criterion(rows.target)): loss} for name, loss in losses.items()}
    return Trained(fitted, str(recipe), recipe.recorded, metrics)


def _known(champion: Mapping[str, Any]) -> recipes.Recipe | None:
    """Another release may have recipes that this one lacks."""
    try:
        return recipes.recipe_of(champion)
    except RetrainError:
        return None
