"""What labels are joined with what was answered, and by which rules: a definition that is the same wherever it is carried out. Pure.

An answer is one row of the inference log with status OK: (request, row, arm). All arms of a request share its labels.

1. A label counts if it had arrived by `as_of`, and if no label that had arrived supersedes it.
2. It is for the rows with its client_request_id; else, where it has none or finds nothing, for the row with its request_id; else for the
   unit's last request at or before its event and at most `window_s` before it, of several at one time the one with the greatest id. Always
   for the row of that number.
3. Of several labels of one row the final ones come first, then the one that arrived last, then the one with the greatest label_id.
4. A row is mature `mature_after_s` after the request; a row that is not has no label yet, so that what comes early is not preferred.
5. With `negative_after_s`, a mature row without a label is a 0 once that long has passed.
6. With `time` "event" a row was when what its label says came true: it is mature by that time, and no request is too late for `as_of`. So
   histories that are asked and filled in later are as old as what happened in them.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import msgspec

from registry.commit_chain import moment
from registry.label import DEFAULT_NAME, MAX_TIME_US

Seconds = Annotated[float, msgspec.Meta(ge=0, le=10 * 366 * 86_400)]
DELAY_STEP = 1.01  # delays are known to a factor of it
QUANTILES = (0.5, 0.9, 0.99, 1.0)


class JoinSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One join. Times are microseconds since the Unix epoch; of requests, `since_us` is included and `until_us` is not."""

    model: str
    as_of_us: int
    name: str = DEFAULT_NAME
    since_us: int = 0
    until_us: int | None = None  # None: as_of
    arms: tuple[str, ...] = ()  # none: all
    window_s: Seconds = 86_400.0
    mature_after_s: Seconds = 0.0
    negative_after_s: Seconds | None = None
    time: Literal["request", "event"] = "request"

    @property
    def end_us(self) -> int:
        """The first moment of requests that are not taken."""
        if self.time == "event":
            return MAX_TIME_US if self.until_us is None else self.until_us
        return self.as_of_us + 1 if self.until_us is None else min(self.until_us, self.as_of_us + 1)

    @property
    def digest(self) -> str:
        """Equal for equal joins."""
        return "sha256:" + hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()


class JoinReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a join found. Answers first, then labels."""

    rows: int
    mature: int
    labelled: int  # mature rows with a label
    timeouts: int  # mature rows that are 0 for want of a label
    early: int  # rows that have a label and are not mature
    delays_s: dict[str, float]  # by quantile, from the request to the arrival of the label that counts; empty where there is none
    labels: int  # that count, whatever they are for
    superseded: int
    matched: dict[str, int]  # by key: client, request, unit
    orphans: int  # that are for no row
    replaced: int  # times that a label was for a row which has a better one
    duplicates: int  # copies of a label of the same id and row: more than 0 only where files were written by something else

    @property
    def match_rate(self) -> float:
        """Of mature rows, those with a label."""
        return self.labelled / self.mature if self.mature else 0.0

    def document(self) -> dict[str, object]:
        """As JSON."""
        return {"match_rate": round(self.match_rate, 6), **msgspec.structs.asdict(self)}


def delay_quantiles(buckets: dict[int, int]) -> dict[str, float]:
    """Upper ends, in seconds, of the buckets in which quantiles lie. `buckets`: `delay_bucket` → how many."""
    total, found = sum(buckets.values()), {}
    for quantile in QUANTILES if total else ():
        passed = 0
        for bucket, count in sorted(buckets.items()):
            passed += count
            if passed >= quantile * total:
                found[f"p{quantile * 100:g}"] = round(DELAY_STEP**bucket, 6)
                break
    return found


def shown(spec: JoinSpec) -> str:
    """For people."""
    return f"'{spec.name}' of model '{spec.model}' as of {moment(spec.as_of_us).isoformat(timespec='seconds')}"
