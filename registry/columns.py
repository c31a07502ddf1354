"""Reference rows as one array for each tensor, and the single features that they are made of. Pure; knows no file and no model.

Large tensors (images, long embeddings) are left out: a histogram of each of their elements says nothing. So is bfloat16, for which numpy
has no type.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from registry.errors import refused
from registry.profile import MAX_FEATURES, Side

MAX_ELEMENTS = 4_096  # of one row of a tensor
MAX_CLASSES = 16  # elements of a row of an output that become features; margin and entropy are of all of them
_COMPUTED = 2  # margin and entropy
_SUM_ERRORS = {2: 1e-2, 4: 1e-4, 8: 1e-6}  # of a row of probabilities, by bytes of a number

Kind = Literal["value", "margin", "entropy"]


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One tensor of all rows."""

    side: Side
    port: str
    values: np.ndarray  # [rows, …] in the tensor's datatype; texts are objects: str, or bytes in UTF-8
    names: tuple[str, ...] = ()  # of the elements of a row, where they have names of their own

    @property
    def elements(self) -> int:
        """Of one row."""
        return math.prod(self.values.shape[1:])

    def flat(self) -> np.ndarray:
        """[rows, elements]."""
        return self.values.reshape(len(self.values), self.elements)


@dataclass(frozen=True, slots=True, eq=False)
class Feature:
    """One value of each row."""

    side: Side
    port: str
    element: int
    kind: Kind
    name: str
    values: np.ndarray  # [rows], contiguous


def check(columns: Sequence[Column]) -> int:
    """The number of rows. Raises `Kind.INVALID_MODEL` where there are none, or arrays that are not rows of one table or no tensors."""
    if not columns:
        raise refused("there are no reference columns")
    seen = set()
    for column in columns:
        subject = f"the reference of {column.side} '{column.port}'"
        if (column.side, column.port) in seen:
            raise refused(f"{subject} is there twice")
        seen.add((column.side, column.port))
        if column.values.ndim < 1 or len(column.values) != len(columns[0].values):
            raise refused(f"{subject} has another number of rows than that of '{columns[0].port}'")
        if column.values.dtype.kind not in "fiubUO" or (
            column.values.dtype.kind == "f" and column.values.dtype.itemsize not in _SUM_ERRORS
        ):
            raise refused(f"{subject} is {column.values.dtype}, which is no tensor of numbers, texts or booleans")
        if column.values.dtype.kind == "O" and not all(isinstance(text, str | bytes) for text in column.values.ravel().tolist()):
            raise refused(f"{subject} holds something that is no text")
        if column.names and len(column.names) != column.elements:
            raise refused(f"{subject} has {column.elements} elements and {len(column.names)} names")
    if not len(columns[0].values):
        raise refused("there are no reference rows")
    return len(columns[0].values)


def chosen(columns: Sequence[Column]) -> tuple[list[Column], list[str]]:
    """Those that become features, inputs first, and a sentence about each other one. Raises `Kind.INVALID_MODEL` for none at all."""
    kept, notes, features = [], [], 0
    for column in sorted(columns, key=lambda column: column.side != "input"):
        subject = f"{column.side} '{column.port}'"
        taken = column.elements if column.side == "input" else min(column.elements, MAX_CLASSES) + _COMPUTED
        if not column.elements:
            notes.append(f"{subject} is not profiled: its rows are empty")
        elif column.elements > MAX_ELEMENTS:
            notes.append(f"{subject} is not profiled: a row of it has {column.elements} elements, more than {MAX_ELEMENTS}")
        elif features + taken > MAX_FEATURES:
            notes.append(f"{subject} is not profiled: there would be more than {MAX_FEATURES} features")
        else:
            kept.append(column)
            features += taken
            if column.side == "output" and column.elements > MAX_CLASSES:
                notes.append(f"of {subject} the first {MAX_CLASSES} of {column.elements} elements are profiled")
    if not kept:
        raise refused(f"nothing can be profiled: {'; '.join(notes)}")
    return kept, notes


def features_of(column: Column) -> Iterator[Feature]:
    """Its elements, ascending; of an output of probabilities also margin and entropy."""
    flat = column.flat()
    count = column.elements if column.side == "input" else min(column.elements, MAX_CLASSES)
    rows = np.ascontiguousarray(flat[:, :count].T)
    for element in range(count):
        yield Feature(column.side, column.port, element, "value", name_of(column, element), rows[element])
    if column.side == "output" and are_probabilities(flat):
        yield Feature("output", column.port, 0, "margin", f"{column.port}.margin", margins(flat))
        yield Feature("output", column.port, 0, "entropy", f"{column.port}.entropy", entropies(flat))


def name_of(column: Column, element: int) -> str:
    """The element's own name, or the port's, with the element where there are several."""
    if column.names:
        return column.names[element]
    return column.port if column.elements == 1 else f"{column.port}[{element}]"


def are_probabilities(rows: np.ndarray) -> bool:
    """Whether every row of [rows, classes] that has no NaN is at least two numbers from 0 on with the sum 1, and there is such a row."""
    if rows.dtype.kind != "f" or rows.shape[1] < 2:
        return False
    whole = rows[~np.isnan(rows).any(axis=1)]
    if not len(whole) or not whole.min() >= 0:
        return False
    with np.errstate(over="ignore"):
        sums = whole.sum(axis=1, dtype=np.float64)
    return bool(np.abs(sums - 1).max() <= _SUM_ERRORS[rows.dtype.itemsize])


def margins(probabilities: np.ndarray) -> np.ndarray:
    """The greatest minus the second greatest of each row, float64 [rows]; NaN where a number is."""
    rows = probabilities.astype(np.float64)
    top = np.partition(rows, rows.shape[1] - 2, axis=1)[:, -2:]
    return np.where(np.isnan(rows).any(axis=1), np.nan, top[:, 1] - top[:, 0])


def entropies(probabilities: np.ndarray) -> np.ndarray:
    """−Σ p ln p of each row in nats, with 0 ln 0 = 0; float64 [rows]. By the kernel that counts live rows, so that equal ones are equal."""
    from kernels import predictions  # numba takes a while to load, and most of the registry does without it

    rows = probabilities.astype(np.float32) if probabilities.dtype == np.float16 else probabilities
    entropy = np.empty(len(rows))
    predictions.entropies(rows, entropy)
    return entropy
