"""What a job trains on, by the contract of the version that it starts from: one value a row for each input, a number or a text. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from registry.schema import Field, Schema
from retrain.errors import RetrainError

_KINDS: dict[str, Literal["number", "text"]] = {"tensor(float)": "number", "tensor(string)": "text"}


@dataclass(frozen=True, slots=True)
class Input:
    """One input of the model, and a column of the rows."""

    name: str
    kind: Literal["number", "text"]
    missing: bool  # whether a value may be missing: NaN of a number, `null_text` of a text
    null_text: str | None = None


def inputs_of(schema: Schema) -> tuple[Input, ...]:
    """In the order of the graph. Raises `RetrainError` for inputs that the job cannot train on."""
    return tuple(_input(field) for field in schema.inputs)


def _input(field: Field) -> Input:
    kind = _KINDS.get(field.type)
    sizes = (field.shape or (None,))[1:]
    if kind is None or any(size != 1 for size in sizes):
        shape = "" if field.shape is None else " " + str([size if isinstance(size, int) else "?" for size in field.shape])
        raise RetrainError(f"input '{field.name}' is {field.type}{shape}: a job trains on inputs of one float or one text a row")
    null = field.null_value if isinstance(field.null_value, str) else None
    return Input(field.name, kind, missing=field.nulls == "allowed" and (kind == "number" or null is not None), null_text=null)
