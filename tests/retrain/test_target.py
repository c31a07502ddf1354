"""Labels that are classes or numbers, from the contract to a version that is published: what differs, and what is refused by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gateway.commands.output import Exit
from registry.parts import read_parts
from registry.publish import publish
from registry.schema import Field, Schema
from registry.store import Store
from registry.triggers import Trigger
from retrain import recipes
from retrain.dataset import Dataset, DatasetError
from retrain.desk import replay
from retrain.errors import RetrainError
from retrain.export import ExportError, export
from retrain.gate_settings import Budget, Change, CrossSlice, Gates, Slices, Value, suited
from retrain.metrics import METRICS_OF, measured, row_losses
from retrain.planning import Data, Training
from retrain.policy import policy_of
from retrain.situation import situation
from retrain.snapshot import Join
from retrain.target import YES_NO, Kind, Target, target_of
from tests.gateway.commands.console import parsed, run
from tests.retrain.jobs import DAY_S, MODEL, START_S, desk, drawn, proposed, wish, written

pytestmark = pytest.mark.demo
CLASSES, NUMBERS = Target("class", 3), Target("number", 0, ("variable",))
SMALL: dict[str, dict[str, Any]] = {"class": {"trees": 12, "depth": 3}, "number": {"trees": 12, "depth": 3}}


def of_kind(kind: str, rows: int, *, seed: int = 0, turned: bool = False) -> Dataset:
    """Rows whose number depends on x and on the place; classes are its thirds."""
    found = drawn(rows, seed=seed, turned=turned)
    added = np.where(found.columns["t"] == "a", 3.0, 0.0) * (-1 if turned else 1)
    number = 100.0 + 2.0 * found.columns["x"] + added + np.random.default_rng(seed + 1).normal(size=rows) * 0.3
    if kind == "number":
        return replace(found, labels=number, target=NUMBERS)
    return replace(found, labels=np.digitize(number, [99.0, 101.5]).astype(np.int64), target=CLASSES)


def saved(path: Path, rows: Dataset, **columns: Any) -> Path:
    return written(path, rows, late=rows.labels, **columns)


def put(store: Store, kind: str, folder: Path) -> Trigger:
    """A champion that foretells such labels, and a trigger about it."""
    learned = of_kind(kind, 600, seed=7)
    recipe = recipes.Recipe("gradient_boosting", {"share": 0.5, "rate": 0.3, **SMALL[kind]})
    exported = export(recipes.fit(recipe, learned, seed=0), of_kind(kind, 100, seed=8), fitted=learned)
    folder.mkdir()
    version = publish(
        store, exported.save(folder), name=MODEL, publisher="ann", now_s=START_S, publish_id="first", parts=exported.parts,
        trial=lambda *_: None,
    ).version  # fmt: skip
    store.aliases(MODEL).move("champion", to=version, expected_from=None, actor="ann", reason="", now_s=START_S)
    return proposed(store)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "registry")


def output(name: str, kind: str, *shape: int | None) -> Field:
    return Field(name=name, type=kind, shape=shape)


FLOAT = "tensor(float)"


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ((output("label", "tensor(int64)", None), output("probabilities", FLOAT, None, 2)), YES_NO),
        ((output("label", "tensor(int64)", None), output("probabilities", FLOAT, None, 5)), Target("class", 5)),
        ((output("price", FLOAT, None, 1),), Target("number", 0, ("price",))),
        ((output("price", FLOAT, None),), Target("number", 0, ("price",))),
        ((output("probabilities", FLOAT, None, None),), YES_NO),
        ((Field(name="probabilities", type=FLOAT, shape=None),), YES_NO),
    ],
)
def test_the_outputs_say_what_labels_are(outputs: tuple[Field, ...], expected: Target) -> None:
    """Two probabilities, several, or a number; what does not say is what it was before there were others."""
    assert expected == target_of(Schema(format=1, inputs=(), outputs=outputs))


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        ((output("a", FLOAT, None, 1), output("b", FLOAT, None, 1)), "the model gives 'a' .*, 'b' .*: a job trains models with one output"),
        ((output("label", "tensor(int64)", None),), "one output of floats"),
        ((output("a", FLOAT, None, 4, 4),), "output 'a' has 2 dimensions a row"),
    ],
)
def test_outputs_that_foretell_something_else_are_refused(outputs: tuple[Field, ...], text: str) -> None:
    """By name."""
    with pytest.raises(RetrainError, match=text):
        target_of(Schema(format=1, inputs=(), outputs=outputs))


@pytest.mark.parametrize(
    ("target", "labels", "text"),
    [(YES_NO, [0, 2], "neither 0 nor 1"), (CLASSES, [0, 3], "none of the classes 0 to 2"), (CLASSES, [0, 0.5], "none of the classes"),
     (NUMBERS, [0.0, np.inf], "no finite number")],
)  # fmt: skip
def test_labels_that_cannot_be(target: Target, labels: list[float], text: str) -> None:
    """Of each kind."""
    with pytest.raises(DatasetError, match=text):
        Dataset({"x": np.zeros(2, np.float32)}, np.array(labels), target=target)


def test_digests_tell_numbers_apart_and_a_yes_is_what_it_was() -> None:
    """A half is no whole number; targets travel with the rows."""
    rows = of_kind("number", 40)
    other = replace(rows, labels=rows.labels + 0.25)
    assert rows.digest != other.digest
    assert NUMBERS == rows.take(slice(0, 4)).and_then(rows.labelled(rows.labels)).target
    whole = drawn(30)
    assert whole.digest == replace(whole, target=CLASSES).digest


@given(arrays.arrays(np.float64, st.tuples(st.integers(1, 20), st.just(3)), elements=st.floats(0.01, 1)), st.integers(0, 2**31))
@settings(max_examples=40)
def test_measures_of_classes_are_the_textbooks(scores: np.ndarray, seed: int) -> None:
    """Held against scikit-learn and plain loops, with weights."""
    from sklearn.metrics import log_loss

    p = scores / scores.sum(axis=1, keepdims=True)
    generator = np.random.default_rng(seed)
    y, w = generator.integers(0, 3, len(p)), generator.random(len(p)) + 0.1
    assert log_loss(y, p, labels=[0, 1, 2], sample_weight=w) == pytest.approx(measured("log_loss", y, p, w))
    brier = sum(weight * sum((one - (k == kind)) ** 2 for k, one in enumerate(row)) for row, kind, weight in zip(p, y, w, strict=True))
    assert brier / w.sum() == pytest.approx(measured("brier", y, p, w))
    assert np.average(p.argmax(axis=1) == y, weights=w) == pytest.approx(measured("accuracy", y, p, w))


@given(arrays.arrays(np.float64, st.integers(1, 20), elements=st.floats(-1e6, 1e6)), st.integers(0, 2**31))
@settings(max_examples=40)
def test_measures_of_numbers_are_the_textbooks(y: np.ndarray, seed: int) -> None:
    """The mean distance, and the root of the mean squared one."""
    generator = np.random.default_rng(seed)
    p, w = generator.normal(size=len(y)), generator.random(len(y)) + 0.1
    assert np.average(np.abs(y - p), weights=w) == pytest.approx(measured("mae", y, p, w))
    assert np.sqrt(np.average((y - p) ** 2, weights=w)) == pytest.approx(measured("rmse", y, p, w))
    assert np.isnan(measured("rmse", y, p, np.zeros(len(y))))


def test_two_classes_are_measured_as_a_yes_is() -> None:
    """The Brier score of both classes is twice that of one, by its definition; the rest is equal."""
    p = np.array([0.1, 0.6, 0.9])
    y, both = np.array([0, 0, 1]), np.column_stack([1 - p, p])
    for metric in ("log_loss", "accuracy"):
        np.testing.assert_allclose(row_losses(metric, y, p), row_losses(metric, y, both))
    np.testing.assert_allclose(2 * row_losses("brier", y, p), row_losses("brier", y, both))


@pytest.mark.parametrize("kind", ["class", "number"])
def test_a_better_candidate_is_published(store: Store, tmp_path: Path, kind: Kind) -> None:
    """By the champion's recipe; measured by what such labels have; replayed to the same digests."""
    trigger = put(store, kind, tmp_path / "champion")
    rows = saved(tmp_path / "rows.parquet", of_kind(kind, 1_500, seed=1, turned=True))
    metric, tolerance = ("brier", 1.0) if kind == "class" else ("rmse", 0.0)
    slices = Slices(columns=("t",), n_min=50, metric=metric, tolerance=tolerance, relative=2.0)
    training = Training(parameters={"recipe": "gradient_boosting", "rate": 0.3, **SMALL[kind]}, seed=3)
    gates = Gates(budget=Budget(runs=3), repeats=60, slices=slices)
    journal = desk(store, tmp_path).perform(trigger, wish(rows, gates=gates, training=training))
    assert journal.last is not None
    assert "published" == journal.state, journal.last.reason
    parts = read_parts(store.manifest(MODEL, 2), store.read_blob)
    assert parts.training is not None
    figures = parts.training.metrics["holdout"]
    assert {"rows", *METRICS_OF[kind]} == figures.keys()
    first = METRICS_OF[kind][0]
    assert figures[first] < 0.8 * parts.training.metrics["holdout, champion"][first]
    assert f"| rows of | {' | '.join(['rows', *METRICS_OF[kind]])} |" in (parts.card or "")
    found = msgspec.json.decode(store.read_blob(journal.detail("gates")))
    checks = {(one["name"], one.get("slice", "")) for gate in found if gate["name"] == "challenger" for one in gate["checks"]}
    expected = {("log_loss", ""), ("accuracy", ""), ("brier", "t=a")} if kind == "class" else {("rmse", ""), ("mae", ""), ("rmse", "t=a")}
    assert expected <= checks
    assert replay(desk(store, tmp_path), trigger).same


@pytest.mark.parametrize("kind", ["class", "number"])
def test_one_that_is_worse_is_refused_with_figures(store: Store, tmp_path: Path, kind: str) -> None:
    """Rows whose labels say nothing, against later ones like the champion's own."""
    trigger = put(store, kind, tmp_path / "champion")
    rows = of_kind(kind, 1_500, seed=1)
    labels = rows.labels.copy()
    labels[:1_200] = np.random.default_rng(0).permutation(labels[:1_200])
    path = saved(tmp_path / "rows.parquet", replace(rows, labels=labels))
    training = Training(parameters={"recipe": "gradient_boosting", **SMALL[kind]})
    journal = desk(store, tmp_path).perform(trigger, wish(path, training=training, gates=Gates(budget=Budget(runs=3), repeats=60)))
    assert journal.last is not None
    assert ("rejected", "challenger") == (journal.state, journal.detail("gate"))
    assert journal.last.reason.startswith(f"challenger: {'log_loss' if kind == 'class' else 'rmse'} goes from ")


@pytest.mark.parametrize("kind", ["class", "number"])
def test_a_search_takes_the_best_of_its_kind(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By log loss of all classes, or RMSE; numbers are searched among recipes of numbers."""
    small = tuple(recipes.Recipe(one.name, {**one.parameters, **({"trees": 4} if one.name == "gradient_boosting" else {})}) for one in
                  (recipes.SEARCHED_NUMBERS if kind == "number" else recipes.SEARCHED))  # fmt: skip
    monkeypatch.setattr(recipes, "SEARCHED_NUMBERS" if kind == "number" else "SEARCHED", small)
    rows = of_kind(kind, 300)
    found, losses = recipes.search(rows, seed=0)
    assert min(losses.values()) == losses[str(found)]
    assert 5 == len(small)
    assert ("ridge" if kind == "number" else "logistic") in {one.name for one in small}


def test_ridge_is_exported_as_it_was_fitted() -> None:
    """Large numbers are compared by their size; the model answers one number a row."""
    rows = of_kind("number", 400)
    large = replace(rows, labels=rows.labels * 1e6)
    exported = export(recipes.fit(recipes.Recipe("ridge", {"penalty": 1.0}), large, seed=0), large, fitted=large)
    assert exported.parity.holds
    golden = exported.parts.golden
    assert golden is not None
    assert ["variable"] == list(golden.requests[0].outputs)


def test_recipes_learn_what_they_can() -> None:
    """Refused by name: a classifier of numbers, a regressor of classes, a class that no row has."""
    numbers, classes = of_kind("number", 50), of_kind("class", 200)
    with pytest.raises(RetrainError, match="recipe logistic does not learn numbers, which the labels of this model are"):
        recipes.fit(recipes.Recipe("logistic", {"inverse_penalty": 1.0}), numbers, seed=0)
    with pytest.raises(RetrainError, match="recipe ridge does not learn classes"):
        recipes.fit(recipes.Recipe("ridge", {"penalty": 1.0}), classes, seed=0)
    with pytest.raises(RetrainError, match="no row to train on is of class 2"):
        recipes.fit(recipes.Recipe("logistic", {"inverse_penalty": 1.0}), classes.take(classes.labels < 2), seed=0)
    with pytest.raises(RetrainError, match="all labels of the rows to train on are the same"):
        recipes.fit(recipes.Recipe("ridge", {"penalty": 1.0}), replace(numbers, labels=np.ones(50)), seed=0)


def test_an_estimator_of_another_kind_is_no_such_model() -> None:
    """A classifier where numbers are foretold, and the other way round."""
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import Pipeline

    from retrain.train import frame

    numbers = of_kind("number", 50)
    plain = replace(numbers, columns={"x": numbers.columns["x"]})
    wrong = Pipeline([("last", DummyClassifier())]).fit(frame(plain), (plain.labels > 100).astype(int))
    with pytest.raises(ExportError):
        export(wrong, plain)
    other = replace(plain, labels=(plain.labels > 100).astype(np.int64), target=YES_NO)
    with pytest.raises(ExportError, match="LinearRegression"):
        export(Pipeline([("last", LinearRegression())]).fit(frame(other), other.labels), other)


@pytest.mark.parametrize(
    ("gates", "kind", "text"),
    [
        (
            Gates(values=(Value(metric="auc", at_least=0.6),)),
            "class",
            "labels that are classes have no auc; they have log_loss, brier, accuracy",
        ),
        (Gates(changes=(Change(metric="brier"),)), "number", "labels that are numbers have no brier; they have mae, rmse"),
        (Gates(cross_slices=(CrossSlice(column="t", at_most=1.0),)), "number", "have no accuracy"),
        (Gates(slices=Slices(columns=("t",), metric="rmse")), "yes_no", "labels that are a yes or no have no rmse"),
    ],
)
def test_gates_ask_for_what_labels_have(gates: Gates, kind: Any, text: str) -> None:
    """Refused when the job is planned."""
    with pytest.raises(RetrainError, match=text):
        suited(gates, kind)


def test_gates_that_say_nothing_are_those_of_the_kind() -> None:
    """What is said stays; a share of the champion's own value is in its unit."""
    assert Gates() == suited(Gates(), "yes_no")
    numbers = suited(Gates(), "number")
    assert [("rmse", 0.0, 0.01), ("mae", 0.0, 0.01)] == [(one.metric, one.tolerance, one.relative) for one in numbers.changes]
    mine = Gates(changes=(Change(metric="mae", tolerance=3.0),))
    assert mine.changes == suited(mine, "number").changes


def test_what_stays_out_is_refused_by_name(store: Store, tmp_path: Path) -> None:
    """A no by silence, and a rule whose bound needs losses from 0 to 1."""
    trigger = put(store, "number", tmp_path / "champion")
    path = saved(tmp_path / "rows.parquet", of_kind("number", 200))
    data = Data(rows=(str(path),), label="late", time="at", join=Join(negative_after_s=60))
    with pytest.raises(RetrainError, match="negative_after_s stands for a no, and the labels of this model are numbers"):
        desk(store, tmp_path).perform(trigger, wish(path, data=data))
    plain = {
        "apiVersion": "tidegate/v1", "kind": "Retraining", "model": MODEL, "data": {"rows": [str(path)], "label": "late", "time": "at"},
        "when": {"rules": [{"kind": "loss", "level": 0.2}]},
    }  # fmt: skip
    with pytest.raises(
        RetrainError, match="rule 'loss': its bound needs losses from 0 to 1, and labels that are numbers have no such brier"
    ):
        situation(store, policy_of(plain, source="p"), now_s=START_S + 50 * DAY_S)


@pytest.mark.parametrize("kind", ["class", "number"])
def test_labels_are_validated(store: Store, tmp_path: Path, kind: str) -> None:
    """Those that cannot be, a class that is rare, numbers that are all one; and the schema of TFDV says their domain."""
    put(store, kind, tmp_path / "champion")
    place = ["retrain", "validate", MODEL, "-r", tmp_path / "registry", "--label", "late", "--time", "at", "--min-rows", "10"]
    rows = of_kind(kind, 400)
    schema = tmp_path / "schema.pbtxt"
    good = parsed(*place, "--data", saved(tmp_path / "good.parquet", rows), "--tfdv", schema)
    assert "fail" != good["level"]
    assert ("  int_domain { min: 0 max: 2" if kind == "class" else "  type: FLOAT\n}\ndataset") in schema.read_text()
    odd = rows.labels.astype(np.float64)
    odd[:3] = np.inf if kind == "number" else 7.0
    text = failed_report(*place, "--data", written(tmp_path / "odd.parquet", rows, late=odd))
    assert ("3 labels are no finite number" if kind == "number" else "3 labels are none of the classes 0 to 2") in text
    same = np.full(400, 5.0) if kind == "number" else np.minimum(rows.labels, 1)
    text = failed_report(*place, "--data", written(tmp_path / "same.parquet", rows, late=same))
    assert ("the labels lie between 5 and 5" if kind == "number" else "0.00% of the labels are of the rarest class, 2") in text


def failed_report(*command: object) -> str:
    result = run(*command)
    assert Exit.FAILED == result.exit_code, result.output
    return result.stdout
