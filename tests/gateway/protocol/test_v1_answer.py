"""Results of batches as answers of `:predict`."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Code, TidegateError
from gateway.protocol.tensors import DATATYPES, Signature, TensorSpec
from gateway.protocol.v1_answer import PredictEncoder
from tests.gateway.protocol.v1_bodies import read, values

JSON_TYPE = [(b"content-type", b"application/json")]
LABEL, P = TensorSpec("label", "INT64", (-1,)), TensorSpec("p", "FP32", (-1, 2))
TEXT, BLOB = TensorSpec("text", "BYTES", (-1,)), TensorSpec("seen_bytes", "BYTES", (-1, 2))
LABELS, PS = np.array([0, 1, 2, 3]), np.array([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [math.nan, 0.5]], "f4")
TEXTS, BLOBS = np.array(["a", 'b"', "ä", ""], object), np.array([["a", "ä"]] * 4, object)


Spans = list[tuple[int, int]]  # (first row, rows) of each request


def answers(specs: tuple[TensorSpec, ...], arrays: list[np.ndarray], spans: Spans, *, by_rows: bool, **more: Any) -> list[bytes]:
    """The bodies for requests of so many rows from a row on."""
    encoder = PredictEncoder(Signature("m", (), specs, more.pop("max_batch_size", 8)), by_rows=by_rows, **more)
    found = encoder.answers([b""] * len(spans), [start for start, _ in spans], [rows for _, rows in spans], arrays)
    bodies = []
    for one in found:
        assert not isinstance(one, TidegateError)
        assert JSON_TYPE == one[0]
        bodies.append(one[1])
    return bodies


def test_one_output_goes_without_its_name() -> None:
    """Byte for byte."""
    assert [b'{"predictions":[[0.2,0.8],[0.3,0.7]]}'] == answers((P,), [PS], [(1, 2)], by_rows=True)
    assert [b'{"outputs":[[0.2,0.8],[0.3,0.7]]}'] == answers((P,), [PS], [(1, 2)], by_rows=False)
    assert [b'{"predictions":[0]}', b'{"predictions":[1,2,3]}'] == answers((LABEL,), [LABELS], [(0, 1), (1, 3)], by_rows=True)


def test_several_outputs_are_objects_by_name() -> None:
    """One for each row, or one for all."""
    specs, arrays = (LABEL, P, TEXT), [LABELS, PS, TEXTS]
    expected = b'{"predictions":[{"label":1,"p":[0.2,0.8],"text":"b\\""},{"label":2,"p":[0.3,0.7],"text":"\xc3\xa4"}]}'
    assert [expected] == answers(specs, arrays, [(1, 2)], by_rows=True)
    expected = b'{"outputs":{"label":[1,2],"p":[[0.2,0.8],[0.3,0.7]],"text":["b\\"","\xc3\xa4"]}}'
    assert [expected] == answers(specs, arrays, [(1, 2)], by_rows=False)


def test_strings_of_an_output_whose_name_says_bytes_are_base64() -> None:
    """Others are text; numbers of such a name are numbers."""
    assert [b'{"predictions":[[{"b64":"YQ=="},{"b64":"w6Q="}]]}'] == answers((BLOB,), [BLOBS], [(3, 1)], by_rows=True)
    assert [b'{"outputs":[[{"b64":"YQ=="},{"b64":"w6Q="}]]}'] == answers((BLOB,), [BLOBS], [(3, 1)], by_rows=False)
    number = TensorSpec("n_bytes", "INT64", (-1,))
    assert [b'{"predictions":[{"n_bytes":0,"text":"a"}]}'] == answers((number, TEXT), [LABELS, TEXTS], [(0, 1)], by_rows=True)


@pytest.mark.parametrize("by_rows", [True, False])
def test_strict_json_refuses_only_the_answer_that_has_nan(by_rows: bool) -> None:
    """The error names the output; without it the tokens are written."""
    signature = Signature("m", (), (LABEL, P), 8)
    good, bad = PredictEncoder(signature, by_rows=by_rows, strict_json=True).answers([b""] * 2, [0, 2], [2, 2], [LABELS, PS])
    assert not isinstance(good, TidegateError)
    assert isinstance(bad, TidegateError)
    text = "output 'p' of model 'm' is not finite, which JSON cannot say; protocol v2 has it as binary data"
    assert (Code.INTERNAL, text) == (bad.code, bad.message)
    assert b"[NaN,0.5]" in answers((LABEL, P), [LABELS, PS], [(2, 2)], by_rows=by_rows)[0]
    whole = PredictEncoder(Signature("m", (), (P,), 0), by_rows=by_rows, strict_json=True).answers([b""], [0], [1], [PS])
    assert isinstance(whole[0], TidegateError)


def test_a_version_without_batch_dimension_answers_with_whole_outputs() -> None:
    """Scalars, too, in columns; in rows where all outputs have as many."""
    scalar, texts = TensorSpec("s", "FP64", ()), TensorSpec("t", "BYTES", (-1, -1))
    arrays = [np.array(1.5), np.array([["a"], ["b"]], object)]
    assert [b'{"outputs":{"s":1.5,"t":[["a"],["b"]]}}'] == answers((scalar, texts), arrays, [(0, 1)], by_rows=False, max_batch_size=0)
    assert [b'{"outputs":1.5}'] == answers((scalar,), arrays[:1], [(0, 1)], by_rows=False, max_batch_size=0)
    text = TensorSpec("t", "BYTES", ())
    assert [b'{"outputs":"a"}'] == answers((text,), [np.array("a", object)], [(0, 1)], by_rows=False, max_batch_size=0)
    assert [b'{"predictions":[["a"],["b"]]}'] == answers((texts,), arrays[1:], [(0, 1)], by_rows=True, max_batch_size=0)
    for specs, chosen in (((scalar, texts), arrays), ((scalar,), arrays[:1]), ((LABEL, texts), [LABELS, arrays[1]])):
        (refused,) = PredictEncoder(Signature("m", (), specs, 0), by_rows=True).answers([b""], [0], [1], chosen)
        assert isinstance(refused, TidegateError)
        reason = "outputs of model 'm' are not rows that belong together: ask with 'inputs' instead of 'instances'"
        assert (Code.INVALID_ARGUMENT, reason) == (refused.code, refused.message)


@pytest.mark.parametrize("name", ['y"\\', "100%b", "größe", "%"])
def test_names_are_escaped(name: str) -> None:
    """A model may call its outputs anything."""
    specs = (TensorSpec(name, "INT64", (-1,)), TEXT)
    (body,) = answers(specs, [LABELS, TEXTS], [(3, 1)], by_rows=True)
    assert {"predictions": [{name: 3, "text": ""}]} == json.loads(body)
    (body,) = answers(specs, [LABELS, TEXTS], [(3, 1)], by_rows=False)
    assert {"outputs": {name: [3], "text": [""]}} == json.loads(body)


@pytest.mark.parametrize("shape", [(0, 2), (3, 0), (3, 0, 2), (3, 2, 0), (0,)])
def test_empty_outputs(shape: tuple[int, ...]) -> None:
    """Requests without rows, and rows without values."""
    spec, array = TensorSpec("p", "FP32", (-1,) * len(shape)), np.zeros(shape, "f4")
    (rows,), (columns,) = [answers((spec,), [array], [(0, shape[0])], by_rows=by_rows) for by_rows in (True, False)]
    assert (array.tolist(), array.tolist()) == (json.loads(rows)["predictions"], json.loads(columns)["outputs"])


@st.composite
def split_batches(draw: st.DrawFn) -> tuple[dict[str, np.ndarray], dict[str, str], Spans]:
    """The outputs of a batch and who gets which rows of them: any of the requests, in any order."""
    rows = draw(st.lists(st.integers(1, 3), min_size=1, max_size=6))
    arrays, datatypes = {}, {}
    for name in draw(st.lists(st.sampled_from(["a", "b", "c_bytes"]), min_size=1, max_size=3, unique=True)):
        datatype = draw(st.sampled_from(sorted(DATATYPES)))
        shape = (sum(rows), *draw(st.lists(st.integers(1, 3), max_size=3)))
        numbers = np.arange(math.prod(shape)) % 100
        array = np.array([str(i) for i in numbers], object) if datatype == "BYTES" else numbers.astype(DATATYPES[datatype].numpy)
        arrays[name], datatypes[name] = array.reshape(shape), datatype
    members = draw(st.lists(st.sampled_from(range(len(rows))), unique=True, min_size=1))
    return arrays, datatypes, [(sum(rows[:index]), rows[index]) for index in members]


@given(split_batches())
def test_every_caller_gets_its_own_rows(batch: tuple[dict[str, np.ndarray], dict[str, str], Spans]) -> None:
    """Whoever else is in the batch; what is encoded is what a reader of the request's form decodes, in rows and in columns."""
    arrays, datatypes, spans = batch
    specs = tuple(TensorSpec(name, datatypes[name], (-1,) * array.ndim) for name, array in arrays.items())
    signature = Signature("m", specs, specs, 64)
    for by_rows, key, asked in ((True, "predictions", "instances"), (False, "outputs", "inputs")):
        bodies = answers(specs, list(arrays.values()), spans, by_rows=by_rows, max_batch_size=64)
        for (start, rows), body in zip(spans, bodies, strict=True):
            sent = body.replace(b'"%b"' % key.encode(), b'"%b"' % asked.encode(), 1)
            assert by_rows == read(sent, signature)[1]
            expected = {name: array[start : start + rows].tolist() for name, array in arrays.items()}
            assert expected == values(sent, signature)
