"""The journal of a rollout as it grows: told of each entry within microseconds of its being there, and what all of them came to."""

from __future__ import annotations

import ctypes
import os
import select
from collections.abc import Sequence
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from gateway.clock import SystemClock
from gateway.rollout.admission import read_plan
from gateway.rollout.directive import Directive, directive
from gateway.rollout.plan import WEIGHT_UNITS, Plan
from gateway.rollout.standing import Standing, fold
from gateway.rollout.tally import Tally
from registry.entries import AliasMoved
from registry.rollout_entries import RolloutEntry
from registry.store import Store
from tests.e2e.rolling import PATIENCE_S, Callers

_CREATED = 0x100  # linux/inotify.h
LAG_S = 15.0  # in which whoever serves follows a journal, on a machine that does much else


class Watch:
    """New files of a directory, by inotify: nothing is asked again and again, so nothing has happened since when one is told."""

    def __init__(self, directory: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init1(os.O_CLOEXEC)
        assert 0 <= libc.inotify_add_watch(self._fd, os.fsencode(directory), _CREATED), os.strerror(ctypes.get_errno())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def told(self, seconds: float) -> bool:
        """Whether there was one within so many seconds."""
        if not select.select([self._fd], [], [], seconds)[0]:
            return False
        os.read(self._fd, 1 << 16)
        return True


class Away(NamedTuple):
    """When nobody served: from a kill until the next server was ready. Wall times."""

    since_s: float
    until_s: float


class Record:
    """The journal of rollout m-1, whatever wrote it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = Store.open(root)
        self._known = self.store.rollouts.read("m-1")
        self.plan: Plan = read_plan(self.store, self._known)

    @property
    def directory(self) -> Path:
        return self.root / "rollouts" / "m" / f"{1:08d}" / "journal"

    @property
    def seq(self) -> int:
        """Of the newest entry."""
        self._known = self.store.rollouts.journal("m", 1, self._known)
        return self._known.seq

    @property
    def entries(self) -> tuple[RolloutEntry, ...]:
        """All that count."""
        assert self.seq
        return self._known.entries

    @property
    def events(self) -> list[str]:
        """In order, without those by which somebody takes over."""
        return [entry.event for entry in self.entries if entry.event != "lead"]

    @property
    def standing(self) -> Standing:
        return fold(self.plan, self.entries)

    def moves(self) -> list[tuple[int | None, int]]:
        """Of the alias, from the first on."""
        return [(entry.from_version, entry.to) for entry in self.store.history("m") if isinstance(entry, AliasMoved)]

    def check_words(self) -> None:
        """Who decides has said so before, and whoever decided before it said nothing that counts after that."""
        newest = 1
        for entry in self.entries:
            if entry.token:
                assert entry.token == newest or (entry.token > newest and entry.event == "lead"), entry
                newest = entry.token

    def check_evidence(self, callers: Callers) -> None:
        """What an entry was decided by is still there in the next one, and nobody's call counts twice.

        Every user calls once, so no arm can have more units than it had calls. What was lost on the way may have been counted.
        """
        counted = [self._arrived(entry) for entry in self.entries if entry.checkpoint is not None]
        for before, after in pairwise(counted):
            assert (after >= before).all(), (before, after)
        arms, lost = callers.arms(), len(callers.lost)
        calls = [arms["stable"], arms["canary"] + arms["fallback"]]
        assert (counted[-1].sum(axis=0) <= np.array(calls) + lost).all(), (counted[-1], calls, lost)

    def check_assigned(self, callers: Callers) -> None:
        """Every answer is of the arm that the page about rollouts says, by a weight that held while it was asked for."""
        held = self._held()
        salt = bytes.fromhex(self.standing.begun.salt)
        for one in callers.answers:
            share = _share(salt, one.user)
            weights = [asked.weight for since_s, until_s, asked in held if since_s <= one.ended_s and one.began_s <= until_s + LAG_S]
            if one.arm in {"canary", "fallback"}:
                assert any(share < weight for weight in weights), (one, weights)
            elif one.arm == "stable":
                assert any(share >= weight for weight in weights), (one, weights)

    def _held(self) -> list[tuple[float, float, Directive]]:
        """Since when and until when a server had to do what."""
        entries = self.entries
        until = [entry.time.timestamp() for entry in entries[1:]] + [np.inf]
        asked = [directive(fold(self.plan, entries[: count + 1])) for count in range(len(entries))]
        return [(entry.time.timestamp(), end_s, one) for entry, end_s, one in zip(entries, until, asked, strict=True)]

    def _arrived(self, entry: RolloutEntry) -> np.ndarray:
        """Units by step and arm, as the entry's checkpoint has them."""
        assert entry.checkpoint is not None
        tally = Tally.restore(self.plan, self.store.read_blob(entry.checkpoint))
        return tally._counting.arrived.copy()


def check_lost(callers: Callers, away: Sequence[Away], *, lag_s: float = 2.0) -> None:
    """Who was told that nobody is there called while nobody was."""
    for lost in callers.lost:
        assert any(one.since_s <= lost.ended_s <= one.until_s + lag_s for one in away), (lost, away)


def _share(salt: bytes, user: str) -> float:
    """Where a user stands among all, in `WEIGHT_UNITS`, by the formula of docs/rollouts.md."""
    text = b"".join(len(part).to_bytes(4, "little") + part for part in (b"m", b"x-user", user.encode()))
    return int.from_bytes(blake2b(text, digest_size=8, key=salt).digest(), "little") / 2**64 * WEIGHT_UNITS


def awaited(record: Record, watch: Watch, seq: int) -> None:
    """Until there is an entry after the first `seq`."""
    clock = SystemClock()
    end = clock.now() + PATIENCE_S
    while record.seq <= seq:
        assert clock.now() < end, f"nothing follows {record.events}: {record.standing.reason}"
        watch.told(0.1)
