"""Rows against a contract and a reference: counted in any pieces, judged by limits, shown as a page, and said to other tools."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from registry.columns import Column
from registry.profile import Profile
from registry.profiling import profile_of
from registry.schema import Field, Range, Schema
from retrain.errors import RetrainError
from retrain.expectations import gate_of, suite
from retrain.inputs import Input, inputs_of
from retrain.report import html
from retrain.sources import KEY, LABEL, TIME, WEIGHT, fits
from retrain.surveying import Survey, survey
from retrain.tfdv import schema_pbtxt
from retrain.validation import Limits, Report, judge

pytestmark = pytest.mark.demo

SCHEMA = Schema(
    format=1,
    inputs=(
        Field(name="x", type="tensor(float)", shape=(None, 1), nulls="refused", range=Range(min=-10, max=10)),
        Field(name="z", type="tensor(float)", shape=(None, 1), description='of "z"'),
        Field(name="t", type="tensor(string)", shape=(None, 1), null_value="?", categories=("a", "b")),
    ),
    outputs=(),
)
INPUTS = inputs_of(SCHEMA)
TYPES = {"x": "DOUBLE", "z": "DOUBLE", "t": "VARCHAR"}
ROWS = 2_000


def columns(*, seed: int = 0, rows: int = ROWS) -> dict[str, Any]:
    """Rows that keep the contract: z is missing in a tenth."""
    generator = np.random.default_rng(seed)
    z = generator.normal(size=rows)
    z[generator.random(rows) < 0.1] = np.nan
    return {
        "x": np.clip(generator.normal(size=rows), -9, 9), "z": z, "t": generator.choice(np.array(["a", "b"], object), rows),
        LABEL: generator.integers(0, 2, rows).astype(np.float64), TIME: np.arange(rows), WEIGHT: np.ones(rows), KEY: np.arange(rows),
    }  # fmt: skip


def profile() -> Profile:
    found = columns(seed=1)
    tensors = [Column("input", name, found[name].astype(np.float32).reshape(-1, 1)) for name in ("x", "z")]
    return profile_of([*tensors, Column("input", "t", found["t"].reshape(-1, 1))], schema=SCHEMA).profile


def counted(found: dict[str, Any], *, pieces: int = 3, inputs: tuple[Input, ...] = INPUTS, types: dict[str, str] = TYPES) -> Survey:
    table = pa.table({name: pa.array(values.tolist()) if values.dtype == object else values for name, values in found.items()})
    batches = table.to_batches(max_chunksize=-(-table.num_rows // pieces)) if table.num_rows else []
    return survey(batches, inputs, types, SCHEMA, profile(), fits=fits)


def report(found: dict[str, Any], limits: Limits = Limits(), **more: Any) -> Report:  # noqa: B008 - immutable
    return judge(counted(found, **more), SCHEMA, profile(), limits, model="m", version=3, dataset="sha256:" + "0" * 64)


def failed(found: Report) -> set[tuple[str, str]]:
    return {(finding.column, finding.check) for finding in found.failures}


def test_rows_that_keep_the_contract_pass() -> None:
    """Every check of every column is among the findings."""
    found = report(columns())
    assert ("ok", 2_000, 2_000) == (found.level, found.rows, found.labelled)
    expected = {
        ("", "rows"), ("", "labels"), ("", "times"), ("", "schema"), ("x", "missing"), ("x", "range"), ("x", "distribution"),
        ("z", "missing"), ("z", "range"), ("z", "distribution"), ("t", "missing"), ("t", "categories"), ("t", "distribution"),
    }  # fmt: skip
    assert expected == {(finding.column, finding.check) for finding in found.findings}


@pytest.mark.parametrize("pieces", [1, 2, 17])
def test_pieces_make_no_difference(pieces: int) -> None:
    """Counts add up."""
    assert report(columns(), pieces=1) == report(columns(), pieces=pieces)


BROKEN: dict[str, tuple[dict[str, Any], set[tuple[str, str]]]] = {
    "missing where nothing may be": ({"x": (0, np.nan)}, {("x", "missing")}),
    "infinite": ({"z": (0, np.inf)}, {("z", "range")}),
    "too large for float32": ({"z": (0, 1e300)}, {("z", "range")}),
    "below the range": ({"x": (0, -11.0)}, {("x", "range")}),
    "another category": ({"t": (0, "<b>c</b>")}, {("t", "categories")}),
    "a label that is none": ({LABEL: (0, 2.0)}, {("", "labels")}),
}


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_single_wrong_value_is_found(name: str) -> None:
    """And allowed where the limits say so, but for labels."""
    changes, expected = BROKEN[name]
    found = columns()
    for column, (place, value) in changes.items():
        found[column] = found[column].copy()
        found[column][place] = value
    assert expected == failed(report(found))
    tolerant = failed(report(found, Limits(max_violations=0.01)))
    assert tolerant == (expected if ("", "labels") in expected else set())


def test_a_column_that_lost_its_values_fails() -> None:
    """Where a tenth was missing, a fifth is well enough and a half is not; a text's missing value counts, NULL or what stands for it."""
    usual, lost = columns(), columns()
    lost["z"][: ROWS // 2] = np.nan
    assert set() == failed(report(usual))
    assert {("z", "missing")} == failed(report(lost))
    texts = columns()
    texts["t"][: ROWS // 4], texts["t"][ROWS // 4 : ROWS // 2] = None, "?"
    assert {("t", "missing")} == failed(report(texts))


def test_a_distribution_that_moved_warns_unless_it_shall_fail() -> None:
    """It is often why there is a job."""
    moved = columns()
    moved["x"] = moved["x"] + 2
    found = report(moved)
    assert ("warn", set()) == (found.level, failed(found))
    assert {"x"} == {finding.column for finding in found.findings if finding.level == "warn"}
    assert {("x", "distribution")} == failed(report(moved, Limits(fail_psi=0.25)))
    (beside,) = [one for one in found.distributions if one.column == "x"]
    assert beside.psi > 1
    assert sum(beside.rows) == pytest.approx(1)
    assert len(beside.bins) == len(beside.rows) == len(beside.reference)


def test_too_few_rows_or_labels_of_one_kind_fail() -> None:
    """Also no rows at all."""
    assert ("", "rows") in failed(report(columns(rows=999)))
    one = columns()
    one[LABEL] = np.ones(ROWS)
    assert {("", "labels")} == failed(report(one))
    nothing = {name: values[:0] for name, values in columns().items()}
    assert {("", "rows"), ("", "labels")} == failed(report(nothing))


def test_columns_that_are_absent_or_of_another_kind_fail() -> None:
    """By name, with what they are."""
    found = columns()
    del found["x"]
    found["t"] = np.arange(ROWS)
    answer = report(found, types={"z": "DOUBLE", "t": "BIGINT"})
    assert {("x", "schema"), ("t", "schema")} == failed(answer)
    assert {"there is no such column", "the column is BIGINT"} == {finding.text for finding in answer.failures}


class _Page(HTMLParser):
    """Tags in their order, those that are open, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        assert not {name for name, _ in attrs} & {"src", "href", "onclick"}
        if tag not in {"meta", "rect"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in {"rect"}:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_needs_nothing_else_and_runs_nothing() -> None:
    """Well-formed, without scripts and links; what columns are called and hold is text; everything that failed is in it."""
    found = columns()
    found["t"][:9] = "<script>alert(1)</script>"
    answer = replace_model(report(found), model="<i>m</i>")
    page = _Page()
    page.feed(html(answer))
    assert [] == page.open
    assert not {"script", "i", "link", "img", "iframe"} & set(page.seen)
    assert 3 == page.seen.count("svg")
    for finding in answer.findings:
        assert finding.text in page.text
    assert "<script>alert(1)</script>" in page.text


def replace_model(found: Report, *, model: str) -> Report:
    return msgspec.structs.replace(found, model=model)


def test_the_suite_has_an_expectation_for_every_check() -> None:
    """Deterministic, plain JSON, with the shares that the limits leave."""
    found = suite(SCHEMA, profile(), Limits(max_violations=0.01, fail_psi=0.25), model="m", version=3)
    assert found == json.loads(json.dumps(found))
    of_x = {one["type"]: one["kwargs"] for one in found["expectations"] if one["kwargs"].get("column") == "x"}
    assert {"min_value": -10.0, "max_value": 10.0, "mostly": 0.99, "column": "x"} == of_x["expect_column_values_to_be_between"]
    assert 0.99 == of_x["expect_column_values_to_not_be_null"]["mostly"]
    partition = of_x["expect_column_kl_divergence_to_be_less_than"]["partition_object"]
    assert len(partition["bins"]) == len(partition["weights"]) + 1
    assert sum(partition["weights"]) == pytest.approx(1)
    of_t = {one["type"]: one["kwargs"] for one in found["expectations"] if one["kwargs"].get("column") == "t"}
    assert ["a", "b"] == of_t["expect_column_values_to_be_in_set"]["value_set"]
    assert "expect_column_kl_divergence_to_be_less_than" not in json.dumps(suite(SCHEMA, profile(), Limits(), model="m", version=3))


def test_a_result_of_great_expectations_is_a_gate() -> None:
    """Of a suite or a checkpoint; what is not met is said with the column and what was seen."""
    met = {"success": True, "expectation_config": {"type": "expect_column_to_exist", "kwargs": {"column": "x"}}, "result": {}}
    missed = {
        "success": False, "expectation_config": {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "z"}},
        "result": {"unexpected_percent": 12.5},
    }  # fmt: skip
    assert gate_of({"success": True, "results": [met]}).passed
    for plain in (
        {"success": False, "results": [met, missed]},
        {"run_results": {"a": {"success": True, "results": [met]}, "b": {"validation_result": {"success": False, "results": [missed]}}}},
    ):
        gate = gate_of(plain)
        assert (False, "expect_column_values_to_not_be_null of 'z' is not met: 12.5") == (gate.passed, gate.reason)
    for other in ({}, [], {"success": 1, "results": []}, {"success": True}):
        with pytest.raises(RetrainError, match="no validation result of Great Expectations"):
            gate_of(other)


def test_the_schema_of_tfdv() -> None:
    """To the letter; `make integration` reads it with the real package."""
    expected = """\
feature {
  name: "x"
  type: FLOAT
  presence { min_fraction: 0.99 min_count: 1 }
  shape { dim { size: 1 } }
  float_domain { min: -10.0 max: 10.0 }
  drift_comparator { jensen_shannon_divergence { threshold: 0.25 } }
}
feature {
  name: "z"
  type: FLOAT
  presence { min_fraction: 0.8 min_count: 1 }
  value_count { min: 0 max: 1 }
  annotation { comment: "of \\"z\\"" }
  drift_comparator { jensen_shannon_divergence { threshold: 0.25 } }
}
feature {
  name: "t"
  type: BYTES
  presence { min_fraction: 0.9 min_count: 1 }
  value_count { min: 0 max: 1 }
  string_domain {
    value: "a"
    value: "b"
  }
  distribution_constraints { min_domain_mass: 0.99 }
  drift_comparator { infinity_norm { threshold: 0.25 } }
}
feature {
  name: "late"
  type: INT
  int_domain { min: 0 max: 1 is_categorical: true }
}
dataset_constraints { min_examples_count: 1000 }
"""
    found = profile()
    tenth = tuple(200 if place == len(found.numeric[1].counts) - 1 else 0 for place in range(len(found.numeric[1].counts)))
    rest = (*tenth[:3], ROWS - 200, *tenth[4:])
    z = msgspec.structs.replace(found.numeric[1], counts=rest)
    fixed = msgspec.structs.replace(found, numeric=(found.numeric[0], z))
    assert expected == schema_pbtxt(SCHEMA, fixed, Limits(max_violations=0.01, fail_psi=0.25), label="late")
