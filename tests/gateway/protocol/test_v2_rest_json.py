"""REST bodies whose JSON is wrong, by their number in the catalogue of bad inputs: C (51 to 63), and 43 and 44."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.errors import Code, TidegateError
from gateway.limits import RequestLimits
from gateway.protocol.binding import bind
from gateway.protocol.tensors import BoundRequest, Signature, TensorSpec
from gateway.protocol.v2_rest import decode

LIMITS = RequestLimits()
SIGNATURE = Signature("m", (TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1,)),), 8)
GOOD = '{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}'


def infer(body: bytes | str, header_length: bytes | None = None, signature: Signature = SIGNATURE) -> BoundRequest:
    sent = body.encode() if isinstance(body, str) else body
    got, _ = decode(sent, header_length=header_length, model="m", version="1", signature=signature, limits=LIMITS)
    return bind(signature, got, LIMITS)


def inputs(text: str) -> str:
    return '{"inputs":[' + text + "]}"


def x(**fields: Any) -> str:
    return json.dumps({"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]} | fields)


SENT = inputs(GOOD).encode()
REST = inputs(GOOD)[1:]  # behind the opening brace


def refusal(body: bytes | str, header_length: bytes | None = None, signature: Signature = SIGNATURE) -> tuple[Code, str]:
    with pytest.raises(TidegateError) as refused:
        infer(body, header_length, signature)
    text = refused.value.message
    assert text.isprintable()
    assert len(text.encode()) <= 512
    assert "msgspec" not in text
    return refused.value.code, text


def invalid(body: bytes | str, header_length: bytes | None = None, signature: Signature = SIGNATURE) -> str:
    code, text = refusal(body, header_length, signature)
    assert Code.INVALID_ARGUMENT == code
    return text


@pytest.mark.parametrize("body", ["", " ", "null", "[]", '"x"', "1", "true", "[{}]"])
def test_case_51_bodies_that_are_no_object(body: str) -> None:
    """Also none at all."""
    invalid(body)


@pytest.mark.parametrize(
    "body",
    [SENT[:-1], SENT[:20], SENT + b"x", SENT + b"{}", b"\xef\xbb\xbf" + SENT, SENT.decode().encode("utf-16"),
     SENT.decode().encode("utf-32-le"), b"/* */" + SENT, SENT + b"\0", b"\0" + SENT, SENT.replace(b'"x"', b"'x'"),
     SENT.replace(b"[1,2]}", b"[1,2],}"),
     SENT.replace(b"data", b"d\nata"), SENT.replace(b'"x"', b'"\xff"'), SENT.replace(b'{"name"', b'{"later":"\xff","name"'),
     SENT.replace(b'{"name"', b'{"\xff":1,"name"'), SENT.replace(b'{"name"', b'{"later":"\\ud800","name"'),
     SENT.replace(b'{"name"', b'{"later":"\xed\xa0\x80","name"'), SENT.replace(b"1,2]}", b"01,2]}")],
)  # fmt: skip
def test_case_52_texts_that_are_not_strict_json(body: bytes) -> None:
    """Truncated, more behind, BOM, other encodings, comments, bad strings; also in fields that are ignored."""
    invalid(body)


@pytest.mark.parametrize("depth", [17, 120, 2_000, 250_000])
def test_case_53_nesting(depth: int) -> None:
    """In data, in fields that are ignored, in parameters; closed or not."""
    nest = "[" * depth + "]" * depth
    for body in (inputs(GOOD.replace("[1,2]}", nest + "}")), '{"later":' + nest + "," + REST, "[" * depth,
                 inputs(x()).replace('"data"', '"parameters":{"a":' + nest + '},"data"'), '{"a":' * depth + "1" + "}" * depth):  # fmt: skip
        invalid(body)


def test_case_53_sixteen_levels_are_allowed() -> None:
    """The envelope has three."""
    assert 1 == infer('{"later":' + "[" * 15 + "]" * 15 + "," + REST).rows


@pytest.mark.parametrize(
    "body",
    ['{"inputs":[],' + REST, '{"id":"a","id":"a",' + REST, '{"later":{"a":1,"a":1},' + REST, '{"a":1,"a":2,' + REST,
     '{"id":"\\"","id":"\\"",' + REST, '{"parameters":{"priority":1,"priority":1},' + REST, '{"outputs":[{"name":"y","name":"y"}],' + REST,
     '{"outputs":[{"name":"y","parameters":{"binary_data":true,"binary_data":true}}],' + REST,
     inputs(GOOD.replace('"shape"', '"shape":[1,2],"shape"')), inputs(GOOD.replace('"data"', '"data":[1,2],"data"')),
     inputs(GOOD.replace('"data"', '"n\\u0061me":"x","data"')),
     inputs(GOOD.replace("[1,2]}", "[NaN,2]}").replace('"shape"', '"shape":[1,2],"shape"'))],
)  # fmt: skip
def test_case_54_equal_keys(body: str) -> None:
    """On every level, spelled alike or not, known or not, even with equal values: a log might keep the other one."""
    assert "the JSON of the request has the same key twice in one object" == invalid(body)


@pytest.mark.parametrize(
    "place", ['"name":NaN', '"name":"x","later":NaN', '"name":"x","parameters":{"a":Infinity}', '"name":"x","parameters":{"a":-Infinity}']
)
def test_case_55_nan_outside_of_data(place: str) -> None:
    """It is no JSON, and only floating-point data may have it; the same where the data has some."""
    invalid(inputs(GOOD.replace('"name":"x"', place)))
    assert invalid(inputs(GOOD.replace('"name":"x"', place).replace("[1,2]}", "[NaN,2]}")))
    assert "NaN" in invalid(
        inputs(f"{GOOD.replace('[1,2]}', '[NaN,2]}')},{x(name='k', datatype='INT64', shape=[1]).replace('[1, 2]', '[NaN]')}")
    )


@pytest.mark.parametrize("number", ["1e999", "1E400", "1e39", "-1e39", "9" * 5_000])
def test_case_56_numbers_out_of_range(number: str) -> None:
    """Never read as infinity."""
    assert "data of input 'x' for model 'm' has a number out of range for FP32" == invalid(
        inputs(GOOD.replace("[1,2]}", f"[{number},2]}}"))
    )


@pytest.mark.parametrize("element", ['"7"', "true", "null", "[1]", "{}"])
def test_case_58_59_elements_of_another_type(element: str) -> None:
    """Strings, booleans, null, lists, objects are no numbers."""
    invalid(inputs(GOOD.replace("[1,2]}", f"[{element},2]}}")))


def test_case_60_a_bomb_of_zeros() -> None:
    """TOO_LARGE by elements times width, or by the size of the text."""
    limits = RequestLimits(max_tensor_bytes=1_000)
    with pytest.raises(TidegateError) as refused:
        decode(inputs(x(datatype="FP64", shape=[1000], data=[0] * 1000)).encode(), header_length=None, model="m", version="", limits=limits)
    assert Code.TOO_LARGE == refused.value.code
    assert Code.TOO_LARGE == refusal(inputs(x()).encode() + b" " * LIMITS.max_json_bytes)[0]


@pytest.mark.parametrize("element", ["{}", '{"name":"x"}', GOOD, '"x"', "null", "[]"])
def test_case_61_very_many_inputs(element: str) -> None:
    """Objects that lack fields, and objects that do not."""
    invalid(inputs(",".join([element] * (1_000_000 // len(element)))))


@pytest.mark.parametrize("data", ['"YWJj"', '["a"]', '["a","b","c"]', "[1,2]", '[["a"],["b"]]'])
def test_case_62_strings_that_do_not_fit(data: str) -> None:
    """Base64 text, wrong counts, other types."""
    signature = Signature("m", (TensorSpec("x", "BYTES", (-1, 2)),), (), 8)
    invalid(inputs(GOOD.replace("FP32", "BYTES").replace("[1,2]}", data + "}")), signature=signature)


@pytest.mark.parametrize("field", ['"model_name":"other"', '"model_version":"2"', '"model_name":1'])
def test_case_63_a_body_for_another_model(field: str) -> None:
    """What the body says must be what the path says."""
    invalid("{" + field + "," + REST)


def test_case_63_a_version_that_only_the_body_names() -> None:
    """The path chooses; a body that wants another version than the path's default is not answered by that default."""
    with pytest.raises(TidegateError, match="names no version in its path, its body names version '7'"):
        decode(('{"model_version":"7",' + REST).encode(), header_length=None, model="m", version="", signature=SIGNATURE, limits=LIMITS)


def test_case_44_the_id_has_a_limit() -> None:
    """In bytes; control characters are escaped wherever it is shown."""
    assert 1 == infer('{"id":"\\r\\n\\u0000' + "a" * 253 + '",' + REST).rows
    assert "the id of the request is longer than 256 bytes" == invalid('{"id":"' + "é" * 129 + '",' + REST)
    invalid('{"id":1,' + REST)


def test_case_43_parameters_of_the_wrong_form() -> None:
    """No objects, lists or null among them; a limit on their number and on their text."""
    for value in ("null", "[]", "{}"):
        invalid('{"parameters":{"a":' + value + "}," + REST)
    for where in (
        '{"parameters":%s,' + REST,
        inputs(GOOD.replace('"data"', '"parameters":%s,"data"')),
        '{"outputs":[{"name":"y","parameters":%s}],' + REST,
    ):
        assert Code.TOO_LARGE == refusal(where % json.dumps({f"k{i}": i for i in range(33)}))[0]
        assert Code.TOO_LARGE == refusal(where % json.dumps({"a": "x" * 70_000}))[0]
        invalid(where % "1")


@pytest.mark.parametrize(
    ("where", "name"),
    [('{"parameters":{"%s":1},' + REST, "sequence_id"),
     (inputs(GOOD.replace('"data"', '"parameters":{"%s":1},"data"')), "shared_memory_region"),
     ('{"outputs":[{"name":"y","parameters":{"%s":1}}],' + REST, "classification"),
     ('{"outputs":[{"name":"y","parameters":{"%s":1,"binary_data":true}}],' + REST, "shared_memory_offset")],
)  # fmt: skip
def test_unsupported_features_are_refused_by_name(where: str, name: str) -> None:
    """Of the request, of an input, of an output."""
    code, text = refusal(where % name)
    assert (Code.UNIMPLEMENTED, True) == (code, f"parameter '{name}' of " in text)


def test_too_much_beside_the_data() -> None:
    """Unknown fields are read by a slower parser, so they have a limit of their own."""
    assert Code.TOO_LARGE == refusal('{"later":"' + "a" * LIMITS.max_envelope_bytes + '",' + REST)[0]
