"""Retrain triggers: why a model should be trained again, written once, claimed by a job, and what came of it.

Owns `triggers/<model>/`. A trigger's id follows from what raised it, so replicas that see the same drift in the same stretch of time write
the same file, and create-if-absent keeps the first. What became of it is a journal beside it (`trigger_entries`). A model has one job at a
time: a claim is a numbered file in `claims/`, of one trigger; the number is the fencing token that the job shows in the journal before it
publishes, and only the next number takes an expired claim over. Knows no clock and no statistics.
"""

from __future__ import annotations

import hashlib
import math
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec

from registry.errors import Kind, RegistryError, damaged
from registry.formats import FORMAT, decode_checked, encode_checked
from registry.medium import Medium
from registry.names import Digest, check_label, check_model_name, check_reason, digest_of, number_of, numbered
from registry.trigger_entries import TriggerEntry, TriggerJournal, TriggerLink, check_entry, decode, encode

BUCKET_S = 86_400.0  # one trigger a day of one version for one reason
MAX_FEATURES = 4_096
_FILE = re.compile(r"([0-9a-f]{32})\.json")
_ID = re.compile(r"[0-9a-f]{32}")

Version = Annotated[int, msgspec.Meta(ge=1)]


class Window(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The traffic that a trigger speaks of."""

    start: datetime
    end: datetime
    rows: Annotated[int, msgspec.Meta(ge=0)]


class Trigger(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One finding that asks for a new version. The file is immutable."""

    format: int = FORMAT
    id: str
    model: str
    version: Version  # that drifted
    manifest: Digest  # of that version
    rule: str  # what was broken, as a word: "prediction_drift"
    reason: str  # one sentence
    features: tuple[str, ...]  # by name, the worst first
    evidence: dict[str, float]  # figures by name, finite
    window: Window
    proposer: str  # which server
    created: datetime
    check: str = ""


class Claim(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One job's hold on one trigger, and with it on the retraining of its model."""

    format: int = FORMAT
    trigger: str
    token: int  # of later claims greater ones
    holder: str
    expires: datetime
    check: str = ""


class Triggers:
    """The triggers of one registry. Nobody waits for anybody."""

    def __init__(self, medium: Medium) -> None:
        self._medium = medium

    def propose(
        self,
        model: str,
        version: int,
        *,
        manifest: str,
        rule: str,
        reason: str,
        features: tuple[str, ...],
        evidence: dict[str, float],
        window: Window,
        proposer: str,
        now_s: float,
        bucket_s: float = BUCKET_S,
    ) -> tuple[Trigger, bool]:
        """The trigger that stands for this finding from now on, and whether this call wrote it.

        In each stretch of `bucket_s` seconds since the Unix epoch there is one of a version and rule: the first that came. Raises
        `Kind.INVALID_NAME` for texts that are none and figures that are not finite, `Kind.DAMAGED`, `Kind.STORAGE`.
        """
        trigger = Trigger(
            id=trigger_id(model, manifest, rule, bucket=int(now_s // bucket_s)),
            model=check_model_name(model),
            version=version,
            manifest=manifest,
            rule=check_label(rule, what="rule"),
            reason=check_reason(reason),
            features=features[:MAX_FEATURES],
            evidence=_finite(evidence),
            window=window,
            proposer=check_label(proposer, what="proposer"),
            created=datetime.fromtimestamp(now_s, UTC),
        )
        self._medium.make_directory(f"triggers/{model}")
        if self._medium.create(_key(model, trigger.id), encode_checked(trigger)):
            return trigger, True
        found = self.read(model, trigger.id)
        if found is None:
            raise RegistryError(Kind.STORAGE, f"{_key(model, trigger.id)} was taken away while it was written")
        return found, False

    def models(self) -> list[str]:
        """Those that ever had a trigger."""
        return self._medium.names("triggers")

    def all(self, model: str) -> list[Trigger]:
        """Every trigger of a model, oldest first. Raises `Kind.INVALID_NAME`, `Kind.DAMAGED`, `Kind.UNSUPPORTED`."""
        found = [self.read(model, trigger) for trigger in self.ids(model)]
        return sorted((trigger for trigger in found if trigger is not None), key=lambda trigger: (trigger.created, trigger.id))

    def ids(self, model: str) -> list[str]:
        """Of the files."""
        names = self._medium.names(f"triggers/{check_model_name(model)}")
        return [match[1] for name in names if (match := _FILE.fullmatch(name))]

    def read(self, model: str, trigger: str) -> Trigger | None:
        """One trigger, or None where there is none. Raises `Kind.INVALID_NAME`, `Kind.DAMAGED`, `Kind.UNSUPPORTED`."""
        key = _key(check_model_name(model), _checked(trigger))
        content = self._medium.read(key)
        return None if content is None else decode_checked(content, Trigger, key=key, what="a retrain trigger")

    def journal(self, model: str, trigger: str) -> TriggerJournal:
        """What became of a trigger; empty while it is only proposed. Raises `Kind.INVALID_NAME`, `Kind.DAMAGED`, `Kind.UNSUPPORTED`."""
        journal, directory = TriggerJournal(check_model_name(model), _checked(trigger)), _journal(model, trigger)
        last = max((number_of(name) or 0 for name in self._medium.names(directory)), default=0)
        for seq in range(1, last + 1):
            key = f"{directory}/{numbered(seq)}"
            content = self._medium.read(key)
            if content is None:
                raise damaged(f"{key} is missing, although entry {last} exists")
            journal = journal.extended(TriggerLink(decode(content, key=key), digest_of(content), key))
        return journal

    def append(self, journal: TriggerJournal, draft: TriggerEntry) -> TriggerJournal | None:
        """Add `draft` after the newest entry. None where another writer was first; then read again.

        Raises `Kind.CONFLICT` where the state does not allow it, or where `draft` carries a token that has been taken over;
        `Kind.INVALID_NAME`. After `Kind.STORAGE` it may or may not be there.
        """
        entry = check_entry(journal.following(draft))
        newest = self.claimed(journal.model)
        if entry.token and newest is not None and newest.token > entry.token:
            text = f"the claim of trigger {journal.trigger} was taken over by {newest.holder}"
            text = f"{text}: token {entry.token} is older than {newest.token}"
            raise RegistryError(Kind.CONFLICT, text)
        content, key = encode(entry), f"{_journal(journal.model, journal.trigger)}/{numbered(entry.seq)}"
        after = journal.extended(TriggerLink(entry, digest_of(content), key))
        self._medium.make_directory(_journal(journal.model, journal.trigger))
        return after if self._medium.create(key, content) else None

    def blobs(self) -> set[str]:
        """Everything that any journal refers to. Raises `Kind.DAMAGED`."""
        pairs = ((model, trigger) for model in self.models() for trigger in self.ids(model))
        return {blob for model, trigger in pairs for blob in self.journal(model, trigger).blobs}

    def claimed(self, model: str) -> Claim | None:
        """The newest claim, as of its last renewal; it may have expired. None where nobody ever had one. Raises `Kind.DAMAGED`."""
        number = max((number_of(name) or 0 for name in self._medium.names(_claims(model))), default=0)
        if not number:
            return None
        claim, renewed = self._claim(f"{_claims(model)}/{numbered(number)}"), self._claim(_renewal(model, number))
        return renewed if renewed is not None else claim

    def claim(self, model: str, trigger: str, *, holder: str, now_s: float, ttl_s: float) -> Claim | None:
        """A claim of `ttl_s` seconds, also a new one for who holds it; None where another holder has one of any trigger of the model.

        Raises `Kind.NOT_FOUND` where there is no such trigger, `Kind.INVALID_NAME`, `Kind.DAMAGED`, `Kind.STORAGE`.
        """
        if self.read(model, trigger) is None:
            raise RegistryError(Kind.NOT_FOUND, f"model '{model}' has no trigger {trigger}")
        before = self.claimed(model)
        if before is not None and before.holder != holder and before.expires > datetime.fromtimestamp(now_s, UTC):
            return None
        claim = Claim(
            trigger=trigger,
            token=(before.token if before else 0) + 1,
            holder=check_label(holder, what="holder"),
            expires=_after(now_s, ttl_s),
        )
        self._medium.make_directory(_claims(model))
        return claim if self._medium.create(f"{_claims(model)}/{numbered(claim.token)}", encode_checked(claim)) else None

    def renew(self, model: str, claim: Claim, *, now_s: float, ttl_s: float) -> Claim | None:
        """The same claim, for `ttl_s` seconds from now; None where it was taken over. With a `ttl_s` of 0, its end.

        Raises `Kind.STORAGE`.
        """
        renewed = msgspec.structs.replace(claim, expires=_after(now_s, ttl_s))
        # Not made durable: who loses it loses the claim early.
        self._medium.replace(_renewal(model, claim.token), encode_checked(renewed))
        later = (number_of(name) or 0 for name in self._medium.names(_claims(model)))
        return renewed if max(later, default=0) == claim.token else None

    def _claim(self, key: str) -> Claim | None:
        content = self._medium.read(key)
        return None if content is None else decode_checked(content, Claim, key=key, what="a claim of a trigger")


def trigger_id(model: str, manifest: str, rule: str, *, bucket: int) -> str:
    """32 hexadecimal digits that stand for a version, a rule and a stretch of time."""
    said = msgspec.json.encode([model, manifest, rule, bucket])
    return hashlib.blake2b(said, digest_size=16).hexdigest()


def _finite(evidence: dict[str, float]) -> dict[str, float]:
    wrong = next((name for name, figure in evidence.items() if not math.isfinite(figure)), None)
    if wrong is not None:
        raise RegistryError(Kind.INVALID_NAME, f"the figure '{wrong[:128]}' of a trigger is not finite")
    return evidence


def _checked(trigger: str) -> str:
    if _ID.fullmatch(trigger) is None:
        raise RegistryError(Kind.INVALID_NAME, "a trigger's id is 32 hexadecimal digits")
    return trigger


def _key(model: str, trigger: str) -> str:
    return f"triggers/{model}/{trigger}.json"


def _journal(model: str, trigger: str) -> str:
    return f"triggers/{model}/{trigger}/journal"


def _claims(model: str) -> str:
    return f"triggers/{check_model_name(model)}/claims"


def _renewal(model: str, token: int) -> str:
    return f"{_claims(model)}/renewed-{token}.json"


def _after(now_s: float, ttl_s: float) -> datetime:
    return datetime.fromtimestamp(now_s, UTC) + timedelta(seconds=ttl_s)
