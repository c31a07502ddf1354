"""What the journal of a rollout is made of: numbered immutable entries, each holding the digest of the one before. Pure data.

Phases and events are words here: which may follow which is the rollout machine's to say. What the registry has to know is said apart:
which blobs an entry refers to, which versions the rollout needs while it goes on, and whether anything may follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

from registry.entries import NO_ENTRY
from registry.errors import Kind, RegistryError, damaged
from registry.fencing import counted
from registry.formats import FORMAT, decode_state, encode_state
from registry.names import MAX_REASON, Digest, check_label, check_model_name, check_reason, numbered

Word = Annotated[str, msgspec.Meta(pattern=r"\A[a-z][a-z_]{0,31}\Z")]
Token = Annotated[int, msgspec.Meta(ge=0)]
MAX_DETAILS_BYTES = 64 << 10  # what is larger is evidence, and a blob


class RolloutEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"from_phase": "from", "to_phase": "to"}):
    """One thing that happened to one rollout."""

    format: int = FORMAT
    rollout: str
    model: str
    seq: int = 0
    prev: Digest = NO_ENTRY
    time: datetime
    actor: str
    event: Word
    from_phase: Word | None = None  # None: the rollout begins
    to_phase: Word
    step: int = 0  # of the plan, after this
    reason: str = ""  # one sentence
    evidence: tuple[Digest, ...] = ()  # blobs that stay as long as the registry
    checkpoint: Digest | None = None  # a blob to go on counting from; of an open rollout the newest is kept
    pins: tuple[int, ...] = ()  # versions that may not lose their files while the rollout is open
    token: Token = 0  # of the claim under which a controller wrote it; 0: somebody's own word
    final: bool = False  # nothing follows
    details: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class RolloutLink:
    """An entry as it was read."""

    entry: RolloutEntry
    digest: str
    key: str


@dataclass(frozen=True, slots=True)
class RolloutJournal:
    """The journal of one rollout as far as it was read; the chain is verified."""

    model: str
    number: int
    links: tuple[RolloutLink, ...]

    @property
    def id(self) -> str:
        """What people call it."""
        return rollout_id(self.model, self.number)

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
        """The newest under which a controller wrote."""
        return max((link.entry.token for link in self.links), default=0)

    @property
    def entries(self) -> tuple[RolloutEntry, ...]:
        """Those that count. One of a controller whose claim had been taken over, by an entry before it, does not."""
        return tuple(counted(link.entry for link in self.links))

    @property
    def final(self) -> bool:
        """Whether it is over."""
        return any(entry.final for entry in self.entries)

    @property
    def pins(self) -> frozenset[int]:
        """Versions that it needs."""
        return frozenset(pin for entry in self.entries for pin in entry.pins)

    @property
    def blobs(self) -> frozenset[str]:
        """Everything that it refers to: evidence of all entries and, while it is open, the newest checkpoint."""
        found = frozenset(digest for link in self.links for digest in link.entry.evidence)
        last = next((entry.checkpoint for entry in reversed(self.entries) if entry.checkpoint), None)
        return found if last is None or self.final else found | {last}

    def following(self, draft: RolloutEntry) -> RolloutEntry:
        """`draft` in its place after the newest entry. Raises `Kind.CONFLICT` where nothing may follow, or not by this controller."""
        if self.final:
            raise RegistryError(Kind.CONFLICT, f"rollout {self.id} is over")
        if 0 < draft.token < self.token:
            raise RegistryError(Kind.CONFLICT, f"rollout {self.id} has another controller: token {draft.token} is older than {self.token}")
        return msgspec.structs.replace(draft, seq=self.seq + 1, prev=self.tip)

    def extended(self, link: RolloutLink) -> RolloutJournal:
        """With one entry more. Raises `Kind.DAMAGED` naming the entry that does not follow."""
        entry = link.entry
        if (entry.seq, entry.prev, entry.model, entry.rollout) != (self.seq + 1, self.tip, self.model, self.id):
            raise damaged(f"{link.key} does not follow entry {self.seq} of rollout {self.id}")
        if self.final:
            raise damaged(f"{link.key} follows the last entry of rollout {self.id}")
        return RolloutJournal(self.model, self.number, (*self.links, link))


def check_entry(entry: RolloutEntry) -> RolloutEntry:
    """`entry` itself. Raises `Kind.INVALID_NAME` for texts that are none, words that are none, and details that are too long."""
    check_label(entry.actor, what="actor")
    check_reason(entry.reason)
    try:
        size = len(msgspec.json.encode(entry.details))
        msgspec.convert(msgspec.to_builtins(entry), RolloutEntry)
    except (TypeError, msgspec.ValidationError) as error:
        raise RegistryError(Kind.INVALID_NAME, f"an entry of rollout {entry.rollout} is none: {error}") from error
    if size > MAX_DETAILS_BYTES:
        raise RegistryError(Kind.INVALID_NAME, f"an entry of rollout {entry.rollout} has more than {MAX_DETAILS_BYTES} bytes of details")
    return entry


def sentence(text: str) -> str:
    """A text as the reason of an entry: printable and at most 1000 characters."""
    clean = "".join(character if character.isprintable() else " " for character in text)
    return clean if len(clean) <= MAX_REASON else clean[: MAX_REASON - 1] + "…"


def moment(now_s: float) -> datetime:
    """Seconds since the Unix epoch as an entry has them."""
    return datetime.fromtimestamp(now_s, UTC)


def rollout_id(model: str, number: int) -> str:
    """What people call the rollout with this number."""
    return f"{model}-{number}"


def model_and_number(rollout: str) -> tuple[str, int]:
    """The inverse of `rollout_id`. Raises `Kind.INVALID_NAME`."""
    model, dash, digits = rollout.rpartition("-")
    number = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 8 else 0
    if not dash or not number or rollout_id(model, number) != rollout:
        raise RegistryError(Kind.INVALID_NAME, f"{rollout[:160]!r} is no rollout: one is called <model>-<number>")
    return check_model_name(model), number


def journal_key(model: str, number: int, seq: int) -> str:
    """Where an entry lies."""
    return f"{directory_of(model, number)}/journal/{numbered(seq)}"


def directory_of(model: str, number: int) -> str:
    """Where everything of a rollout lies."""
    return f"rollouts/{model}/{number:08d}"


def encode(entry: RolloutEntry) -> bytes:
    """Deterministic JSON."""
    return encode_state(entry)


def decode(content: bytes, *, key: str) -> RolloutEntry:
    """The inverse of `encode`. Raises `Kind.DAMAGED` or `Kind.UNSUPPORTED`, naming `key`."""
    return decode_state(content, RolloutEntry, key=key, what="an entry of a rollout")
