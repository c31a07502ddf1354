"""Results of batches as REST answers."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Code, TidegateError
from gateway.protocol.binary import ALL_BINARY, ALL_JSON, ResponsePlan, response_plan
from gateway.protocol.rest_answer import RestEncoder, id_part
from gateway.protocol.tensors import DATATYPES, Signature, TensorSpec
from gateway.protocol.texts import pack_texts

OUTPUTS = (TensorSpec("label", "INT64", (-1,)), TensorSpec("p", "FP32", (-1, 2)), TensorSpec("text", "BYTES", (-1,)))
SIGNATURE = Signature("m", (), OUTPUTS, 8)
LABEL = np.array([0, 1, 2, 3])
P = np.array([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [math.nan, 0.5]], "f4")
TEXT = np.array(["a", 'b"', "ä", ""], object)
ARRAYS = [LABEL, P, TEXT]
JSON_TYPE = [(b"content-type", b"application/json")]


def encoder(outputs: tuple[int, ...] | None = None, plan: ResponsePlan = ALL_JSON, **settings: Any) -> RestEncoder:
    return RestEncoder(SIGNATURE, "3", outputs, plan, **settings)


def test_a_json_answer_is_the_protocols() -> None:
    """Byte for byte, the id where there is one."""
    (answer,) = encoder((1, 0)).answers([id_part('i"1')], [1], [2], ARRAYS)
    expected = (
        b'{"model_name":"m","model_version":"3","id":"i\\"1","outputs":[{"name":"p","datatype":"FP32","shape":[2,2],"data":[0.2,0.8,0.3,0.7]},'
        b'{"name":"label","datatype":"INT64","shape":[2],"data":[1,2]}]}'
    )
    assert (JSON_TYPE, expected) == answer


def test_an_answer_without_id_has_none() -> None:
    """An empty id is no id."""
    ((_, body),) = encoder((0,)).answers([id_part("")], [0], [1], ARRAYS)
    assert {
        "model_name": "m",
        "model_version": "3",
        "outputs": [{"name": "label", "datatype": "INT64", "shape": [1], "data": [0]}],
    } == json.loads(body)


def test_a_binary_answer_has_its_data_behind_the_json() -> None:
    """In the order of the outputs, the sizes within, the length of the JSON in a header."""
    ((headers, body),) = encoder(plan=ALL_BINARY).answers([b""], [1], [2], ARRAYS)
    length = int(dict(headers)[b"inference-header-content-length"])
    outputs = json.loads(body[:length])["outputs"]
    assert [{"binary_data_size": size} for size in (16, 16, 6 + 6)] == [output["parameters"] for output in outputs]
    assert LABEL[1:3].tobytes() + P[1:3].tobytes() + pack_texts(['b"', "ä"]) == body[length:]
    assert b"application/octet-stream" == dict(headers)[b"content-type"]
    assert all("data" not in output for output in outputs)


def test_an_answer_may_be_mixed() -> None:
    """Each output as the plan says."""
    plan = response_plan(default=False, named=(("p", True),))
    ((headers, body),) = encoder(plan=plan).answers([b""], [0], [1], ARRAYS)
    length = int(dict(headers)[b"inference-header-content-length"])
    label, p, text = json.loads(body[:length])["outputs"]
    assert ([0], {"binary_data_size": 8}, ["a"]) == (label["data"], p["parameters"], text["data"])
    assert P[:1].tobytes() == body[length:]


def test_nan_is_written_by_name() -> None:
    """As Triton and TensorFlow Serving do."""
    ((_, body),) = encoder((1,)).answers([b""], [3], [1], ARRAYS)
    assert b'"data":[NaN,0.5]}]}' == body[-19:]


def test_case_57_strict_json_refuses_only_the_answer_that_has_nan() -> None:
    """The error names the output; neighbours and binary answers are unharmed, and so are strings that look like it."""
    strict = encoder(strict_json=True)
    good, bad = strict.answers([b"", b""], [0, 2], [2, 2], [*ARRAYS[:2], np.array(["NaN", "I", "N", "Infinity"], object)])
    assert not isinstance(good, TidegateError)
    assert isinstance(bad, TidegateError)
    text = "output 'p' of model 'm' is not finite, which JSON cannot say; ask for it as binary data"
    assert (Code.INTERNAL, text) == (bad.code, bad.message)
    assert not isinstance(encoder(plan=ALL_BINARY, strict_json=True).answers([b""], [3], [1], ARRAYS)[0], TidegateError)


def test_a_version_without_batch_dimension_answers_with_whole_outputs() -> None:
    """Scalars, too, in JSON and binary."""
    signature = Signature("u", (), (TensorSpec("s", "FP64", ()), TensorSpec("v", "INT8", (-1,)), TensorSpec("t", "BYTES", (-1,))), 0)
    arrays = [np.array(1.5), np.array([1, 2, 3], "i1"), np.array(["a", "b"], object)]
    ((_, body),) = RestEncoder(signature, "1", None, ALL_JSON).answers([b""], [0], [1], arrays)
    assert [([], [1.5]), ([3], [1, 2, 3]), ([2], ["a", "b"])] == [
        (output["shape"], output["data"]) for output in json.loads(body)["outputs"]
    ]
    ((headers, body),) = RestEncoder(signature, "1", None, ALL_BINARY).answers([b""], [0], [1], arrays)
    assert arrays[0].tobytes() + b"\1\2\3" + pack_texts(["a", "b"]) == body[int(dict(headers)[b"inference-header-content-length"]) :]


def test_names_are_escaped() -> None:
    """A model may call its output anything."""
    signature = Signature('m"\n', (), (TensorSpec('y"\\', "INT64", (-1,)),), 8)
    ((_, body),) = RestEncoder(signature, "1", None, ALL_JSON).answers([b""], [0], [4], [LABEL])
    answer = json.loads(body)
    assert ('m"\n', 'y"\\') == (answer["model_name"], answer["outputs"][0]["name"])


@pytest.mark.parametrize("free", range(6))
def test_free_dimensions_have_heads_of_their_own(free: int) -> None:
    """The shape in the answer is that of the data."""
    signature = Signature("m", (), (TensorSpec("y", "FP32", (-1, -1)),), 8)
    shared = RestEncoder(signature, "1", None, ALL_JSON)
    for width in (1, free):
        ((_, body),) = shared.answers([b""], [1], [2], [np.ones((3, width), "f4")])
        assert ([2, width], [1.0] * 2 * width) == (json.loads(body)["outputs"][0]["shape"], json.loads(body)["outputs"][0]["data"])


@st.composite
def split_batches(draw: st.DrawFn) -> tuple[str, np.ndarray, list[int], list[int]]:
    """An output of a batch and who gets which rows of it: any of the requests, in any order."""
    datatype = draw(st.sampled_from(sorted(DATATYPES)))
    rows = draw(st.lists(st.integers(1, 3), min_size=1, max_size=6))
    shape = (sum(rows), *draw(st.lists(st.integers(0, 3), max_size=2)))
    if datatype == "BYTES":
        array = np.array([str(i) for i in range(math.prod(shape))], object).reshape(shape)
    else:
        array = np.arange(math.prod(shape)).reshape(shape).astype(DATATYPES[datatype].numpy)
    starts = np.concatenate([[0], np.cumsum(rows)[:-1]]).tolist()
    members = draw(st.lists(st.sampled_from(range(len(rows))), unique=True, min_size=1))
    return datatype, array, [starts[index] for index in members], [rows[index] for index in members]


@given(split_batches())
def test_every_caller_gets_its_own_rows(batch: tuple[str, np.ndarray, list[int], list[int]]) -> None:
    """Whoever else is in the batch, in JSON and binary alike, with its own id."""
    datatype, array, starts, rows = batch
    signature = Signature("m", (), (TensorSpec("y", datatype, (-1, *[-1] * (array.ndim - 1))),), 64)
    ids = [id_part(str(start)) for start in starts]
    as_json = RestEncoder(signature, "1", None, ALL_JSON).answers(ids, starts, rows, [array])
    as_binary = RestEncoder(signature, "1", None, ALL_BINARY).answers(ids, starts, rows, [array])
    for start, count, (_, text), (headers, body) in zip(starts, rows, as_json, as_binary, strict=True):
        mine = array[start : start + count]
        plain = (mine.astype("<u4") << 16).view("<f4") if datatype == "BF16" else mine
        answer = json.loads(text)
        output = answer["outputs"][0]
        assert (str(start), list(mine.shape)) == (answer["id"], output["shape"])
        assert plain.reshape(-1).tolist() == np.array(output["data"], plain.dtype).tolist()
        raw = pack_texts(mine.reshape(-1).tolist()) if datatype == "BYTES" else mine.tobytes()
        assert raw == body[int(dict(headers)[b"inference-header-content-length"]) :]
