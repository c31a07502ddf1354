"""Which entries of a journal count, where holders of claims write them: a token is the number of a claim, later ones are greater."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar


class Fenced(Protocol):
    """An entry. Token 0: somebody's own word, under no claim."""

    @property
    def token(self) -> int:
        """Of the claim under which it was written."""
        ...


E = TypeVar("E", bound=Fenced)


def counted(entries: Iterable[E]) -> list[E]:
    """Without those that carry an older token than one before them: their writer had been taken over."""
    found, newest = [], 0
    for entry in entries:
        if entry.token == 0 or entry.token >= newest:
            found.append(entry)
            newest = max(newest, entry.token)
    return found
