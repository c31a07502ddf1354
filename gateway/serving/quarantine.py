"""Requests that killed the process of their model twice: remembered by fingerprint for a while, so that sending them again costs nothing.

The table is bounded and forgets: a fingerprint that was refused in error is served again when its time is over. Knows no process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

KILLS = 2  # the first may have been another's fault: a neighbour in the batch, or whoever kills processes
KEPT_S = 600.0
_ENTRIES_MAX = 1_024

Payload = bytes | memoryview | list[str]
Shapes = tuple[tuple[int, ...], ...]


class Quarantine:
    """Of one version. False while it is empty, which it nearly always is: then nothing has to be hashed."""

    def __init__(self, version: str, now: Callable[[], float], *, kept_s: float = KEPT_S, entries_max: int = _ENTRIES_MAX) -> None:
        """`version` names model and number; it is part of every fingerprint."""
        self.refused = 0
        self._version = version.encode()
        self._now = now
        self._kept_s = kept_s
        self._entries_max = entries_max
        self._kills: dict[bytes, tuple[int, float]] = {}  # fingerprint → (kills, when it is forgotten), oldest first

    def __bool__(self) -> bool:
        return bool(self._kills)

    def __len__(self) -> int:
        """How many requests are refused now. From any thread; all else is for the one that runs."""
        now = self._now()
        return sum([kills >= KILLS and until > now for kills, until in list(self._kills.values())])

    def fingerprint(self, shapes: Shapes, data: Sequence[Payload]) -> bytes:
        """What identifies a request: the version and every byte of its inputs."""
        made = hashlib.blake2b(self._version, digest_size=16)
        made.update(repr(shapes).encode())
        for payload in data:
            if isinstance(payload, list):
                texts = [text.encode("utf-8") for text in payload]
                made.update(repr([len(text) for text in texts]).encode())
                made.update(b"".join(texts))
            else:
                made.update(payload)
        return made.digest()

    def add(self, fingerprint: bytes, kills: int = 1) -> None:
        """The request killed so many processes. Past the bound the oldest is forgotten."""
        self._forget()
        before = self._kills.pop(fingerprint, (0, 0.0))[0]
        self._kills[fingerprint] = (before + kills, self._now() + self._kept_s)
        if len(self._kills) > self._entries_max:
            del self._kills[next(iter(self._kills))]

    def refuses(self, fingerprint: bytes) -> bool:
        """Whether the request is refused. Counts those that are."""
        self._forget()
        refused = self._kills.get(fingerprint, (0, 0.0))[0] >= KILLS
        self.refused += refused
        return refused

    def _forget(self) -> None:
        now = self._now()
        while self._kills:
            fingerprint, (_, until) = next(iter(self._kills.items()))
            if until > now:
                return
            del self._kills[fingerprint]
