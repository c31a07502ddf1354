"""The JSON text of an inference request, strictly, to the structs below; tensor data stays text. Knows no datatype's layout.

One typed parse does nearly all. It keeps the last of two equal keys and lets unknown fields pass unseen, so the quotes it
accounts for are counted against those of the text: only where some are left over is everything outside tensor data read a
second time, by a parser that sees every key. NaN and Infinity, which are no JSON, are numbers in the first parse and
themselves in floating-point data afterwards.

Bounds: `max_json_bytes`, `max_envelope_bytes`, `max_json_depth`, `max_inputs`, `max_outputs`, and the two below.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, Raw, Struct, UnsetType

from gateway.errors import TidegateError, invalid, too_large
from gateway.limits import RequestLimits
from gateway.protocol.binding import check_input_count, check_output_count
from gateway.protocol.json_data import FLOATING, count_tokens
from gateway.protocol.json_strings import tokens_as_numbers, without_strings
from gateway.protocol.tensors import shown

_MAX_SHAPE_BYTES = 1_024  # of the text of a shape: far more than `max_rank` numbers and the blanks around them
_MAX_PARAMETERS_BYTES = 65_536  # of the text of one parameters object
_CACHED_BYTES = 128  # texts of shapes and parameters up to here are the same in most requests
_AS_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(c for c in range(256) if c not in b"{}[]")
_NOTHING = Raw(b"")

Parameters = Mapping[str, bool | int | float | str]


class JsonInput(Struct, gc=False):
    """One element of `inputs`. What is `Raw` is still text, empty where there was none."""

    name: str
    shape: Raw
    datatype: str
    data: Raw = _NOTHING
    parameters: Raw = _NOTHING


class JsonOutput(Struct, gc=False):
    """One element of `outputs`."""

    name: str
    parameters: Raw = _NOTHING


class JsonBody(Struct, gc=False):
    """The request. Where a client may write null for nothing, null is nothing."""

    inputs: list[JsonInput] = []
    id: str | UnsetType | None = UNSET
    outputs: list[JsonOutput] | UnsetType | None = UNSET
    parameters: Raw = _NOTHING
    model_name: str | UnsetType | None = UNSET
    model_version: str | UnsetType | None = UNSET


_decode = msgspec.json.Decoder(JsonBody).decode
_decode_shape = msgspec.json.Decoder(list[int]).decode
_decode_parameters = msgspec.json.Decoder(dict[str, bool | int | float | str]).decode


def parse(text: bytes, limits: RequestLimits) -> tuple[JsonBody, bool]:
    """The request, and whether it has NaN or Infinity somewhere in its floating-point data.

    Raises INVALID_ARGUMENT for what is not strict JSON of this form in UTF-8, or has one key twice; TOO_LARGE.
    """
    if len(text) > limits.max_json_bytes:
        raise json_too_large(limits)
    try:
        body = _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if type(error) is not msgspec.DecodeError or not count_tokens(text):
            raise not_a_request(error) from None
        return _parse_around_tokens(text, limits), True
    _check_keys(text, body, limits)
    return body, False


def json_too_large(limits: RequestLimits) -> TidegateError:
    """For decoders: before anything is looked at."""
    return too_large(f"the JSON of the request is larger than {limits.max_json_bytes} bytes")


def not_a_request(error: Exception) -> TidegateError:
    """The parser's own words, which name fields and positions and never values."""
    if isinstance(error, RecursionError):
        return _too_deep()
    if isinstance(error, UnicodeDecodeError):
        return invalid("the request is not valid UTF-8")
    if isinstance(error, msgspec.ValidationError):
        return invalid(f"the request does not have the form of an inference request: {error}")
    return invalid(f"the request is not valid JSON: {error}")


def _too_deep() -> TidegateError:
    return invalid("the JSON of the request is nested too deeply")


def shape_of(raw: Raw, *, tensor: str) -> tuple[int, ...]:
    """The integers of a `shape`. 3.0, "3" and true are none; how many and how large is judged by `check_shape`."""
    text = bytes(raw) if len(raw) <= _MAX_SHAPE_BYTES else b""
    try:
        return _known_shape(text) if len(text) <= _CACHED_BYTES else tuple(_decode_shape(text))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise invalid(f"shape of input '{shown(tensor)}' must be a list of integers") from None


@functools.lru_cache(maxsize=1024)
def _known_shape(text: bytes) -> tuple[int, ...]:
    return tuple(_decode_shape(text))


def parameters_of(raw: Raw) -> Parameters:
    """A `parameters` object: strings, numbers and booleans by name. Shared between requests: not to be changed."""
    if not len(raw):
        return {}
    if len(raw) > _MAX_PARAMETERS_BYTES:
        raise too_large(f"the parameters of the request are larger than {_MAX_PARAMETERS_BYTES} bytes")
    text = bytes(raw)
    try:
        return _known_parameters(text) if len(text) <= _CACHED_BYTES else _decode_parameters(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise not_a_request(error) from None


@functools.lru_cache(maxsize=1024)
def _known_parameters(text: bytes) -> Parameters:
    return {} if text == b"null" else _decode_parameters(text)


def _quotes(body: JsonBody) -> int:
    """How many quotes the text has if it holds each key once, no key that we do not know, and no escaped quote."""
    quotes = 2 if body.inputs else 0
    for tensor in body.inputs:
        quotes += 12 if tensor.data else 10
        if tensor.parameters:
            quotes += 2 + _parameter_quotes(tensor.parameters)
        if tensor.datatype == "BYTES":
            quotes += bytes(tensor.data).count(b'"')
    for text in (body.id, body.model_name, body.model_version):
        if text is not UNSET:
            quotes += 2 if text is None else 4
    if body.outputs is not UNSET:
        quotes += 2
        for output in body.outputs or ():
            quotes += 6 + _parameter_quotes(output.parameters) if output.parameters else 4
    return quotes + 2 + _parameter_quotes(body.parameters) if body.parameters else quotes


def _parameter_quotes(raw: Raw) -> int:
    parameters = parameters_of(raw)
    return 2 * len(parameters) + 2 * [type(value) for value in parameters.values()].count(str)


def _parse_around_tokens(text: bytes, limits: RequestLimits) -> JsonBody:
    """The request with numbers of the same length in place of the tokens, and the data with the tokens back in.

    Only floating-point data may have had them: every other place would now hold an invented number.
    """
    tokens = count_tokens(without_strings(text)[0])
    if tokens == count_tokens(text):
        plain = text.replace(b"NaN", b"1.0").replace(b"Infinity", b"1.000000")
    else:
        plain = tokens_as_numbers(text)
    try:
        body = _decode(plain)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise not_a_request(error) from None
    _check_keys(plain, body, limits)
    for tensor, (start, end) in zip(body.inputs, data_spans(plain, body), strict=True):
        if tensor.datatype in FLOATING:
            tensor.data = Raw(text[start:end])
            tokens -= count_tokens(text[start:end])
    if tokens:
        raise invalid("the request has NaN or Infinity outside floating-point data")
    return body


def data_spans(text: bytes, body: JsonBody) -> list[tuple[int, int]]:
    """Where in `text` the data of each input begins and ends; (0, 0) for an input without data."""
    origin = _address(text)
    spans = []
    for tensor in body.inputs:
        start = _address(tensor.data) - origin if tensor.data else 0
        spans.append((start, start + len(tensor.data)))
    return spans


def span_of(text: bytes, part: Raw) -> tuple[int, int]:
    """Where in `text` a part begins and ends that was read from it."""
    start = _address(part) - _address(text)
    return start, start + len(part)


def _address(buffer: bytes | Raw) -> int:
    return int(np.frombuffer(buffer, np.uint8).__array_interface__["data"][0])


def _check_keys(text: bytes, body: JsonBody, limits: RequestLimits) -> None:
    """Refuse too many inputs or outputs, and equal keys: by counting quotes, or else by reading what is not tensor data."""
    check_input_count(len(body.inputs), limits)
    if body.outputs:
        check_output_count(len(body.outputs), limits)
    if text.count(b'"') != _quotes(body):
        read_envelope(text, data_spans(text, body), limits)


def read_envelope(text: bytes, spans: Sequence[tuple[int, int]], limits: RequestLimits) -> None:
    """Read all that is not tensor data, which lies in `spans`, by a parser that sees every key.

    Raises INVALID_ARGUMENT for equal keys and more than `max_json_depth`, TOO_LARGE past `max_envelope_bytes`.
    """
    pieces, at = [], 0
    for start, end in sorted(spans):
        if end:
            pieces.append(text[at:start])
            at = end
    pieces.append(text[at:])
    if sum(map(len, pieces)) > limits.max_envelope_bytes:
        raise too_large(f"the JSON of the request has more than {limits.max_envelope_bytes} bytes outside tensor data")
    envelope = b"0".join(pieces)
    if _deeper_than(limits.max_json_depth, envelope):
        raise _too_deep()
    try:
        json.loads(envelope.decode(), object_pairs_hook=_refuse_equal_keys, parse_int=len, parse_float=len)
    except UnicodeDecodeError as error:
        raise not_a_request(error) from None
    except ValueError:
        raise invalid("the request is not valid JSON") from None


def _refuse_equal_keys(pairs: list[tuple[str, Any]]) -> int:
    if len({key for key, _ in pairs}) != len(pairs):
        raise invalid("the JSON of the request has the same key twice in one object")
    return 0


def _deeper_than(depth: int, text: bytes) -> bool:
    """Whether valid JSON is nested deeper: take the innermost brackets away so many times and see whether some are left."""
    brackets = without_strings(text)[0].translate(_AS_BRACKETS, _NO_BRACKETS)
    for _ in range(depth):
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)
