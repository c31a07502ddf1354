"""Versions with small profiles, made by hand: reference counts are whatever adds up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gateway.drift.layout import layout_of
from gateway.drift.recorder import Recorder
from gateway.drift.tables import tables_of
from gateway.protocol.tensors import Signature, TensorSpec
from registry.profile import Categorical, Numeric, Profile


def numeric(name: str, port: str, element: int = 0, *, edges: Sequence[float] = (-1.0, 0.0, 1.0), **more: Any) -> Numeric:
    """One row of the reference in the first bin."""
    counts = [0] * (len(edges) + 4)
    counts[2] = 1
    given = {"side": "input", "mean": 0.25, "m2": 1.0, "m3": 0.0, "m4": 3.0, **more}
    return Numeric(name=name, port=port, element=element, edges=tuple(edges), counts=tuple(counts), **given)


def categorical(name: str, port: str, categories: Sequence[str | int], element: int = 0, **more: Any) -> Categorical:
    """One row of the reference that is other."""
    counts = [0] * (len(categories) + 2)
    counts[-2] = 1
    given = {"side": "input", **more}
    return Categorical(name=name, port=port, element=element, categories=tuple(categories), counts=tuple(counts), **given)


def profile(*features: Numeric | Categorical, **more: Any) -> Profile:
    """Of one row."""
    numbers = tuple(feature for feature in features if isinstance(feature, Numeric))
    others = tuple(feature for feature in features if isinstance(feature, Categorical))
    return Profile(rows=1, source="training", numeric=numbers, categorical=others, **more)


class Recorded:
    """A version with a profile, and the block that its batches are counted in."""

    def __init__(self, profile: Profile, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec] = (), **more: int) -> None:
        self.layout = layout_of(profile, **more)
        self.signature = Signature("m", tuple(inputs), tuple(outputs), 64)
        self.block = np.zeros(self.layout.words, np.int64)
        self.views = self.layout.views(self.block)
        self.views.begin(self.layout.checksum)
        self.tables = tables_of(profile, self.layout, self.signature)
        self.recorder = Recorder(self.tables, self.layout, self.views)
        self.record = self.recorder.record

    def counts(self, group: int = 0) -> list[list[int]]:
        """Of a numeric group, over all segments: [features, slots]."""
        return self.views.counts[group].sum(axis=0).tolist()
