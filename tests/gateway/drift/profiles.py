"""Small profiles by hand."""

from __future__ import annotations

import numpy as np

from registry.profile import SCORE_BINS as BINS
from registry.profile import Calibration, Categorical, Numeric, Profile


def numeric(name: str, *, port: str = "x", element: int = 0, rows: int = 1_000, bins: int = 4) -> Numeric:
    """Values evenly between 0 and `bins`."""
    each = rows // bins
    counts = (0, 0, *[each] * bins, 0, 0, rows - each * bins)
    edges = (float(np.nextafter(0.0, -1.0)), *map(float, range(1, bins + 1)))
    return Numeric(
        name=name, side="input", port=port, element=element, edges=edges, counts=counts, mean=bins / 2, m2=bins**2 / 12, m3=0.0, m4=1.0
    )


def categorical(name: str, *, port: str = "c", rows: int = 1_000) -> Categorical:
    """Two categories."""
    half = rows // 2
    return Categorical(name=name, side="input", port=port, element=0, categories=("a", "b"), counts=(half, rows - half, 0, 0))


def profile(*, features: int = 2, calibration: bool = False, rows: int = 1_000) -> Profile:
    """`features` numbers of one tensor and one category."""
    zeros = (0.0,) * BINS
    table = Calibration(port="p", element=1, threshold=0.5, positives=zeros, errors=zeros, counts=(0,) * BINS, accuracy=0.5, auc=0.5)
    return Profile(
        rows=rows,
        source="training",
        numeric=tuple(numeric(f"x[{index}]", element=index, rows=rows) for index in range(features)),
        categorical=(categorical("c", rows=rows),),
        calibration=table if calibration else None,
    )
