"""A systemd unit as systemd reads it: a setting may stand there several times, and an empty one forgets those before it."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

Unit = dict[str, dict[str, list[str]]]


def parse(path: Path) -> Unit:
    """Section → setting → its values in order. AssertionError for a line that is neither."""
    found: Unit = {}
    section: dict[str, list[str]] | None = None
    for line in path.read_text().splitlines():
        if not line.strip() or line.startswith(("#", ";")):
            continue
        if line.startswith("[") and line.endswith("]"):
            section = found.setdefault(line[1:-1], defaultdict(list))
            continue
        name, equals, value = line.partition("=")
        assert section is not None, line
        assert equals, line
        section[name].append(value)
    return found
