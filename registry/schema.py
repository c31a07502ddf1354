"""What the values of a model's inputs and outputs mean: which are missing, which are possible, in which unit. Pure data.

The graph says how a tensor is made; only the model's author knows the rest. He writes it as YAML or JSON, by name; `merge` holds it
against the contract and gives one field for every port, in the order of the graph.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from registry.contract import Contract, Port
from registry.errors import damaged, refused

MAX_CATEGORIES = 100_000
ONLY = "*"  # in the place of a name: the only port there is
_BITS = re.compile(r"tensor\((u?)int(\d+)\)")
_FLOATS = {"tensor(float)", "tensor(double)", "tensor(float16)", "tensor(bfloat16)"}
_STRING, _BOOL = "tensor(string)", "tensor(bool)"
# The Open Inference Protocol's names of ONNX's types; either is understood.
OIP_TYPES = {"FP16": "float16", "FP32": "float", "FP64": "double", "BYTES": "string", "BF16": "bfloat16", "BOOL": "bool"}
OIP_TYPES |= {f"{sign}INT{bits}": f"{sign.lower()}int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)}

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
Category = str | int
Size = Annotated[int, msgspec.Meta(ge=-1)] | None


class Range(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Both ends belong to it; None is open."""

    min: float | None = None
    max: float | None = None


class Terms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an author says of one port. `dtype` and `shape` are only compared with the graph's."""

    dtype: Text | None = None  # "FP32" or "tensor(float)"
    shape: tuple[Size, ...] | None = None  # -1 or null where any size will do
    nulls: Literal["allowed", "refused"] = "allowed"  # may a value be missing: NaN of a float, `null_value` of another type
    null_value: Category | None = None  # what stands for a missing value where the type has no NaN
    range: Range | None = None
    categories: tuple[Category, ...] | None = None  # all values that occur
    unit: Text | None = None  # "km/h"
    description: Text | None = None


class ContractFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file that an author writes."""

    format: Literal[1] = 1
    inputs: dict[str, Terms] = {}
    outputs: dict[str, Terms] = {}


class Field(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One input or output with what it means."""

    name: str
    type: str  # as in the contract
    shape: tuple[int | str | None, ...] | None  # as in the contract, with sizes that the author fixed
    nulls: Literal["allowed", "refused"] = "allowed"
    null_value: Category | None = None
    range: Range | None = None
    categories: tuple[Category, ...] | None = None
    unit: str | None = None
    description: str | None = None


class Schema(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The blob `schema.json` of a version."""

    format: Literal[1]
    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]


def contract_file(plain: object) -> ContractFile:
    """The author's file from what YAML or JSON gave. Raises `Kind.INVALID_MODEL` naming the place of a mistake."""
    try:
        return msgspec.convert(plain, ContractFile)
    except msgspec.ValidationError as error:
        raise refused(f"the contract file is not one: {error}") from error


def merge(contract: Contract, file: ContractFile, *, source: str = "the contract file") -> Schema:
    """One field per port. Raises `Kind.INVALID_MODEL` where the author and the graph, or two of the author's terms, disagree.

    `source` is what the author wrote, for the reason.
    """
    return Schema(
        format=1,
        inputs=_fields(contract.inputs, file.inputs, "input", source),
        outputs=_fields(contract.outputs, file.outputs, "output", source),
    )


def encode(schema: Schema) -> bytes:
    """Deterministic JSON."""
    return msgspec.json.encode(schema, order="deterministic")


def decode(content: bytes, *, key: str) -> Schema:
    """The inverse of `encode`. Raises `Kind.DAMAGED` naming `key`."""
    try:
        return msgspec.json.decode(content, type=Schema)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise damaged(f"{key} is not a schema: {error}") from error


def _fields(ports: tuple[Port, ...], terms: Mapping[str, Terms], what: str, source: str) -> tuple[Field, ...]:
    if ONLY in terms and (len(ports) != 1 or len(terms) != 1):
        raise refused(f"{source} describes '{ONLY}', which stands for the only {what}; the model has {len(ports)}")
    terms = {ports[0].name: terms[ONLY]} if ONLY in terms else terms
    strangers = terms.keys() - {port.name for port in ports}
    if strangers:
        raise refused(f"{source} describes {what} '{min(strangers)[:128]}', which the model does not have")
    return tuple(_field(port, terms.get(port.name, Terms()), f"{what} '{port.name}'", source) for port in ports)


def _field(port: Port, terms: Terms, subject: str, source: str) -> Field:
    if terms.dtype is not None and terms.dtype != port.type and f"tensor({OIP_TYPES.get(terms.dtype)})" != port.type:
        raise refused(f"{subject} is {port.type} in the model and {terms.dtype} in {source}")
    _check_nulls(port, terms, subject)
    _check_range(port, terms, subject)
    _check_categories(port, terms, subject)
    shape = _shape(port, terms, subject, source)
    given = {name: getattr(terms, name) for name in ("nulls", "null_value", "range", "categories", "unit", "description")}
    return Field(name=port.name, type=port.type, shape=shape, **given)


def _shape(port: Port, terms: Terms, subject: str, source: str) -> tuple[int | str | None, ...] | None:
    """The graph's shape, with the author's size where the graph leaves one free."""
    if terms.shape is None:
        return port.shape
    if any(size is not None and size < 1 and size != -1 for size in terms.shape):
        raise refused(f"{subject} has a size in {source} that is neither above 0 nor -1")
    if port.shape is None:
        return tuple(None if size == -1 else size for size in terms.shape)
    known = [(ours, None if theirs == -1 else theirs) for ours, theirs in zip(port.shape, terms.shape, strict=False)]
    if len(port.shape) != len(terms.shape) or any(isinstance(ours, int) and theirs not in {None, ours} for ours, theirs in known):
        raise refused(f"{subject} has shape {_written(port.shape)} in the model and {_written(terms.shape)} in {source}")
    return tuple(ours if theirs is None else theirs for ours, theirs in known)


def _written(shape: tuple[int | str | None, ...]) -> str:
    return "[" + ", ".join("-1" if size is None else str(size) for size in shape) + "]"


def _check_nulls(port: Port, terms: Terms, subject: str) -> None:
    if terms.null_value is None:
        return
    if terms.nulls == "refused":
        raise refused(f"{subject} has a value for what is missing, and refuses what is missing")
    if not _belongs(terms.null_value, port.type):
        raise refused(f"{subject} is {port.type}, which cannot hold {terms.null_value!r} for what is missing")


def _check_range(port: Port, terms: Terms, subject: str) -> None:
    if terms.range is None:
        return
    ends = [end for end in (terms.range.min, terms.range.max) if end is not None]
    if port.type not in _FLOATS and _BITS.fullmatch(port.type) is None:
        raise refused(f"{subject} is {port.type}, which has no range")
    if not all(map(math.isfinite, ends)) or ends != sorted(ends) or not ends:
        raise refused(f"{subject} has a range that is empty, or has no finite end")
    least, greatest = _bounds(port.type)
    if any(not least <= end <= greatest for end in ends):
        raise refused(f"{subject} is {port.type}, which does not reach to the ends of its range")


def _check_categories(port: Port, terms: Terms, subject: str) -> None:
    if terms.categories is None:
        return
    if not 0 < len(terms.categories) <= MAX_CATEGORIES or len(set(terms.categories)) != len(terms.categories):
        raise refused(f"{subject} has no categories, more than {MAX_CATEGORIES}, or one of them twice")
    for category in terms.categories:
        if not _belongs(category, port.type):
            raise refused(f"{subject} is {port.type}, which cannot hold the category {category!r}")
        if terms.range is not None and not _within(category, terms.range):
            raise refused(f"{subject} has the category {category!r} outside of its range")
    if terms.null_value is not None and terms.null_value in terms.categories:
        raise refused(f"{subject} has {terms.null_value!r} both as a category and for what is missing")


def _belongs(value: Category, kind: str) -> bool:
    if isinstance(value, str):
        return kind == _STRING
    least, greatest = _bounds(kind)
    return _BITS.fullmatch(kind) is not None and least <= value <= greatest


def _within(value: Category, bounds: Range) -> bool:
    assert not isinstance(value, str)  # a text has no range
    return (bounds.min is None or bounds.min <= value) and (bounds.max is None or value <= bounds.max)


def _bounds(kind: str) -> tuple[float, float]:
    match = _BITS.fullmatch(kind)
    if match is None:
        return -math.inf, math.inf
    bits = int(match[2])
    return (0, (1 << bits) - 1) if match[1] else (-(1 << bits - 1), (1 << bits - 1) - 1)
