"""What became of one retrain trigger: numbered immutable entries, each holding the digest of the one before. Pure data.

proposed → accepted → running → published | rejected | failed | expired. A trigger without entries is proposed. `rejected` means that data
or candidate did not pass a gate; `failed`, that the job could not do its work; `expired`, that it was no longer worth doing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from registry.entries import NO_ENTRY
from registry.errors import Kind, RegistryError, damaged
from registry.fencing import counted
from registry.formats import FORMAT, decode_state, encode_state
from registry.names import Digest, check_label, check_reason

State = Literal["proposed", "accepted", "running", "published", "rejected", "failed", "expired"]
FINAL: frozenset[State] = frozenset({"published", "rejected", "failed", "expired"})
MAX_DETAILS_BYTES = 64 << 10  # what is larger is evidence, and a blob
_MAY_FOLLOW: Mapping[State, frozenset[State]] = {
    "proposed": frozenset({"accepted", "expired"}),
    "accepted": frozenset({"running", "failed", "expired"}),
    "running": frozenset({"running", "published", "rejected", "failed", "expired"}),  # again: taken over from a job that died
}


class TriggerEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that happened to one trigger."""

    format: int = FORMAT
    model: str
    trigger: str
    seq: int = 0
    prev: Digest = NO_ENTRY
    time: datetime
    actor: str
    state: State
    reason: str = ""  # one sentence
    token: Annotated[int, msgspec.Meta(ge=0)] = 0  # of the claim under which a job wrote it; 0: somebody's own word
    evidence: tuple[Digest, ...] = ()  # blobs that stay as long as the registry
    details: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class TriggerLink:
    """An entry as it was read."""

    entry: TriggerEntry
    digest: str
    key: str


@dataclass(frozen=True, slots=True)
class TriggerJournal:
    """The journal of one trigger as far as it was read; the chain is verified."""

    model: str
    trigger: str
    links: tuple[TriggerLink, ...] = ()

    @property
    def seq(self) -> int:
        """Of the newest entry; 0 before the first."""
        return len(self.links)

    @property
    def tip(self) -> str:
        """The digest of the newest entry."""
        return self.links[-1].digest if self.links else NO_ENTRY

    @property
    def token(self) -> int:
        """The newest under which a job wrote."""
        return max((link.entry.token for link in self.links), default=0)

    @property
    def entries(self) -> tuple[TriggerEntry, ...]:
        """Those that count: one of a job whose claim had been taken over, by an entry before it, does not."""
        return tuple(counted(link.entry for link in self.links))

    @property
    def last(self) -> TriggerEntry | None:
        """The newest that counts."""
        return self.entries[-1] if self.links else None

    @property
    def state(self) -> State:
        """Where it stands."""
        last = self.last
        return last.state if last else "proposed"

    @property
    def final(self) -> bool:
        """Whether it is over."""
        return self.state in FINAL

    @property
    def blobs(self) -> frozenset[str]:
        """Everything that it refers to."""
        return frozenset(digest for link in self.links for digest in link.entry.evidence)

    def detail(self, name: str) -> Any:
        """What the newest entry that speaks of it says; None where none does."""
        return next((entry.details[name] for entry in reversed(self.entries) if name in entry.details), None)

    def following(self, draft: TriggerEntry) -> TriggerEntry:
        """`draft` in its place after the newest entry. Raises `Kind.CONFLICT` where it may not follow, or not from this job."""
        if 0 < draft.token < self.token:
            raise RegistryError(Kind.CONFLICT, f"trigger {self.trigger} has another job: token {draft.token} is older than {self.token}")
        if draft.state not in _MAY_FOLLOW.get(self.state, frozenset()):
            raise RegistryError(Kind.CONFLICT, f"trigger {self.trigger} is {self.state}, so it cannot become {draft.state}")
        return msgspec.structs.replace(draft, seq=self.seq + 1, prev=self.tip)

    def extended(self, link: TriggerLink) -> TriggerJournal:
        """With one entry more. Raises `Kind.DAMAGED` naming the entry that does not follow."""
        entry = link.entry
        if (entry.seq, entry.prev, entry.model, entry.trigger) != (self.seq + 1, self.tip, self.model, self.trigger):
            raise damaged(f"{link.key} does not follow entry {self.seq} of trigger {self.trigger}")
        return TriggerJournal(self.model, self.trigger, (*self.links, link))


def check_entry(entry: TriggerEntry) -> TriggerEntry:
    """`entry` itself. Raises `Kind.INVALID_NAME` for texts that are none, and details that JSON cannot hold or that are too long."""
    check_label(entry.actor, what="actor")
    check_reason(entry.reason)
    try:
        size = len(msgspec.json.encode(entry.details))
    except (TypeError, msgspec.EncodeError) as error:
        raise RegistryError(Kind.INVALID_NAME, f"an entry of trigger {entry.trigger} is none: {error}") from error
    if size > MAX_DETAILS_BYTES:
        raise RegistryError(Kind.INVALID_NAME, f"an entry of trigger {entry.trigger} has more than {MAX_DETAILS_BYTES} bytes of details")
    return entry


def encode(entry: TriggerEntry) -> bytes:
    """Deterministic JSON."""
    return encode_state(entry)


def decode(content: bytes, *, key: str) -> TriggerEntry:
    """The inverse of `encode`. Raises `Kind.DAMAGED` or `Kind.UNSUPPORTED`, naming `key`."""
    return decode_state(content, TriggerEntry, key=key, what="an entry of a retrain trigger")
