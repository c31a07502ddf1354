"""What the rows of one version look like: the columns that are kept, and the contract that says so in every segment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.capture.fields import Column, columns_of
from gateway.capture_settings import CapturePlan
from gateway.protocol.tensors import Signature
from gateway.serving.splits import STABLE, WEIGHT_UNITS, Split
from registry.log_accounts import ARMS
from registry.log_rows import Contract

PLAIN, CANARY, SHADOW, FORCED, FALLBACK = range(len(ARMS))


class Shape:
    """Of one version. Raises `fields.UnfitError` where a policy does not fit an input or output."""

    def __init__(self, signature: Signature, version: int, manifest: str, plan: CapturePlan, key: bytes) -> None:
        batched = signature.max_batch_size > 0
        self.batched = batched
        self.inputs = columns_of(signature.inputs, batched, plan.fields, key)
        self.outputs = columns_of(signature.outputs, batched, plan.fields, key)
        self.columns = [*self.inputs, *self.outputs]
        self._plain = Contract(
            number=0, model=signature.model, version=version, manifest=manifest, sampling=plan.sample,
            inputs=tuple([column.field for column in self.inputs]), outputs=tuple([column.field for column in self.outputs]),
            class_of=_first(self.outputs, ("whole", "number")), score_of=_first(self.outputs, ("number",)),
        )  # fmt: skip

    def contract(self, number: int, split: Split | None = None, arm: int = STABLE) -> Contract:
        """Under this number, while the version is an arm of a rollout, or of none."""
        if split is None:
            return msgspec.structs.replace(self._plain, number=number)
        weights = [other.weight / WEIGHT_UNITS for other in split.arms]
        own = 1.0 - sum(weights) if arm == STABLE else weights[arm - 1]
        propensity = (own, 0.0, 0.0, -1.0, -1.0) if arm == STABLE else (0.0, own, 0.0, -1.0, -1.0)
        return msgspec.structs.replace(self._plain, number=number, rollout=split.rollout, step=split.step, propensity=propensity)


def _first(columns: Sequence[Column], kinds: Sequence[str]) -> int:
    """The place of the first output that is kept as it is and is of the first of these kinds that there is; -1 for none."""
    found = [_kind(column) for column in columns]
    return next((found.index(kind) for kind in kinds if kind in found), -1)


def _kind(column: Column) -> Any:
    datatype = column.field.datatype
    if column.field.policy != "keep" or datatype == "BYTES" or 0 in column.field.dims:
        return None
    return "number" if datatype.startswith(("FP", "BF")) else "whole"
