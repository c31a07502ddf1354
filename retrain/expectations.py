"""A version's contract and reference as a Great Expectations suite, and a result of one as a gate. JSON; the library is not needed.

The form is that of GX Core 1 (`name`, `expectations` of `type` and `kwargs`); its names of expectations are older and have not changed.
"""

from __future__ import annotations

from typing import Any

from registry.profile import FIRST_BIN, Categorical, Numeric, Profile
from registry.schema import Field, Schema
from retrain.errors import RetrainError
from retrain.gate_settings import Check, Gate
from retrain.gates import VALIDATION
from retrain.surveying import features_of
from retrain.validation import Limits

_NUMBERS = ["FLOAT", "DOUBLE", "float32", "float64", "REAL", "DOUBLE_PRECISION", "FloatType", "DoubleType"]
_TEXTS = ["STRING", "VARCHAR", "TEXT", "str", "object", "StringType"]


def suite(schema: Schema, profile: Profile | None, limits: Limits, *, model: str, version: int) -> dict[str, Any]:
    """One expectation for every check that `validation` makes of a column."""
    features = features_of(profile)
    found = [_expect("expect_table_row_count_to_be_between", min_value=limits.min_rows)]
    for field in schema.inputs:
        found += _of_column(field, features.get(field.name), limits)
    return {
        "name": f"{model}-{version}",
        "expectations": found,
        "meta": {"tidegate": {"model": model, "version": version}},
        "notes": None,
    }


def gate_of(plain: Any) -> Gate:
    """A validation result of Great Expectations, of a suite or a checkpoint, as the gate `validation`. Raises `RetrainError`."""
    results = _results(plain)
    wrong = [one for one in results if not one.get("success", False)]
    checks = [Check(name="great expectations", passed=False, text=_said(one)) for one in wrong]
    good = Check(name="great expectations", passed=True, text=f"{len(results)} expectations are met")
    return Gate(name=VALIDATION, checks=tuple(checks) or (good,))


def _of_column(field: Field, feature: Numeric | Categorical | None, limits: Limits) -> list[dict[str, Any]]:
    name = field.name
    is_text = field.type == "tensor(string)"
    found = [
        _expect("expect_column_to_exist", column=name),
        _expect("expect_column_values_to_be_in_type_list", column=name, type_list=_TEXTS if is_text else _NUMBERS),
    ]
    usual = 0.0 if feature is None else feature.counts[-1] / max(sum(feature.counts), 1)
    allowed = limits.max_violations if field.nulls == "refused" else min(usual + limits.max_missing_rise, 1.0)
    found.append(_expect("expect_column_values_to_not_be_null", column=name, mostly=round(1.0 - allowed, 6)))
    mostly = round(1.0 - limits.max_violations, 6)
    if field.range is not None:
        ends = {"min_value": field.range.min, "max_value": field.range.max}
        found.append(_expect("expect_column_values_to_be_between", column=name, mostly=mostly, **ends))
    if field.categories is not None:
        found.append(_expect("expect_column_values_to_be_in_set", column=name, value_set=list(field.categories), mostly=mostly))
    if feature is not None:
        found += _divergence(name, feature, limits)
    return found


def _divergence(name: str, feature: Numeric | Categorical, limits: Limits) -> list[dict[str, Any]]:
    """KL to the reference, which is at most PSI, so PSI's limit is a limit of it; without one, nothing is expected."""
    if limits.fail_psi is None:
        return []
    if isinstance(feature, Categorical):
        counts = feature.counts[: len(feature.categories)]
        total = max(sum(counts), 1)
        partition: dict[str, Any] = {"values": list(feature.categories), "weights": [count / total for count in counts]}
    else:
        counts = feature.counts[FIRST_BIN : FIRST_BIN + feature.bins]
        total = max(sum(counts), 1)
        partition = {"bins": list(feature.edges), "weights": [count / total for count in counts]}
    more = {"tail_weight_holdout": 0.001, "internal_weight_holdout": 0.001} if "bins" in partition else {}
    return [
        _expect("expect_column_kl_divergence_to_be_less_than", column=name, partition_object=partition, threshold=limits.fail_psi, **more)
    ]


def _expect(kind: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": kind, "kwargs": {name: value for name, value in kwargs.items() if value is not None}, "meta": {}}


def _results(plain: Any) -> list[dict[str, Any]]:
    """Of one suite, or of every suite of a checkpoint."""
    if isinstance(plain, dict) and isinstance(plain.get("run_results"), dict):
        return [one for inner in plain["run_results"].values() for one in _results(inner.get("validation_result", inner))]
    if not isinstance(plain, dict) or not isinstance(plain.get("results"), list) or not isinstance(plain.get("success"), bool):
        raise RetrainError("this is no validation result of Great Expectations: it has no `success` and no `results`")
    return [one for one in plain["results"] if isinstance(one, dict)]


def _said(one: dict[str, Any]) -> str:
    config = one.get("expectation_config") or {}
    kind, kwargs = config.get("type") or config.get("expectation_type") or "an expectation", config.get("kwargs") or {}
    result = one.get("result") or {}
    column = f" of '{kwargs['column']}'" if "column" in kwargs else ""
    seen = result.get("observed_value", result.get("unexpected_percent"))
    return f"{kind}{column} is not met" + (f": {seen}" if seen is not None else "")
