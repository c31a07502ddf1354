"""The rules of a version's contract: what its schema says of inputs, and what happens to a row that breaks it. Pure; knows no kernel.

What does not fit a tensor's datatype or shape is refused before any of this.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.drift_settings import Contract, Mode
from gateway.drift_settings import Rule as Kind
from registry.schema import Field, Range, Schema

_TEXTS: dict[Kind, str] = {
    "nulls": "has a missing value",
    "range": "has a value outside of its range",
    "categories": "has an unknown category",
}
_FLOAT_TYPES = {"tensor(float)", "tensor(double)", "tensor(float16)", "tensor(bfloat16)"}


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule for the values of one input. Its place among a version's rules is its line in `Views.rules` and its bit in a mask."""

    port: str
    kind: Kind
    mode: Mode
    text: str  # for who sent the row


def rules_of(schema: Schema | None, contract: Contract) -> tuple[Rule, ...]:
    """All rules of a schema's inputs, in its order."""
    if schema is None:
        return ()
    return tuple([_rule(field, kind, contract.mode_of(field.name, kind)) for field in schema.inputs for kind in kinds_of(field)])


def kinds_of(field: Field) -> list[Kind]:
    """The rules that a field makes. Only a float can be missing where nothing stands for it."""
    kinds: list[Kind] = []
    if field.nulls == "refused" and field.type in _FLOAT_TYPES:
        kinds.append("nulls")
    if field.range is not None:
        kinds.append("range")
    if field.categories is not None:
        kinds.append("categories")
    return kinds


def _rule(field: Field, kind: Kind, mode: Mode) -> Rule:
    bounds = f" {_written(field.range)}" if kind == "range" and field.range else ""
    return Rule(field.name, kind, mode, f"input '{field.name}' {_TEXTS[kind]}{bounds}")


def _written(bounds: Range) -> str:
    """`[0, 120]`; an open end is infinite, and does not belong."""
    low = "(-inf" if bounds.min is None else f"[{bounds.min:.12g}"
    return f"{low}, inf)" if bounds.max is None else f"{low}, {bounds.max:.12g}]"
