"""One input as TensorFlow Serving's REST API writes it: nested lists without a shape, strings as text or as `{"b64": "…"}`.

The datatype is the model's; the shape is that of the lists. Source: github.com/tensorflow/serving, g3doc/api_rest.md.
"""

from __future__ import annotations

import binascii
import functools
import re
from collections.abc import Callable
from itertools import chain
from typing import Any

import msgspec

from gateway.errors import TidegateError, invalid
from gateway.limits import RequestLimits
from gateway.protocol.json_data import check_lengths, from_json, from_short_json, place
from gateway.protocol.json_nested import RaggedError, path_behind, rank_of, shape_of, structure_of
from gateway.protocol.json_strings import without_strings
from gateway.protocol.payload import check_shape, check_texts
from gateway.protocol.tensors import InputTensor, TensorSpec, shown

_NO_NUMBER = re.compile(rb'["{]')  # where a string or an object begins
_MARK = b'"'  # in place of a string: nothing else outside of strings has it
_OBJECT = b'{":"}'  # with one member, a string, and no blanks
_BLANKS, _TEXTS = b" \t\r\n", b'[], \t\r\n"'
_NO_TEXT = re.compile(rb'[^\[\], \t\r\n"]')  # what is neither a list nor a string
_PATH = re.compile(r"\$((?:\[\d+\])*)")


class Base64(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A string as its bytes."""

    b64: str


def tensor_of(spec: TensorSpec, text: bytes, *, nonfinite: bool, model: str, limits: RequestLimits) -> InputTensor:
    """The input that a JSON value stands for.

    `text` is valid JSON, but for the tokens NaN, Infinity and -Infinity that it may hold where `nonfinite` is set. Raises
    INVALID_ARGUMENT for lists that are ragged or hold something else than the datatype says, TOO_LARGE past `limits`.
    """
    short = None if nonfinite else from_short_json(spec.name, spec.datatype, text, model=model, limits=limits)
    if short is not None:
        return short
    if spec.datatype == "BYTES":
        return _strings(spec, text, model=model, limits=limits)
    if b'"' in text or b"{" in text:
        raise _mistyped(spec, text, _NO_NUMBER, model=model)
    shape = _shape(spec, text, model=model, limits=limits)
    count = check_shape(shape, tensor=spec.name, model=model, limits=limits)
    return from_json(spec.name, spec.datatype, shape, text, count=count, nonfinite=nonfinite, model=model, limits=limits)


def _shape(spec: TensorSpec, text: bytes, *, model: str, limits: RequestLimits) -> tuple[int, ...]:
    """The rank is held against its limit first: nothing else bounds how often the text is looked at."""
    structure = structure_of(text)
    rank = rank_of(structure)
    if rank > limits.max_rank:
        check_shape((1,) * rank, tensor=spec.name, model=model, limits=limits)
    try:
        return shape_of(text, structure)
    except RaggedError as ragged:
        raise invalid(f"input '{shown(spec.name)}' for model '{shown(model)}' is ragged at {ragged.path}") from None


def _strings(spec: TensorSpec, text: bytes, *, model: str, limits: RequestLimits) -> InputTensor:
    marked = without_strings(text, mark=_MARK)[0]
    encoded = b"{" in marked
    plain = marked.translate(None, _BLANKS).replace(_OBJECT, _MARK) if encoded else marked
    if plain.translate(None, _TEXTS):
        raise _mistyped(spec, plain, _NO_TEXT, model=model)
    shape = _shape(spec, plain, model=model, limits=limits)
    count = check_shape(shape, tensor=spec.name, model=model, limits=limits)
    if not encoded:
        return from_json(spec.name, "BYTES", shape, text, count=count, nonfinite=False, model=model, limits=limits)
    check_texts(count, tensor=spec.name, limits=limits)
    texts = _decoded(spec, text, shape, model=model)
    check_lengths(texts, text, tensor=spec.name, limits=limits)
    return InputTensor(spec.name, "BYTES", shape, texts=texts)


def _decoded(spec: TensorSpec, text: bytes, shape: tuple[int, ...], *, model: str) -> list[str]:
    """Strings of which some are objects, in row-major order."""
    try:
        values = _decoder(len(shape))(text)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        path = _PATH.search(str(error))
        where = f" at {path[1]}" if path and path[1] else ""
        raise _refusal(spec, 'an object that is not {"b64": "…"}', where, model=model) from None
    for _ in range(len(shape) - 1):
        values = list(chain.from_iterable(values))
    return [_text(spec, value, index, shape, model=model) for index, value in enumerate(values if shape else [values])]


def _text(spec: TensorSpec, value: str | Base64, index: int, shape: tuple[int, ...], *, model: str) -> str:
    """Strict base64 of strict UTF-8: ONNX Runtime has no other strings."""
    if isinstance(value, str):
        return value
    try:
        return str(binascii.a2b_base64(value.b64, strict_mode=True), "utf-8")
    except UnicodeDecodeError:
        raise _refusal(spec, "a string element that is not UTF-8", place(index, shape), model=model) from None
    except ValueError:
        raise _refusal(spec, "an invalid base64 text", place(index, shape), model=model) from None


@functools.lru_cache(maxsize=16)
def _decoder(depth: int) -> Callable[[bytes], Any]:
    kind: Any = str | Base64
    for _ in range(depth):
        kind = list[kind]
    return msgspec.json.Decoder(kind).decode


def _refusal(spec: TensorSpec, what: str, where: str, *, model: str) -> TidegateError:
    return invalid(f"input '{shown(spec.name)}' for model '{shown(model)}' has {what}{where}")


def _mistyped(spec: TensorSpec, text: bytes, pattern: re.Pattern[bytes], *, model: str) -> TidegateError:
    """The first element of `pattern`, which no value of the datatype can be. Before it, `text` has no strings."""
    foreign = pattern.search(text)
    assert foreign is not None
    kinds = {b'"': "a string", b"{": "an object", b"t": "true", b"f": "false", b"n": "null"}
    path = path_behind(structure_of(text[: foreign.start()]))
    where = f" at {path}" if path else ""
    found = kinds.get(foreign[0], "a number")
    return invalid(f"input '{shown(spec.name)}' for model '{shown(model)}' has {found}{where} where {spec.datatype} is expected")
