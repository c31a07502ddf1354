"""The totals of a server's counters by name, kept over its restarts: one state file, replaced whole.

What is not a checkpoint of this release is set aside under another name, never overwritten and never a reason not to serve. Knows names
and numbers, not what is counted.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

import msgspec

from registry.errors import Kind, RegistryError
from registry.formats import FORMAT, decode_checked, encode_checked
from registry.state_directory import StateDirectory

KEY = "totals.json"
_ASIDE = re.compile(r"set-aside-([0-9]{1,9})-totals\.json")

Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was counted under one name."""

    model: str
    version: str
    requests: dict[str, Count]  # by outcome
    counts: dict[str, tuple[Count, ...]]  # by histogram: one for each edge, and one for what is above all
    sums: dict[str, float]  # by histogram, and by what else is summed
    shadow: dict[str, Count] = {}  # of requests whose shadow it was, by outcome


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that a server had counted when it was saved."""

    format: int = FORMAT
    saved: datetime
    edges: dict[str, tuple[float, ...]]  # by histogram: upper bounds of its buckets
    rows: tuple[Row, ...]
    overflow: dict[str, Count]  # by reason
    counters: dict[str, Count]
    check: str = ""


class CheckpointFile:
    """The checkpoint in a state directory."""

    def __init__(self, directory: StateDirectory) -> None:
        self._medium = directory.medium
        self._in_the_way = ""  # why `KEY` holds something that must not be overwritten

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the file, durably. Raises `Kind.STORAGE`."""
        if self._in_the_way:
            raise RegistryError(Kind.STORAGE, self._in_the_way)
        self._medium.replace(KEY, encode_checked(checkpoint), durable=True)

    def load(self) -> tuple[Checkpoint | None, str]:
        """What was saved last, if anything, and what was wrong with the file: "" for nothing. Raises nothing for what is in it."""
        try:
            content = self._medium.read(KEY)
            return (None if content is None else decode_checked(content, Checkpoint, key=KEY, what="a checkpoint")), ""
        except RegistryError as error:
            return None, self.set_aside(error.message)

    def set_aside(self, problem: str) -> str:
        """Keep the file under another name. Returns `problem` and where the file is; where it could not be moved, nothing is saved."""
        try:
            name = f"set-aside-{1 + self._last_aside()}-totals.json"
            self._medium.copy(KEY, name)
            self._medium.remove(KEY)
        except RegistryError as error:
            self._in_the_way = f"{problem}; it is in the way of new totals: {error.message}"
            return self._in_the_way
        return f"{problem}; set aside as {self._medium.root / name}"

    def _last_aside(self) -> int:
        return max((int(found[1]) for name in self._medium.names("") if (found := _ASIDE.fullmatch(name))), default=0)


def moment(now_s: float) -> datetime:
    """Seconds since the Unix epoch as `Checkpoint.saved`."""
    return datetime.fromtimestamp(now_s, UTC)
