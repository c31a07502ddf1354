"""Requests that stable took, as the candidate would have been asked: the same tensors under the same names, or a refusal. Pure.

What a caller sent fits the candidate where it has inputs of these names, datatypes and sizes and no others. It is refused otherwise, as it
would be if the candidate were asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gateway.protocol.tensors import Signature, TensorSpec
from gateway.serving.model import Arrays


class Fit:
    """Between the signatures of stable and of a candidate. `joins`: several requests may share a run, row by row, as they did in stable."""

    def __init__(self, stable: Signature, candidate: Signature) -> None:
        places = {spec.name: place for place, spec in enumerate(stable.inputs)}
        wanted = {spec.name: spec.datatype for spec in candidate.inputs}
        self.joins = stable.max_batch_size > 0 and candidate.max_batch_size > 0
        self._known = wanted == {spec.name: spec.datatype for spec in stable.inputs}
        self._order = [places[spec.name] for spec in candidate.inputs] if self._known else []
        self._specs = candidate.inputs
        self._as_rows = stable.max_batch_size > 0

    def given(self, inputs: Sequence[np.ndarray]) -> Arrays | None:
        """The candidate's inputs for what stable was given, [rows of requests, *shape] in its order; None where it refuses them.

        Where requests do not share runs they have to come one by one.
        """
        if not self._known:
            return None
        arrays = [inputs[place] if self._as_rows else inputs[place].reshape(inputs[place].shape[1:]) for place in self._order]
        fits = all([_fits(array, spec) for array, spec in zip(arrays, self._specs, strict=True)])
        return arrays if fits else None


def _fits(array: np.ndarray, spec: TensorSpec) -> bool:
    sizes = zip(spec.shape, array.shape, strict=False)
    return array.ndim == len(spec.shape) and all([said in {-1, size} for said, size in sizes])
