"""What an importer gives: an ONNX file of somebody else's layout with all that `publish` takes, and what of that layout was let go."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from registry.errors import refused
from registry.parts import Parts


@dataclass(frozen=True, slots=True)
class Imported:
    """One version: publish(store, imported.path, name=…, parts=imported.parts, …)."""

    name: str  # of the model there, "" where its layout has none
    version: int | None  # its number there
    path: Path
    parts: Parts
    dropped: tuple[str, ...]  # settings that are there and were let go, as the caller allowed


@dataclass(slots=True)
class Settings:
    """Settings that cannot be honoured, each refused by name unless the caller lets it go."""

    source: str  # what they are written in, for the reason
    may_drop: Collection[str]
    remedy: str = "allow it to be dropped, or remove it"
    dropped: list[str] = field(default_factory=list)

    def refuse(self, name: str, why: str = "this server has no such setting") -> None:
        """Raises `Kind.INVALID_MODEL` unless `name`, or a section that it is in, may be dropped."""
        sections = [name[:end] for end in range(1, len(name) + 1) if end == len(name) or name[end] == "."]
        if not set(sections) & set(self.may_drop):
            raise refused(f"{self.source} sets '{name}', which cannot be honoured: {why}; {self.remedy}")
        self.dropped.append(name)
