"""The segment of each row of a batch: by a categorical feature of its inputs, or by a parameter of the requests. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat

import numpy as np

from gateway.drift.plans import WatchPlan, segment_feature
from gateway.protocol.tensors import Signature
from gateway.serving.batch import Item

SegmentsOf = Callable[[Sequence[Item], Sequence[np.ndarray]], np.ndarray]


def dividing(plan: WatchPlan, signature: Signature) -> SegmentsOf | None:
    """int64 [rows] for the requests and inputs of a batch; None where traffic is not divided, or by a tensor that there is not."""
    if not plan.segments:
        return None
    if plan.segment_parameter is not None:
        return _by_parameter
    feature = segment_feature(plan)
    places = [place for place, spec in enumerate(signature.inputs) if feature is not None and spec.name == feature.port]
    if feature is None or not places:
        return None
    known = feature.categories[: len(plan.segments) - 1]
    segments: dict[object, int] = {category: segment for segment, category in enumerate(known)}
    segments |= {category.encode(): segment for segment, category in enumerate(known) if isinstance(category, str)}
    return _by_feature(places[0], feature.element, segments)


def _by_parameter(items: Sequence[Item], _inputs: Sequence[np.ndarray]) -> np.ndarray:
    return np.repeat([item.segment for item in items], [item.rows for item in items])


def _by_feature(place: int, element: int, segments: dict[object, int]) -> SegmentsOf:
    def find(_items: Sequence[Item], inputs: Sequence[np.ndarray]) -> np.ndarray:
        array = inputs[place]
        values = array.reshape(len(array), -1)[:, element].tolist()
        return np.fromiter(map(segments.get, values, repeat(-1)), np.int64, len(values))

    return find
