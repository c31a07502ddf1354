"""`:predict` from bytes to bytes: rows and columns, labels, errors with their statuses, neighbours of the same tick, models that sleep."""

from __future__ import annotations

import gc
import gzip
import json
import logging
import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.control.parking import Parking
from gateway.errors import Code
from gateway.limits import Limits, ServingLimits
from gateway.observe.slabs import HTTP
from gateway.serving.routing import Routes
from tests import naive
from tests.gateway.control.desk import Desk, body
from tests.gateway.serving.mixed_models import ROWS, TAG, TEXTS, built
from tests.gateway.wire import http1_wire

PREDICT = "/v1/models/rows:predict"


def asked(desk: Desk, sent: Any, target: str = PREDICT, *fields: str) -> tuple[int, Any]:
    """Status and JSON of an answer."""
    answer = desk.http.ask("POST", target, sent if isinstance(sent, bytes) else json.dumps(sent).encode(), *fields)
    return answer.status, json.loads(answer.body)


def rows(tag: int, count: int = 1, features: int = 2) -> list[list[float]]:
    return [[float(tag * TAG + (row * features + column) % TAG) for column in range(features)] for row in range(count)]


def predictions(values: list[list[float]]) -> list[dict[str, Any]]:
    """What the model of rows answers, row by row."""
    return [{"sum": total, "y": negated} for total, negated in zip(*naive.rows_answer(values), strict=True)]


def outputs(values: list[list[float]]) -> dict[str, Any]:
    return dict(zip(("sum", "y"), naive.rows_answer(values), strict=True))


def test_rows_are_answered_by_rows_and_columns_by_columns() -> None:
    """With the input's name and without, as often as they come."""
    desk = Desk()
    for tag in range(1, 4):
        values = rows(tag, 2)
        for sent in ({"instances": values}, {"instances": [{"x": row} for row in values]}):
            assert (200, {"predictions": predictions(values)}) == asked(desk, sent)
        for sent in ({"inputs": values}, {"inputs": {"x": values}}):
            assert (200, {"outputs": outputs(values)}) == asked(desk, sent)


def test_strings_and_numbers_together() -> None:
    """By name, as text or as bytes."""
    desk = Desk()
    words, numbers = [["a", "b"], ["c", "ü"]], [[TAG], [TAG + 1]]
    text, m = naive.texts_answer(words, numbers)
    expected = [{"text": one, "m": two} for one, two in zip(text, m, strict=True)]
    sent = [{"words": ["a", {"b64": "Yg=="}], "n": numbers[0]}, {"n": numbers[1], "words": [{"b64": "Yw=="}, "ü"]}]
    assert (200, {"predictions": expected}) == asked(desk, {"instances": sent}, "/v1/models/texts:predict")
    columns = {"inputs": {"n": numbers, "words": words}}
    assert (200, {"outputs": {"text": text, "m": m}}) == asked(desk, columns, "/v1/models/texts:predict")


def test_a_model_without_a_batch_dimension_answers_in_columns() -> None:
    """Its outputs are no rows that belong together."""
    desk = Desk()
    values = rows(1, 2)
    total, doubled = naive.whole_answer(values)
    assert (200, {"outputs": {"total": total, "y": doubled}}) == asked(desk, {"inputs": values}, "/v1/models/whole:predict")
    text = "outputs of model 'whole' are not rows that belong together: ask with 'inputs' instead of 'instances'"
    assert (400, {"error": text}) == asked(desk, {"instances": values}, "/v1/models/whole:predict")


def test_a_version_or_label_in_the_path() -> None:
    """The champion where none is named; also where a client writes the colon percent-encoded."""
    desk = Desk()
    desk.service.set_routes(desk.aliased())
    for path in ("", "/versions/3", "/versions/10", "/labels/champion", "/labels/challenger"):
        assert (200, {"predictions": predictions(rows(1))}) == asked(desk, {"instances": rows(1)}, f"/v1/models/rows{path}:predict")
    assert 200 == asked(desk, {"instances": rows(1)}, "/v1/models/rows/labels/champion%3Apredict")[0]
    counts = {key: slab.requests[HTTP, Code.OK] for key, slab in desk.totals.snapshot().items()}
    assert (4, 2) == (counts[ROWS, "3"], counts[ROWS, "10"])


@pytest.mark.parametrize(
    ("target", "code", "text"),
    [("nobody", 404, "Request for unknown model: 'nobody' is not found"),
     ("rows/versions/4", 404, "Request for unknown model: 'rows' version 4 is not found"),
     ("rows/labels/nobody", 404, "Request for unknown model: 'rows' alias nobody is not found"),
     ("rows/labels/broken", 503, "Request for unknown model: 'rows' alias broken stands for version 7, which is not at ready state"),
     ("headless", 503, "model 'headless' has no champion: name a version or alias"),
     ("idle", 503, "model 'idle' serves no version: no alias stands for one")],
)  # fmt: skip
def test_what_does_not_serve_says_why(target: str, code: int, text: str) -> None:
    """Whatever the body holds: its datatypes would be the version's."""
    desk = Desk()
    desk.service.set_routes(desk.aliased())
    for sent in ({"instances": rows(1)}, b"{"):
        assert (code, {"error": text}) == asked(desk, sent, f"/v1/models/{target}:predict")


BAD: list[tuple[Any, str]] = [
    (b"{", "the request is not valid JSON"), (b"[]", "the request does not have the form"), ({}, "either 'instances' or 'inputs'"),
    ({"instances": []}, "'instances' must be a list"), ({"instances": [[1, 2], [3]]}, "input 'x' for model 'rows' is ragged at [1]"),
    ({"instances": [["a", 2]]}, "input 'x' for model 'rows' has a string at [0][0] where FP32 is expected"),
    ({"instances": [[1, None]]}, "Expected `float`, got `null` at [0][1]"),
    ({"instances": [1, 2]}, "unexpected shape for input 'x' for model 'rows'"),
    ({"inputs": 5}, "unexpected shape for input 'x' for model 'rows'. Expected [-1,-1], got []"),
    ({"instances": [[]]}, "Expected [-1,-1], got [1,0]|is an empty tensor"),
    ({"instances": [{"y": [1, 2]}]}, "input 'y' for model 'rows' in instance 0|missing required input 'x'"),
    ({"instances": rows(1), "signature_name": "other"}, "Serving signature name: \"other\" not found"),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "text"), BAD)
def test_a_bad_body_gets_its_error_and_its_neighbours_of_the_tick_their_answers(sent: Any, text: str) -> None:
    """In one write, over one connection, beside requests of protocol v2; counted as of no model."""
    desk = Desk()
    if sent == {"instances": [[]]}:
        desk.service.allow_empty(set())
    bad = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
    good = [json.dumps({"instances": rows(tag)}).encode() for tag in (1, 2)]
    desk.http.send(http1_wire.post(PREDICT, good[0]), http1_wire.post(PREDICT, bad), http1_wire.post(PREDICT, good[1]))
    desk.http.send(http1_wire.post("/v2/models/rows/infer", body(rows(3))))
    desk.loop.settle()
    answers = desk.http.answers()
    assert [200, 400, 200, 200] == [answer.status for answer in answers]
    assert [{"predictions": predictions(rows(tag))} for tag in (1, 2)] == [json.loads(answers[index].body) for index in (0, 2)]
    assert any(part in json.loads(answers[1].body)["error"] for part in text.split("|"))
    assert ["error"] == list(json.loads(answers[1].body))
    assert 1 == dict(desk.totals.snapshot().items())["_unknown", ""].requests[HTTP, Code.INVALID_ARGUMENT]


def test_an_input_that_fails_the_model_costs_its_neighbours_nothing() -> None:
    """The batch is run again member by member."""
    desk = Desk()
    desk.models[ROWS].poisoned = {2}
    sent = [json.dumps({"inputs" if tag == 3 else "instances": rows(tag)}).encode() for tag in (1, 2, 3)]
    desk.http.send(b"".join([http1_wire.post(PREDICT, one) for one in sent]))
    desk.loop.settle()
    assert [200, 400, 200] == [answer.status for answer in desk.http.answers()]


FORMS = st.sampled_from(["rows", "named rows", "columns", "named", "v2"])
requests = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3), FORMS), min_size=1, max_size=8)


@settings(max_examples=200)
@given(requests)
def test_every_mix_of_one_read_is_answered_to_each_its_own_in_order(asks: list[tuple[int, int, str]]) -> None:
    """Forms and protocols share a batch."""
    desk = Desk()
    forms = {
        "rows": lambda values: {"instances": values}, "named rows": lambda values: {"instances": [{"x": row} for row in values]},
        "columns": lambda values: {"inputs": values}, "named": lambda values: {"inputs": {"x": values}},
    }  # fmt: skip
    sent = []
    for tag, (count, features, form) in enumerate(asks, 1):
        values = rows(tag, count, features)
        if form == "v2":
            sent.append(http1_wire.post("/v2/models/rows/infer", body(values)))
        else:
            sent.append(http1_wire.post(PREDICT, json.dumps(forms[form](values)).encode()))
    desk.http.send(b"".join(sent))
    desk.loop.settle()
    for tag, ((count, features, form), answer) in enumerate(zip(asks, desk.http.answers(), strict=True), 1):
        values, found = rows(tag, count, features), json.loads(answer.body)
        if form == "v2":
            assert [value for row in outputs(values)["y"] for value in row] == found["outputs"][1]["data"]
        else:
            expected = {"predictions": predictions(values)} if "rows" in form else {"outputs": outputs(values)}
            assert expected == found
    assert len({features for _, features, _ in asks}) >= desk.models[ROWS].runs or sum(count for count, _, _ in asks) > 8


def test_requests_of_one_tick_run_together() -> None:
    """Rows, columns and protocol v2 in one run."""
    desk = Desk()
    bodies = [json.dumps({"instances": rows(1)}).encode(), json.dumps({"inputs": {"x": rows(2)}}).encode()]
    desk.http.send(b"".join([http1_wire.post(PREDICT, one) for one in bodies]) + http1_wire.post("/v2/models/rows/infer", body(rows(3))))
    desk.loop.settle()
    assert (1, [200] * 3) == (desk.models[ROWS].runs, desk.http.statuses())


def test_bodies_may_be_compressed_and_of_the_types_that_v2_takes() -> None:
    """Other types are refused."""
    desk = Desk()
    sent = json.dumps({"instances": rows(1)}).encode()
    assert 200 == asked(desk, gzip.compress(sent), PREDICT, "Content-Encoding: gzip")[0]
    assert 200 == asked(desk, sent, PREDICT, "Content-Type: application/x-www-form-urlencoded")[0]
    assert 415 == asked(desk, sent, PREDICT, "Content-Type: multipart/form-data; boundary=x")[0]


def test_nan_is_read_and_written_unless_strict_json_forbids_the_answer() -> None:
    """The error names the output."""
    sent = b'{"instances":[[NaN,Infinity]]}'
    found = []
    for strict in (False, True):
        desk = Desk(strict_json=strict)
        desk.models[ROWS].run = lambda arrays, options=None: [arrays[0].sum(axis=1), -arrays[0]]  # type: ignore[method-assign]
        found.append(desk.http.ask("POST", PREDICT, sent))
    assert (200, b'{"predictions":[{"sum":NaN,"y":[NaN,-Infinity]}]}') == (found[0].status, found[0].body)
    text = "output 'sum' of model 'rows' is not finite, which JSON cannot say; protocol v2 has it as binary data"
    assert (500, {"error": text}) == (found[1].status, json.loads(found[1].body))


def test_overload_and_deadlines_are_those_of_every_request() -> None:
    """429 with Retry-After; 504 after the default deadline."""
    sent = json.dumps({"instances": rows(1)}).encode()
    answer = Desk(Limits(serving=ServingLimits(max_inflight_bytes=4))).http.ask("POST", PREDICT, sent)
    assert (429, "1") == (answer.status, answer.headers["retry-after"])
    desk = Desk(threaded=True)
    desk.http.send(http1_wire.post(PREDICT, sent))
    desk.loop.settle()
    desk.loop.advance(10.1)
    assert [504] == desk.http.statuses()


def test_a_model_that_sleeps_is_awakened_and_the_request_waits() -> None:
    """It is answered as if it had come when the model was ready."""
    desk = Desk()
    woken: list[str] = []
    awake = desk.service.routes
    desk.service.parking = Parking(desk.loop, desk.loop.now, woken.append, max_bytes=1 << 20)
    desk.service.set_routes(Routes(asleep=frozenset({ROWS})))
    desk.http.send(http1_wire.post(PREDICT, json.dumps({"instances": rows(1)}).encode()))
    desk.loop.tick()
    assert ([ROWS], []) == (woken, desk.http.statuses())
    desk.service.set_routes(awake)
    desk.loop.settle()
    assert [{"predictions": predictions(rows(1))}] == [json.loads(answer.body) for answer in desk.http.answers()]


def test_new_routes_are_used_at_once() -> None:
    """The answers of a version are not written in the form of the one before."""
    desk = Desk()
    assert 200 == asked(desk, {"instances": rows(1)})[0]
    texts = built(TEXTS, desk.loop)
    desk.service.set_routes(Routes({ROWS: {4: desk.version(texts, 4)}}))
    assert "missing required input 'words'" in asked(desk, {"instances": [{"n": [TAG]}]})[1]["error"]
    sent = {"instances": [{"words": ["a"], "n": [TAG]}]}
    assert (200, {"predictions": [{"text": f"a,{TAG}", "m": [TAG + 1]}]}) == asked(desk, sent)


def test_nothing_holds_a_version_that_is_in_no_table_any_more() -> None:
    """Once somebody asks by the new one."""
    desk = Desk()
    old = desk.version(built(ROWS, desk.loop), 3)
    desk.service.set_routes(Routes({ROWS: {3: old}}))
    assert 200 == asked(desk, {"instances": rows(1)})[0]
    desk.service.set_routes(Routes({ROWS: {4: desk.version(built(ROWS, desk.loop), 4)}}))
    assert 200 == asked(desk, {"instances": rows(1)})[0]
    desk.metrics.forget(old)
    gone = weakref.ref(old)
    del old
    gc.collect()
    assert gone() is None


def test_rows_without_values() -> None:
    """Where the settings of the model let them through; a list without rows is none of rows."""
    desk = Desk()
    assert (200, {"outputs": {"sum": [0.0], "y": [[]]}}) == asked(desk, {"inputs": [[]]})
    assert 400 == asked(desk, {"instances": []})[0]


def test_a_fault_of_ours_costs_its_own_call_and_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """500 with a constant text."""
    desk = Desk()
    desk.service.bound = lambda version, request: 1 / 0  # type: ignore[assignment,method-assign]
    with caplog.at_level(logging.ERROR):
        assert (500, {"error": "internal error"}) == asked(desk, {"instances": rows(1)})
    assert ["infer failed: rows"] == caplog.messages


def test_the_numbers_are_those_of_protocol_v2() -> None:
    """To the last bit of every float32."""
    desk = Desk()
    rng = np.random.default_rng(7)
    values = [[float(value) for value in rng.normal(size=4).astype(np.float32)] for _ in range(3)]
    answer = asked(desk, {"inputs": values})[1]["outputs"]["y"]
    flat = json.loads(desk.http.ask("POST", "/v2/models/rows/infer", body(values)).body)["outputs"][1]["data"]
    assert flat == [value for row in answer for value in row]
