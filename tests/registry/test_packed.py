"""Rows in one piece of memory: what was packed comes back, whichever rows are asked for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import packed as packing
from registry.golden import NUMPY_TYPES
from registry.packed import pack, unpack


@given(st.lists(st.text(max_size=5), min_size=1, max_size=12), st.data())
def test_texts_come_back(texts: list[str], data: st.DataObject) -> None:
    """Empty ones and those of several bytes a letter."""
    array = np.array([*texts, None], object)[:-1].reshape(-1, 1)
    found, pieces = pack({"t": array}, {"t": "tensor(string)"})
    start = data.draw(st.integers(0, len(texts) - 1))
    stop = data.draw(st.integers(start + 1, len(texts)))
    assert texts[start:stop] == unpack(found, memoryview(b"".join(pieces)), start, stop)["t"].ravel().tolist()


def test_every_type_comes_back() -> None:
    """Beside each other, in their shapes."""
    arrays = {name: (np.arange(12).reshape(3, 2, 2) % 2).astype(name) for name in NUMPY_TYPES.values() if name != "object"}
    arrays["object"] = np.array([["a", b"b"], ["", "é"], ["c", "d"]], object)
    found, pieces = pack(arrays, {numpy_type: onnx_type for onnx_type, numpy_type in NUMPY_TYPES.items()})
    memory = memoryview(b"".join(pieces))
    assert (3, True) == (found.rows, found.size_bytes <= len(memory))
    rows = unpack(found, memory, 1, 3)
    assert arrays.keys() == rows.keys()
    for name, array in rows.items():
        assert array.dtype == arrays[name].dtype
        np.testing.assert_array_equal(array, arrays[name][1:3])


def test_too_much_is_refused(monkeypatch: pytest.MonkeyPatch, kind_of: Callable[..., str]) -> None:
    """Before it is put together."""
    monkeypatch.setattr(packing, "MAX_PACKED_BYTES", 100)
    text = "invalid_model: the reference rows have more than 100 bytes of inputs"
    assert text == kind_of(lambda: pack({"x": np.zeros((40, 1), np.float32)}, {"x": "tensor(float)"}))
