"""Names for versions that somebody decides about: `champion`, `challenger`, any other. Moved by compare-and-swap, never by publishing.

Whoever moves an alias says from where; the move happens in the moment its log entry gets its number, and is refused where the alias was
moved meanwhile. A protected alias asks for what the policy says. Knows how signatures are checked only through `policy.Signers`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry import evidence as evidences
from registry.blobs import Blobs
from registry.entries import AliasMoved, AliasRemoved, ApprovalGiven, ApprovalRejected, Deed, deed_fields
from registry.errors import Kind, RegistryError
from registry.head import Head, Opinion
from registry.names import MAX_VERSION, check_alias_name
from registry.policy import Policy, Signers, missing, read_policy
from registry.versions import Versions


@dataclass(frozen=True, slots=True)
class Performed:
    """An operation that is in the log."""

    entry: Deed
    new: bool  # False where this operation id had been performed before


class Aliases:
    """The aliases of one model."""

    def __init__(self, blobs: Blobs, versions: Versions, *, check: Callable[[int], None], signers: Signers | None) -> None:
        self._blobs = blobs
        self._versions = versions
        self._check = check  # raises where a version's files are not what was published
        self._signers = signers
        self._model = versions.model

    def all(self) -> dict[str, int]:
        """Every alias and its version. Raises `Kind.DAMAGED`."""
        return dict(self._versions.journal.read().aliases)

    def resolve(self, name: str) -> int:
        """The version that `name` stands for: an alias, or a number in digits. Raises `Kind.INVALID_NAME`, `Kind.NOT_FOUND`."""
        head = self._versions.journal.read()
        if name.isascii() and name.isdigit():
            number = int(name) if len(name) < len(str(MAX_VERSION)) else 0
            if number in head.live or (number not in head.versions and self._versions.record(number) is not None):
                return number
            raise self._absent(f"version {name[:20]}")
        version = head.aliases.get(check_alias_name(name))
        if version is None:
            raise self._absent(f"alias '{name}'")
        return version

    def move(
        self,
        name: str,
        *,
        to: int,
        expected_from: int | None,
        actor: str,
        reason: str,
        now_s: float,
        evidence: Sequence[str] = (),
        operation_id: str | None = None,
    ) -> Performed:
        """Let `name` stand for version `to`, if it stands for `expected_from` (None: for nothing) until then.

        `evidence` are digests of blobs that are stored already. The files of `to` are hashed again first. Raises `Kind.CONFLICT` where the
        alias stands elsewhere, `Kind.NOT_FOUND` for a version that does not exist, `Kind.POLICY` with everything that is missing,
        `Kind.DAMAGED`, `Kind.INVALID_NAME`; after `Kind.STORAGE` repeat with the same `operation_id`.
        """
        fields = deed_fields(self._model, actor=actor, reason=reason, now_s=now_s, operation_id=operation_id)
        draft = AliasMoved(**fields, alias=check_alias_name(name), from_version=expected_from, to=to, evidence=tuple(evidence))
        policy, text = read_policy(self._blobs.medium)
        judged = self._blobs.put(text)[0] if text and policy.rule(self._model, name) else None

        def check(head: Head) -> Mapping[str, Any]:
            self._expect(head, name, expected_from)
            self._exists(head, to)
            self._judge(head, draft, policy)
            return {"policy": judged}

        return self._perform(draft, check, verify=to)

    def remove(self, name: str, *, expected_from: int, actor: str, reason: str, now_s: float, operation_id: str | None = None) -> Performed:
        """Let `name` stand for nothing, if it stands for `expected_from`. Raises as `move`; a protected alias is not removed."""
        fields = deed_fields(self._model, actor=actor, reason=reason, now_s=now_s, operation_id=operation_id)
        draft = AliasRemoved(**fields, alias=check_alias_name(name), from_version=expected_from)
        policy, _ = read_policy(self._blobs.medium)

        def check(head: Head) -> Mapping[str, Any]:
            self._expect(head, name, expected_from)
            if policy.rule(self._model, name) is not None:
                raise RegistryError(Kind.POLICY, f"alias '{name}' of model '{self._model}' is protected and cannot be removed")
            return {}

        return self._perform(draft, check)

    def approve(
        self,
        name: str,
        version: int,
        *,
        actor: str,
        reason: str,
        now_s: float,
        evidence: Sequence[str] = (),
        operation_id: str | None = None,
    ) -> Performed:
        """Record that `actor` agrees that `name` may stand for `version`. Raises `Kind.NOT_FOUND`, and `Kind.POLICY` if it cannot count."""
        fields = deed_fields(self._model, actor=actor, reason=reason, now_s=now_s, operation_id=operation_id)
        draft = ApprovalGiven(**fields, alias=check_alias_name(name), version=version, evidence=tuple(evidence))
        return self._perform(draft, lambda head: self._may_speak(head, draft))

    def reject(
        self,
        name: str,
        version: int,
        *,
        actor: str,
        reason: str,
        now_s: float,
        evidence: Sequence[str] = (),
        operation_id: str | None = None,
    ) -> Performed:
        """Record that `actor` objects, which stands until the same person approves. Raises as `approve`."""
        fields = deed_fields(self._model, actor=actor, reason=reason, now_s=now_s, operation_id=operation_id)
        draft = ApprovalRejected(**fields, alias=check_alias_name(name), version=version, evidence=tuple(evidence))
        return self._perform(draft, lambda head: self._may_speak(head, draft))

    def opinions(self, name: str, version: int) -> list[Opinion]:
        """The newest word of everybody about this alias and version. Raises `Kind.DAMAGED`."""
        return [opinion for opinion in self._versions.journal.read().opinions if (opinion.alias, opinion.version) == (name, version)]

    def _perform(self, draft: Deed, check: Callable[[Head], Mapping[str, Any]], *, verify: int | None = None) -> Performed:
        """Evidence is put in its place before the entry, so that it speaks of nothing absent, and again after it, as `gc` explains."""
        head = self._versions.settle()
        evidence = getattr(draft, "evidence", ())
        if draft.operation_id not in head.operations:
            check(head)  # refuses before anything is read at length
            self._blobs.keep(evidence)
            for digest in evidence:
                self._blobs.read(digest)
            if verify is not None:
                self._check(verify)
        entry, _, new = self._versions.journal.perform(draft, check)
        policy = getattr(entry, "policy", None)
        self._blobs.keep([*evidence, *([policy] if policy else [])])
        return Performed(entry, new)

    def _expect(self, head: Head, name: str, expected: int | None) -> None:
        found = head.aliases.get(name)
        if found != expected:
            stands = "does not exist" if found is None else f"stands for version {found}"
            wanted = "absent" if expected is None else f"at version {expected}"
            raise RegistryError(Kind.CONFLICT, f"alias '{name}' of model '{self._model}' {stands}; expected it {wanted}")

    def _exists(self, head: Head, version: int) -> None:
        if version not in head.live:
            raise self._absent(f"version {version}")

    def _may_speak(self, head: Head, draft: ApprovalGiven | ApprovalRejected) -> Mapping[str, Any]:
        self._exists(head, draft.version)
        rule = read_policy(self._blobs.medium)[0].rule(self._model, draft.alias)
        if rule is not None and rule.approvers and draft.actor not in rule.approvers:
            raise RegistryError(Kind.POLICY, f"'{draft.actor}' is no approver of alias '{draft.alias}' of model '{self._model}'")
        if rule is not None and rule.not_publisher and draft.actor == self._publisher(draft.version):
            raise RegistryError(Kind.POLICY, f"'{draft.actor}' published version {draft.version} and cannot speak about it as an approver")
        return {}

    def _judge(self, head: Head, draft: AliasMoved, policy: Policy) -> None:
        rule = policy.rule(self._model, draft.alias)
        if rule is None:
            return
        manifest = head.versions[draft.to].manifest
        lacking = missing(
            rule,
            alias=draft.alias,
            version=draft.to,
            mover=draft.actor,
            publisher=self._publisher(draft.to),
            opinions=head.opinions,
            proven={kind for digest in draft.evidence if (kind := evidences.proves(self._blobs.read(digest), manifest=manifest))},
            signed=signed_by(self._blobs, manifest, self._signers) if rule.require_signatures else (),
        )
        if lacking:
            raise RegistryError(Kind.POLICY, f"alias '{draft.alias}' of model '{self._model}' is protected: {'; '.join(lacking)}")

    def _publisher(self, version: int) -> str:
        record = self._versions.record(version)
        if record is None:
            raise self._absent(f"version {version}")
        return record.publisher

    def _absent(self, what: str) -> RegistryError:
        return RegistryError(Kind.NOT_FOUND, f"model '{self._model}' has no {what}")


def signed_by(blobs: Blobs, manifest: str, signers: Signers | None) -> frozenset[str]:
    """Ids of the keys that signed a manifest. Raises `Kind.POLICY` where nobody here can check signatures."""
    if signers is None:
        raise RegistryError(Kind.POLICY, "the policy asks for signatures, and no keys to check them with were given")
    return frozenset(signers(blobs.medium, manifest, blobs.read(manifest)))
