"""The body of `:predict`, as TensorFlow Serving and KServe's protocol v1 have it, to a request: rows or columns, with or without names.

Knows no sockets, paths or status codes. Rows are `{"instances": [...]}`, where each is a value, or an object by input name; columns are
`{"inputs": ...}`, a value or an object by input name. Source: github.com/tensorflow/serving, g3doc/api_rest.md, util/json_tensor.cc.

Members that it does not know are none of its business, as at its peers; everything else is read as strictly as in protocol v2.
Bounds: `max_json_bytes`, `max_json_depth` and those of tensors.
"""

from __future__ import annotations

import re

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from gateway.errors import invalid
from gateway.limits import RequestLimits
from gateway.protocol import json_body
from gateway.protocol.binding import check_input_count
from gateway.protocol.json_data import FLOATING, count_tokens
from gateway.protocol.json_rows import columns
from gateway.protocol.json_strings import tokens_as_numbers
from gateway.protocol.tensors import InferRequest, InputTensor, Signature, TensorSpec, shown
from gateway.protocol.v1_values import tensor_of

SIGNATURE_NAME = "serving_default"  # the only one that a model has here
_NOTHING = Raw(b"")
_OBJECT_ROW = re.compile(rb"\[[ \t\r\n]*+\{")
_BASE64 = re.compile(rb'\[?[ \t\r\n]*+\{[ \t\r\n]*+"b64"')
_EMPTY = re.compile(rb"\[[ \t\r\n]*+\]")


class _Body(Struct, gc=False):
    """What is `Raw` is still text, empty where there was none."""

    signature_name: str | UnsetType = UNSET
    instances: Raw = _NOTHING
    inputs: Raw = _NOTHING


class _Tokens:
    """Numbers that stand where a body has NaN and Infinity. The body itself has none like them."""

    def __init__(self, text: bytes) -> None:
        """Raises INVALID_ARGUMENT where the text leaves none; its writer meant it to."""
        for digit in b"123456789":
            self.nan, self.infinity = b"%ce0" % digit, b"%c.0000e0" % digit
            if self.nan not in text and self.infinity not in text:
                break
        else:
            raise invalid("the request has NaN or Infinity beside every number that could stand for them")
        self.plain = tokens_as_numbers(text, self.nan, self.infinity)
        self.left = self.count(self.plain)

    def count(self, text: bytes) -> int:
        """How many are in a text."""
        return text.count(self.nan) + text.count(self.infinity)

    def restored(self, text: bytes) -> bytes:
        """A part of `plain` as it was; its tokens are no longer among those that are `left`."""
        self.left -= self.count(text)
        return text.replace(self.infinity, b"Infinity").replace(self.nan, b"NaN")


_decode = msgspec.json.Decoder(_Body).decode


def decode(body: bytes, *, model: str, version: str, signature: Signature, limits: RequestLimits) -> tuple[InferRequest, bool]:
    """The request in a `:predict` body for `model` and `version` ("" for none) of its path, and whether it came in rows.

    Raises INVALID_ARGUMENT, TOO_LARGE. Datatypes are those of `signature`; the shapes are not yet held against it (`bind`).
    """
    if len(body) > limits.max_json_bytes:
        raise json_body.json_too_large(limits)
    wire, tokens = _parse(body)
    _check_keys(body if tokens is None else tokens.plain, wire, limits)
    name = wire.signature_name
    if name is not UNSET and name not in ("", SIGNATURE_NAME):
        raise invalid(f'Serving signature name: "{shown(name)}" not found: model \'{shown(model)}\' has only "{SIGNATURE_NAME}"')
    by_rows = bool(wire.instances)
    if by_rows == bool(wire.inputs):
        raise invalid("the request must have either 'instances' or 'inputs'")
    texts = _texts(bytes(wire.instances or wire.inputs), signature, by_rows=by_rows, limits=limits)
    inputs = [_tensor(spec, text, tokens, model=model, limits=limits) for spec, text in zip(signature.inputs, texts, strict=True)]
    if tokens is not None and tokens.left:
        raise invalid("the request has NaN or Infinity outside floating-point data")
    return InferRequest(model, version, "", inputs), by_rows


def _parse(body: bytes) -> tuple[_Body, _Tokens | None]:
    try:
        return _decode(body), None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if type(error) is not msgspec.DecodeError or not count_tokens(body):
            raise json_body.not_a_request(error) from None
    tokens = _Tokens(body)
    try:
        return _decode(tokens.plain), tokens
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise json_body.not_a_request(error) from None


def _check_keys(text: bytes, wire: _Body, limits: RequestLimits) -> None:
    """Refuse equal keys, and what is nested too deeply outside the data: by counting quotes, or else by reading it all."""
    quotes = 0 if wire.signature_name is UNSET else 4
    parts = [part for part in (wire.instances, wire.inputs) if part]
    for part in parts:
        quotes += 2 + bytes(part).count(b'"')
    if text.count(b'"') != quotes:
        json_body.read_envelope(text, [json_body.span_of(text, part) for part in parts], limits)


def _texts(text: bytes, signature: Signature, *, by_rows: bool, limits: RequestLimits) -> list[bytes]:
    """The value of each input of the signature, in its order."""
    specs, key = signature.inputs, "instances" if by_rows else "inputs"
    if by_rows and (not text.startswith(b"[") or _EMPTY.match(text)):
        raise invalid("'instances' must be a list of one value or more")
    if not (_OBJECT_ROW.match(text) if by_rows else text.startswith(b"{")) or _is_one_text(text, specs):
        if len(specs) != 1:
            what = "a list of objects with" if by_rows else "an object with"
            raise invalid(f"'{key}' must be {what} a value for each of the {len(specs)} inputs of model '{signature.model}'")
        return [text]
    check_input_count(len(specs), limits)
    return columns(text, tuple([spec.name for spec in specs]), many=by_rows, model=signature.model, limits=limits)


def _is_one_text(text: bytes, specs: tuple[TensorSpec, ...]) -> bool:
    """Whether an object is not one by input name but a string as its bytes."""
    return len(specs) == 1 and specs[0].datatype == "BYTES" and _BASE64.match(text) is not None


def _tensor(spec: TensorSpec, text: bytes, tokens: _Tokens | None, *, model: str, limits: RequestLimits) -> InputTensor:
    nonfinite = tokens is not None and spec.datatype in FLOATING
    if tokens is not None and nonfinite:
        text = tokens.restored(text)
    return tensor_of(spec, text, nonfinite=nonfinite, model=model, limits=limits)
