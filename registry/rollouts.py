"""Rollouts: what was decided about new versions that meet traffic, durable and in order. The journal is what every server follows.

Owns `rollouts/<model>/<number>/` and its cache `rollouts/<model>/head.json`. Rollouts of a model are numbered from 1; the first entry of a
journal claims the number by create-if-absent, and so does every later entry its place. **The open rollout with the lowest number is the one
that may act**; those after it wait. What an entry means is the rollout machine's to say (`gateway/rollout`); nothing here decides.

The cache says up to which number all rollouts are over, which never ceases to be true: it spares readers the old ones, and nothing else.
A registry that has no rollouts has no such directory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import msgspec

from registry.errors import Kind, RegistryError, damaged
from registry.formats import FORMAT, decode_checked, encode_checked
from registry.medium import Medium
from registry.names import MODEL_NAME, check_model_name, digest_of, number_of, numbered
from registry.rollout_claims import RolloutClaims
from registry.rollout_entries import (
    RolloutEntry,
    RolloutJournal,
    RolloutLink,
    check_entry,
    decode,
    directory_of,
    encode,
    journal_key,
    model_and_number,
    rollout_id,
)

_DIGITS = 8


class _Over(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The cache of one model."""

    format: int = FORMAT
    model: str
    through: int  # every rollout up to this number is over
    check: str = ""


class Rollouts:
    """The rollouts of one registry. Readers take no locks and write nothing."""

    def __init__(self, medium: Medium) -> None:
        self._medium = medium

    def models(self) -> list[str]:
        """Those that ever had a rollout."""
        return [name for name in self._medium.names("rollouts") if MODEL_NAME.fullmatch(name)]

    def numbers(self, model: str) -> list[int]:
        """Of all rollouts of a model, ascending; one whose first entry was not written is among them. Raises `Kind.INVALID_NAME`."""
        names = self._medium.names(f"rollouts/{check_model_name(model)}")
        return sorted(int(name) for name in names if len(name) == _DIGITS and name.isascii() and name.isdigit() and int(name))

    def ids(self, model: str) -> list[str]:
        """What the rollouts of a model are called, oldest first. Raises `Kind.INVALID_NAME`."""
        return [rollout_id(model, number) for number in self.numbers(model)]

    def read(self, rollout: str) -> RolloutJournal:
        """A journal by what people call it. Raises `Kind.NOT_FOUND`, `Kind.INVALID_NAME`, `Kind.DAMAGED` naming the entry."""
        model, number = model_and_number(rollout)
        journal = self.journal(model, number)
        if not journal.links:
            raise RegistryError(Kind.NOT_FOUND, f"there is no rollout {rollout}")
        return journal

    def journal(self, model: str, number: int, known: RolloutJournal | None = None) -> RolloutJournal:
        """A journal, empty where there is none; only what is past `known` is read. Raises `Kind.DAMAGED` naming the entry."""
        journal = RolloutJournal(check_model_name(model), number, ()) if known is None else known
        last = self.last_seq(journal)
        for link in self._links(journal, last):
            journal = journal.extended(link)
        return journal

    def last_seq(self, journal: RolloutJournal) -> int:
        """Number of the newest entry, at least that of `journal`: one list call."""
        after = numbered(journal.seq) if journal.seq else ""
        names = self._medium.names(f"{directory_of(journal.model, journal.number)}/journal", after=after)
        return max((number_of(name) or 0 for name in names), default=0) or journal.seq

    def open(self, model: str) -> list[RolloutJournal]:
        """Those of a model that are not over, oldest first: the first one may act. Raises `Kind.DAMAGED`."""
        through = self.over_through(model)
        journals = (self.journal(model, number) for number in self.numbers(model) if number > through)
        return [journal for journal in journals if journal.links and not journal.final]

    def with_version(self, model: str, version: int) -> list[str]:
        """What the open rollouts are called that a version is pinned by. Raises `Kind.DAMAGED`."""
        return [journal.id for journal in self.open(model) if version in journal.pins]

    def active(self) -> list[RolloutJournal]:
        """Those of all models that are not over. Raises `Kind.DAMAGED`; `rollout_tips` goes on past damage."""
        return [journal for model in self.models() for journal in self.open(model)]

    def all(self) -> list[RolloutJournal]:
        """Every rollout that there ever was. Raises `Kind.DAMAGED`."""
        every = (self.journal(model, number) for model in self.models() for number in self.numbers(model))
        return [journal for journal in every if journal.links]

    def last(self, model: str) -> RolloutJournal:
        """The newest rollout of a model, which may be over; the one before the first is empty. Raises `Kind.DAMAGED`."""
        for number in reversed(self.numbers(model)):
            journal = self.journal(model, number)
            if journal.links:
                return journal
        return RolloutJournal(check_model_name(model), 0, ())

    def begin(self, model: str, number: int, draft: RolloutEntry) -> RolloutJournal | None:
        """Make rollout `number` begin with `draft`. None where another one has that number; then look anew.

        Numbers have no gaps: the one before is there. Raises `Kind.INVALID_NAME`, `Kind.STORAGE`.
        """
        if number > 1 and not self.last_seq(RolloutJournal(model, number - 1, ())):
            raise RegistryError(Kind.CONFLICT, f"there is no rollout {rollout_id(model, number - 1)} for the next one to follow")
        return self.append(RolloutJournal(check_model_name(model), number, ()), draft)

    def append(self, journal: RolloutJournal, draft: RolloutEntry) -> RolloutJournal | None:
        """Add `draft` after the newest entry. None where another writer was first; then read again.

        Raises `Kind.CONFLICT` where the rollout is over, or `draft` carries an older token than the journal; `Kind.INVALID_NAME`. After
        `Kind.STORAGE` it may or may not be there.
        """
        entry = check_entry(journal.following(draft))
        content, key = encode(entry), journal_key(journal.model, journal.number, entry.seq)
        after = journal.extended(RolloutLink(entry, digest_of(content), key))  # first: what would be damage is not written
        self._medium.make_directory(f"{directory_of(journal.model, journal.number)}/journal")
        if not self._medium.create(key, content):
            return None
        if after.final:
            with suppress(RegistryError):  # only the cache
                self.remember(journal.model)
        return after

    def claims(self, model: str, number: int) -> RolloutClaims:
        """Who may decide about a rollout."""
        return RolloutClaims(self._medium, check_model_name(model), number, rollout=rollout_id(model, number))

    def remember(self, model: str) -> None:
        """Write the cache. Its loss costs the next reader time, nothing else."""
        before = through = self.over_through(model)
        for number in self.numbers(model):
            if number > through:
                if number != through + 1 or not self.journal(model, number).final:
                    break
                through = number
        if through > before:
            self._medium.replace(_head(model), encode_checked(_Over(model=model, through=through)))

    def over_through(self, model: str) -> int:
        """Every rollout up to this number is over, by the cache; 0 where that is absent or not intact."""
        with suppress(RegistryError):
            content = self._medium.read(_head(model))
            if content is not None:
                said = decode_checked(content, _Over, key=_head(model), what="a cache of rollouts")
                return said.through if said.model == model else 0
        return 0

    def _links(self, journal: RolloutJournal, last: int) -> Iterator[RolloutLink]:
        for seq in range(journal.seq + 1, last + 1):
            key = journal_key(journal.model, journal.number, seq)
            content = self._medium.read(key)
            if content is None:
                raise damaged(f"{key} is missing, although entry {last} exists")
            yield RolloutLink(decode(content, key=key), digest_of(content), key)


def _head(model: str) -> str:
    return f"rollouts/{model}/head.json"
