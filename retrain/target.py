"""What labels say, by the contract of the version that a job starts from: a yes or no, one of several classes, or a number. Pure.

The outputs decide: two probabilities foretell a yes, several ones as many classes, a single number is foretold as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from registry.schema import Field, Schema
from retrain.errors import RetrainError

Kind = Literal["yes_no", "class", "number"]
LABEL, PROBABILITIES = "label", "probabilities"  # outputs of models that foretell classes
WORDS: dict[Kind, str] = {"yes_no": "a yes or no", "class": "classes", "number": "numbers"}


@dataclass(frozen=True, slots=True)
class Target:
    """Labels of a model."""

    kind: Kind = "yes_no"
    classes: int = 2  # labels are 0 … classes − 1
    outputs: tuple[str, ...] = (LABEL, PROBABILITIES)  # of a model that foretells them

    def wrong(self, labels: np.ndarray) -> np.ndarray:
        """Which of some labels, float64 without NaN, cannot be, bool [rows]."""
        if self.kind == "number":
            return np.asarray(~np.isfinite(labels))
        return np.asarray(~np.isin(labels, np.arange(self.classes)))

    @property
    def expected(self) -> str:
        """What a label is, in a sentence about one that is not."""
        if self.kind == "number":
            return "no finite number"
        return "neither 0 nor 1" if self.classes == 2 else f"none of the classes 0 to {self.classes - 1}"


YES_NO = Target()


def target_of(schema: Schema) -> Target:
    """Raises `RetrainError` for outputs of which no job knows what they foretell."""
    floats = [field for field in schema.outputs if field.type == "tensor(float)"]
    if len(floats) != 1:
        names = ", ".join(f"'{field.name}' {field.type}" for field in schema.outputs)
        raise RetrainError(f"the model gives {names}: a job trains models with one output of floats, probabilities or a number")
    width = _width(floats[0])
    if width == 2 or width is None:
        return YES_NO
    if width == 1:
        return Target("number", 0, (floats[0].name,))
    return Target("class", width)


def _width(field: Field) -> int | None:
    """Numbers of one row; None where the contract does not say."""
    if field.shape is None:
        return None
    sizes = field.shape[1:]
    if len(sizes) > 1:
        raise RetrainError(f"output '{field.name}' has {len(sizes)} dimensions a row: a job trains models whose output is a row of numbers")
    return 1 if not sizes else sizes[0] if isinstance(sizes[0], int) else None
