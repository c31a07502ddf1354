"""What tenants hold and have spent, in a table of each worker's region: its own worker writes it, the others read it.

An entry is of one tenant, found by a hash of its name in one of `WAYS` places. A tenant's requests in flight are the sum over all tables,
its rates are spent up to the latest moment in any. So nothing is written by two, and with a dead worker's region what it held is gone.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

SETS, WAYS = 512, 8
ENTRY_WORDS = 8  # a cache line
KEY, IN_FLIGHT, DUE, BYTES_DUE, COUNTS = 0, 1, 2, 3, 4  # words of an entry; the rest counts requests, by outcome
OUTCOMES_MAX = ENTRY_WORDS - COUNTS
USED = 0  # word of the first entry, which is nobody's: whether there are others; its counts are of all tenants without an entry
LEDGER_WORDS = (1 + SETS * WAYS) * ENTRY_WORDS
OTHER = 0  # as a key: every tenant that has none

Words = memoryview  # of int64, LEDGER_WORDS long


def key_of(name: str) -> int:
    """What a tenant is found by: 63 bits of a hash, never 0."""
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=8).digest(), "little") >> 1 or 1


def places(key: int) -> range:
    """Where the entry of a key may be."""
    first = (1 + key % SETS * WAYS) * ENTRY_WORDS
    return range(first, first + WAYS * ENTRY_WORDS, ENTRY_WORDS)


def find(words: Words, key: int) -> int:
    """Where the entry of a key is, or 0."""
    if words[USED]:
        for place in places(key):
            if words[place] == key:
                return place
    return 0


def enter(words: Words, key: int, place: int) -> None:
    """Make an entry at a place that is empty, or whose tenant holds and owes nothing; what it counted goes on in the first."""
    for word in range(COUNTS, ENTRY_WORDS):
        words[word] += words[place + word]
        words[place + word] = 0
    for word in (KEY, IN_FLIGHT, DUE, BYTES_DUE):  # the key first: a reader that knew the old one sees that it is gone
        words[place + word] = 0
    words[place + KEY] = key
    words[USED] = 1


def counts(words: Words) -> Counter[tuple[int, int]]:
    """Requests by key and outcome; `OTHER` for those without an entry."""
    found: Counter[tuple[int, int]] = Counter()
    entries = np.frombuffer(words, np.int64).reshape(-1, ENTRY_WORDS)
    used = entries if words[USED] else entries[:1]  # to read a page of shared memory that nobody wrote takes memory
    rows, outcomes = np.nonzero(used[:, COUNTS:])
    numbers = entries[rows, COUNTS + outcomes]
    for row, outcome, number in zip(rows.tolist(), outcomes.tolist(), numbers.tolist(), strict=True):
        found[int(entries[row, KEY]) if row else OTHER, outcome] += number
    return found


class Tallies:
    """Requests of tenants by outcome, of all workers that there ever were."""

    def __init__(self, ledgers: Iterable[Words]) -> None:
        self._ledgers = list(ledgers)
        self._kept: Counter[tuple[int, int]] = Counter()

    def keep(self, worker: int) -> None:
        """A worker is dead, and its region about to be emptied."""
        self._kept += counts(self._ledgers[worker])

    def of(self, names: Iterable[str], outcomes: Sequence[str]) -> dict[tuple[str, ...], float]:
        """By (tenant, outcome) for these tenants, `_other` for all others together."""
        total = self._kept.copy()
        for ledger in self._ledgers:
            total += counts(ledger)
        named = {key_of(name): name for name in names}
        found: dict[tuple[str, ...], float] = {(name, outcome): 0.0 for name in (*named.values(), "_other") for outcome in outcomes}
        for (key, outcome), count in total.items():
            found[named.get(key, "_other"), outcomes[outcome]] += count
        return found
