"""A profile from the rows that a version served first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gateway.drift.learned import Tensor
from registry.columns import Column
from registry.profile import Profile
from registry.profiling import profile_of
from registry.schema import Schema


def profile_of_rows(tensors: Sequence[Tensor], arrays: Sequence[np.ndarray], schema: Schema | None) -> Profile:
    """`arrays`: [rows, *shape] of each tensor. Raises `Kind.INVALID_MODEL` where nothing of them can be profiled."""
    columns = [Column(tensor.side, tensor.name, array) for tensor, array in zip(tensors, arrays, strict=True) if tensor.datatype != "BF16"]
    return profile_of(columns, source="served", schema=schema).profile
