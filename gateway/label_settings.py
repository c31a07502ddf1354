"""Whether labels are taken, where they lie, and what of them judges versions: for all models, and for one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from gateway.typed_yaml import MisfitError
from registry.label import DEFAULT_NAME, LABEL_NAME

Seconds = Annotated[float, msgspec.Meta(ge=0, le=366 * 86_400)]


class ModelLabels(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which labels judge the versions of one model, and when."""

    name: str = DEFAULT_NAME  # of the label that versions are judged by
    mature_after_s: Seconds = 0.0  # after its request, a label counts at the earliest: so long, that early ones are not preferred
    wait_s: Seconds = 30 * 86_400.0  # for a label; an answer that has none by then is counted as unlabelled
    max_error: Annotated[float, msgspec.Meta(gt=0)] | None = None  # of one number: larger ones count as this; null: no bounds

    def __post_init__(self) -> None:
        if LABEL_NAME.fullmatch(self.name) is None:
            raise MisfitError("name", f"{self.name[:80]!r} does not match {LABEL_NAME.pattern}")
        if self.mature_after_s > self.wait_s:
            raise MisfitError("mature_after_s", "is longer than wait_s, so that no label would ever count")


class Labels(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What came true of answers. See docs/labels.md."""

    enabled: bool = False  # take labels from callers (POST /v1/labels, tidegate.Labels/Ingest), and judge versions by them
    directory: Path | None = None  # of the inference log; null: `log` in processes.state
    evaluate_s: Annotated[float, msgspec.Meta(ge=0.1, le=3600)] = 5.0  # between two looks at what has come
    alpha: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.05  # error of the bounds of each figure, over all looks
    max_waiting: Annotated[int, msgspec.Meta(ge=1_000, le=50_000_000)] = 2_000_000  # answers that wait for a label; of more, a sample
