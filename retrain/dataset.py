"""Labelled rows as named columns: what a model is trained on, checked against and asked about. Knows no estimator and no file.

A column is a float32 array or an object array of `str`, because those are the tensors that the served model takes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec
import numpy as np

from retrain.target import YES_NO, Target


class DatasetError(ValueError):
    """Columns that cannot be one table."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Columns of one length, a label of each row as the target has it, and perhaps when it was and what it weighs.

    Else raises `DatasetError`.
    """

    columns: dict[str, np.ndarray]
    labels: np.ndarray
    times_s: np.ndarray | None = None  # seconds since the Unix epoch; not among what a model sees
    weights: np.ndarray | None = None  # [rows] from 0 on: how many rows each one stands for; None: itself
    missing: frozenset[str] = frozenset()  # number columns that may have NaN
    target: Target = YES_NO

    def __post_init__(self) -> None:
        if not self.columns:
            raise DatasetError("there are no columns")
        for name, column in self.columns.items():
            if column.shape != self.labels.shape:
                raise DatasetError(f"column '{name}' has shape {column.shape}, the labels have {self.labels.shape}")
            if column.dtype not in (np.float32, np.dtype(object)):
                raise DatasetError(f"column '{name}' is {column.dtype}: expected float32 numbers or texts")
            if column.dtype == np.float32 and not (np.isfinite(column) | (np.isnan(column) & (name in self.missing))).all():
                raise DatasetError(f"column '{name}' has values that are missing or infinite")
        if self.times_s is not None and (self.times_s.shape != self.labels.shape or not np.isfinite(self.times_s).all()):
            raise DatasetError("the times are not one number for each row")
        if self.target.wrong(self.labels).any():
            raise DatasetError(f"a label is {self.target.expected}")
        if self.weights is not None and not (
            self.weights.shape == self.labels.shape and np.all((self.weights >= 0) & (self.weights < np.inf))
        ):
            raise DatasetError("the weights are not one number from 0 on for each row")

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.labels)

    @property
    def numbers(self) -> list[str]:
        """Names of the float32 columns."""
        return [name for name, column in self.columns.items() if column.dtype == np.float32]

    @property
    def texts(self) -> list[str]:
        """Names of the text columns."""
        return [name for name, column in self.columns.items() if column.dtype != np.float32]

    @property
    def digest(self) -> str:
        """SHA-256 of values, weights and names, and the order of all: of the same table everywhere. No model sees times, and it neither."""
        found = hashlib.sha256(msgspec.json.encode([self.rows, *([name, name in self.numbers] for name in self.columns)]))
        labels = self.labels.astype(np.float64 if self.target.kind == "number" else np.int64)
        for column in (*self.columns.values(), labels):
            texts = column.dtype == np.dtype(object)
            found.update(msgspec.json.encode(column.tolist()) if texts else column.astype(column.dtype.newbyteorder("<")).tobytes())
        if self.weights is not None:
            found.update(b"weights" + self.weights.astype("<f8").tobytes())
        return f"sha256:{found.hexdigest()}"

    def take(self, rows: slice | np.ndarray) -> Dataset:
        """Some of the rows, by slice, mask or indices."""
        times_s = None if self.times_s is None else self.times_s[rows]
        weights = None if self.weights is None else self.weights[rows]
        columns = {name: column[rows] for name, column in self.columns.items()}
        return Dataset(columns, self.labels[rows], times_s, weights, self.missing, self.target)

    def labelled(self, labels: np.ndarray) -> Dataset:
        """The same rows with other labels."""
        return Dataset(self.columns, labels, self.times_s, target=self.target)

    def and_then(self, later: Dataset) -> Dataset:
        """These rows, and below them those of a table with the same columns."""
        columns = {name: np.concatenate([column, later.columns[name]]) for name, column in self.columns.items()}
        times_s = None if self.times_s is None or later.times_s is None else np.concatenate([self.times_s, later.times_s])
        return Dataset(columns, np.concatenate([self.labels, later.labels]), times_s, target=self.target)

    def tensors(self) -> dict[str, np.ndarray]:
        """The columns as a served model takes them: one input per column, shape (rows, 1)."""
        return {name: column.reshape(-1, 1) for name, column in self.columns.items()}
