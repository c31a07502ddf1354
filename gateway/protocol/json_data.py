"""The `data` of one JSON tensor, flat or nested, to little-endian bytes or strings. Knows no envelope and no binary part.

Linear in the text and without a list per row: past a few KiB the structure is compared as a string of brackets and commas,
and the numbers are turned over in pieces. Nothing grows by the shape before the text has been seen to have as many elements.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np

from gateway.errors import TidegateError, invalid, too_large
from gateway.limits import RequestLimits
from gateway.protocol.json_strings import without_strings
from gateway.protocol.payload import check_shape, check_texts, out_of_range, pack, text_too_long
from gateway.protocol.tensors import DATATYPES, InputTensor, shown

FLOATING = frozenset({"FP16", "BF16", "FP32", "FP64"})
_PYTHON: dict[str, type] = {
    name: bool if name == "BOOL" else str if name == "BYTES" else float if name in FLOATING else int for name in DATATYPES
}
_FLAT = {name: msgspec.json.Decoder(list[kind]).decode for name, kind in _PYTHON.items()}  # type: ignore[valid-type]
_ROWS = {name: msgspec.json.Decoder(list[list[kind]]).decode for name, kind in _PYTHON.items()}  # type: ignore[valid-type]
_MARKED = msgspec.json.Decoder(list[float | str]).decode  # where quotes mark the tokens below
_NONFINITE = {"N": math.nan, "+": math.inf, "-": -math.inf}
SMALL_BYTES = 16_384  # of text that is decoded at once, whatever lists it makes
_PIECE_BYTES = 65_536  # of text that is turned over at a time
_NOT_STRUCTURE = bytes(c for c in range(256) if c not in b"[],")
_NO_BRACKETS = bytes.maketrans(b"[]", b"  ")
_ELEMENT = re.compile(r"\$\[(\d+)\]")  # in a text of the parser: which element of the list


def from_json(
    tensor: str, datatype: str, shape: tuple[int, ...], text: bytes, *, count: int, nonfinite: bool, model: str, limits: RequestLimits
) -> InputTensor:
    """An input from the JSON text of its `data`: a flat row-major list or one nested as `shape` says.

    `count` is `check_shape(shape)`. `text` is valid JSON, but for the tokens NaN, Infinity and -Infinity, which it may hold
    where `nonfinite` is set and which only floating types take. Every element must have the JSON type of the datatype and fit
    into it. Raises INVALID_ARGUMENT, or TOO_LARGE where the bytes or strings are more than `limits` allow.
    """
    if count * DATATYPES[datatype].itemsize > limits.max_tensor_bytes:
        raise _too_many_bytes(tensor, model=model, limits=limits)
    try:
        if datatype == "BYTES":
            check_texts(count, tensor=tensor, limits=limits)
            texts = _texts(shape, text, count)
            check_lengths(texts, text, tensor=tensor, limits=limits)
            return InputTensor(tensor, datatype, shape, texts=texts)
        values = None if nonfinite or len(text) > SMALL_BYTES else read_small(datatype, shape, text)
        if values is not None and len(values) == count:
            return InputTensor(tensor, datatype, shape, pack(datatype, values))
        return InputTensor(tensor, datatype, shape, _any(datatype, shape, text, count, nonfinite=nonfinite))
    except OverflowError:
        raise out_of_range(tensor, datatype, model=model) from None
    except _ShapeError:
        raise _mismatch(tensor, model=model) from None
    except _ElementError as found:
        raise _unfit(found.error, tensor, datatype, model=model, where=place(found.index, shape)) from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _unfit(error, tensor, datatype, model=model) from None


def from_short_json(tensor: str, datatype: str, text: bytes, *, model: str, limits: RequestLimits) -> InputTensor | None:
    """The same for a short text without a shape: that of a list, or of a list of lists of one length, without tokens.

    None where only the shape and `from_json` can tell. Raises as that does.
    """
    found = _read_short(datatype, text) if len(text) <= SMALL_BYTES else None
    if found is None:
        return None
    shape, values = found
    count = check_shape(shape, tensor=tensor, model=model, limits=limits)
    if count * DATATYPES[datatype].itemsize > limits.max_tensor_bytes:
        raise _too_many_bytes(tensor, model=model, limits=limits)
    if datatype == "BYTES":
        check_texts(count, tensor=tensor, limits=limits)
        check_lengths(values, text, tensor=tensor, limits=limits)
        return InputTensor(tensor, datatype, shape, texts=values)
    try:
        return InputTensor(tensor, datatype, shape, pack(datatype, values))
    except OverflowError:
        raise out_of_range(tensor, datatype, model=model) from None


def _read_short(datatype: str, text: bytes) -> tuple[tuple[int, ...], list[Any]] | None:
    """Shape and values."""
    try:
        if not text.startswith(b"[["):
            values = _FLAT[datatype](text)
            return (len(values),), values
        rows = _ROWS[datatype](text)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    width = len(rows[0])
    if any([len(row) != width for row in rows]):
        return None
    return (len(rows), width), rows[0] if len(rows) == 1 else list(itertools.chain.from_iterable(rows))


def _too_many_bytes(tensor: str, *, model: str, limits: RequestLimits) -> TidegateError:
    return too_large(f"input '{shown(tensor)}' for model '{shown(model)}' has more than {limits.max_tensor_bytes} bytes")


class _ShapeError(Exception):
    """Ragged data, or data of another shape than the tensor's."""


class _ElementError(Exception):
    """An element of another type, by its number in row-major order."""

    def __init__(self, error: msgspec.ValidationError, before: int) -> None:
        """`before`: elements of the pieces before the one that the parser speaks of."""
        super().__init__()
        self.error = error
        found = _ELEMENT.search(str(error))
        self.index = before + int(found[1]) if found else -1


def _mismatch(tensor: str, *, model: str) -> TidegateError:
    text = "Unable to parse 'data': Shape does not match true shape of 'data' field"
    return invalid(f"{text} of input '{shown(tensor)}' for model '{shown(model)}'")


def place(index: int, shape: tuple[int, ...]) -> str:
    """` at [1][0]`: where an element stands, for an error text. Empty where there is no such element, or it is the only one."""
    if not shape or not 0 <= index < math.prod(shape):
        return ""
    return " at " + "".join([f"[{part}]" for part in np.unravel_index(index, shape)])


def _unfit(error: Exception, tensor: str, datatype: str, *, model: str, where: str = "") -> TidegateError:
    """An element of another type than the datatype's: the parser's own words, without its positions in our pieces."""
    reason = str(error).split(" - at ")[0].split(" (byte ")[0]
    if "out of range" in reason:
        return out_of_range(tensor, datatype, model=model)
    return invalid(f"Unable to parse 'data' of input '{shown(tensor)}' for model '{shown(model)}' as {datatype}: {reason}{where}")


def read_small(datatype: str, shape: tuple[int, ...], text: bytes) -> list[Any] | None:
    """The values of a short text, flat or in rows; None where only the general way can tell."""
    try:
        if not text.startswith(b"[["):
            return _FLAT[datatype](text)
        if len(shape) != 2:
            return None
        rows = _ROWS[datatype](text)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if len(rows) != shape[0] or any(len(row) != shape[1] for row in rows):
        return None
    return rows[0] if len(rows) == 1 else list(itertools.chain.from_iterable(rows))


def _any(datatype: str, shape: tuple[int, ...], text: bytes, count: int, *, nonfinite: bool) -> memoryview:
    """Numbers of any size and nesting. The text is valid JSON and its brackets and commas are right, so brackets can go."""
    if not _has_shape(text.translate(None, _NOT_STRUCTURE), shape, count):
        raise _ShapeError
    if not count:
        return _nothing(text)
    decode = _decode_marked if nonfinite and datatype in FLOATING else _FLAT[datatype]
    itemsize = DATATYPES[datatype].itemsize
    data, at = memoryview(bytearray(count * itemsize)), 0
    for piece in _cut(text.translate(_NO_BRACKETS)):
        packed = pack(datatype, _elements(decode, piece, at // itemsize))
        if len(packed) > len(data) - at:
            raise _ShapeError
        data[at : at + len(packed)] = packed
        at += len(packed)
    if at != len(data):
        raise _ShapeError
    return data


def _elements(decode: Callable[[bytes], list[Any]], piece: bytes, before: int) -> list[Any]:
    """The values of a piece, behind so many."""
    try:
        return decode(b"[%b]" % piece)
    except msgspec.ValidationError as error:
        raise _ElementError(error, before) from None


def _nothing(text: bytes) -> memoryview:
    """The data of an empty tensor, which has brackets, commas and blanks only."""
    if text.translate(None, b"[], \t\r\n"):
        raise _ShapeError
    return memoryview(b"")


def decoder(datatype: str, *, nested: bool) -> Callable[[bytes], list[Any]]:
    """Reads the values of a flat list, or the rows of one that is nested once."""
    return _ROWS[datatype] if nested else _FLAT[datatype]


def count_tokens(text: bytes) -> int:
    """How often NaN, Infinity or -Infinity stand in a text, strings included."""
    return text.count(b"NaN") + text.count(b"Infinity")


def _decode_marked(piece: bytes) -> list[float]:
    """Floats among which NaN and the infinities may stand, as Triton and TensorFlow Serving read them."""
    if b'"' in piece:
        raise msgspec.ValidationError("Expected `float`, got `str`")
    values = _MARKED(piece.replace(b"NaN", b'"N"').replace(b"-Infinity", b'"-"').replace(b"Infinity", b'"+"'))
    return [value if type(value) is float else _NONFINITE[value] for value in values]  # type: ignore[index]


def _cut(text: bytes) -> Iterator[bytes]:
    """The text in pieces of about `_PIECE_BYTES`, cut at commas."""
    at = 0
    while len(text) - at > _PIECE_BYTES:
        comma = text.find(b",", at + _PIECE_BYTES)
        if comma < 0:
            break
        yield text[at:comma]
        at = comma + 1
    yield text[at:]


def _has_shape(structure: bytes, shape: tuple[int, ...], count: int) -> bool:
    """Whether brackets and commas are those of `count` values in one list, or of lists nested as `shape`.

    The nested form is made only where it is as long as what came: a shape may say [10**7,1,1,1] above two bytes of data.
    """
    if len(structure) == max(count, 1) + 1 and structure == b"[" + b"," * (count - 1) + b"]":
        return True
    length = 0
    for size in reversed(shape):
        length = size * (length + 1) + 1 if size else 2
    return len(structure) == length and structure == _nested(shape)


def _nested(shape: tuple[int, ...]) -> bytes:
    text = b""
    for size in reversed(shape):
        text = b"[" + ((text + b",") * size)[:-1] + b"]"
    return text


def _texts(shape: tuple[int, ...], text: bytes, count: int) -> list[str]:
    """Strings of any nesting, of which there are at most `max_string_elements`."""
    if len(text) <= SMALL_BYTES and (texts := read_small("BYTES", shape, text)) is not None and len(texts) == count:
        return texts
    bare, strings = without_strings(text, count)
    structure = bare.translate(None, _NOT_STRUCTURE)
    if strings != count or not _has_shape(structure, shape, count):
        raise _ShapeError
    if not count:
        _nothing(text)
        return []
    depth = len(structure) - len(structure.lstrip(b"["))
    if not depth:
        return [_text_decoder(0)(text)]  # type: ignore[list-item]
    values = _text_decoder(depth)(text)
    for _ in range(depth - 1):
        values = list(itertools.chain.from_iterable(values))
    return values


@functools.lru_cache(maxsize=64)
def _text_decoder(depth: int) -> Callable[[bytes], list[Any]]:
    kind: Any = str
    for _ in range(depth):
        kind = list[kind]
    return msgspec.json.Decoder(kind).decode


def check_lengths(texts: list[str], text: bytes, *, tensor: str, limits: RequestLimits) -> None:
    """Refuse strings of more than `max_string_bytes`. `text` is what they were read from."""
    longest = limits.max_string_bytes
    if len(text) <= longest or 4 * max(map(len, texts), default=0) <= longest:  # a character has four bytes at most
        return
    if any(len(value) * 4 > longest and len(value.encode()) > longest for value in texts):
        raise text_too_long(tensor, limits)
