"""Labelled rows as named columns."""

from __future__ import annotations

import numpy as np
import pytest

from retrain.dataset import Dataset, DatasetError


def made() -> Dataset:
    return Dataset({"x": np.array([1, 2, 3], np.float32), "t": np.array(["a", "b", "c"], object)}, np.array([0, 1, 0]))


def test_columns_become_tensors() -> None:
    """One input per column, one row per element."""
    dataset = made()
    assert (3, ["x"], ["t"]) == (dataset.rows, dataset.numbers, dataset.texts)
    assert {"x": (3, 1), "t": (3, 1)} == {name: tensor.shape for name, tensor in dataset.tensors().items()}


def test_the_digest_is_of_the_table() -> None:
    """Equal tables have one, whatever their memory; another value, name, order, label or split of the same letters has another."""
    x, t, labels = np.array([1, 2], np.float32), np.array(["a", "bc"], object), np.array([0, 1])
    digests = [
        Dataset(columns, labels).digest
        for columns, labels in [
            ({"x": x, "t": t}, labels),
            ({"x": x + np.float32(1), "t": t}, labels),
            ({"y": x, "t": t}, labels),
            ({"t": t, "x": x}, labels),
            ({"x": x, "t": t}, labels[::-1]),
            ({"x": x, "t": np.array(["ab", "c"], object)}, labels),
            ({"x": x[:1], "t": t[:1]}, labels[:1]),
        ]
    ]
    assert len(digests) == len(set(digests))
    strided = np.array([1, 9, 2, 9], np.float32)[::2]
    assert digests[0] == Dataset({"x": strided, "t": t.copy()}, labels.astype(np.int32)).digest


@pytest.mark.parametrize("rows", [slice(1, 3), np.array([False, True, True]), np.array([1, 2])])
def test_rows_are_taken_together_with_their_labels(rows: slice | np.ndarray) -> None:
    """By slice, mask or indices."""
    part = made().take(rows)
    assert ([2.0, 3.0], ["b", "c"], [1, 0]) == (part.columns["x"].tolist(), part.columns["t"].tolist(), part.labels.tolist())
    assert part.times_s is None


def test_times_go_with_their_rows() -> None:
    """They are no part of what a model sees, and so not of the digest."""
    timed = Dataset(made().columns, made().labels, np.array([10.0, 20.0, 30.0]))
    times_s = timed.take(slice(1, 3)).times_s
    assert times_s is not None
    assert [20.0, 30.0] == times_s.tolist()
    assert made().digest == timed.digest
    for wrong in (np.array([1.0, 2.0]), np.array([1.0, np.nan, 3.0])):
        with pytest.raises(DatasetError, match="the times are not one number for each row"):
            Dataset(made().columns, made().labels, wrong)


@pytest.mark.parametrize(
    ("columns", "labels", "text"),
    [
        ({}, [0], "no columns"),
        ({"x": np.zeros(2, np.float32)}, [0], "column 'x' has shape"),
        ({"x": np.zeros((1, 1), np.float32)}, [0], "column 'x' has shape"),
        ({"x": np.zeros(1)}, [0], "column 'x' is float64"),
        ({"x": np.array([np.nan], np.float32)}, [0], "missing or infinite"),
        ({"x": np.zeros(1, np.float32)}, [2], "neither 0 nor 1"),
    ],
)
def test_what_is_no_table_is_refused(columns: dict[str, np.ndarray], labels: list[int], text: str) -> None:
    """The error names the column."""
    with pytest.raises(DatasetError, match=text):
        Dataset(columns, np.array(labels))
