"""Moving an alias as a command does: from where it stands now unless somebody says from where, and once for an operation id."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.commands import files, place
from gateway.commands.output import UsageError
from registry.errors import Kind, RegistryError
from registry.medium import Progress, unseen

if TYPE_CHECKING:
    from registry.store import Store

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Moved:
    """Where an alias stood and where it stands."""

    model: str
    alias: str
    from_version: int | None
    to_version: int | None
    entry: int | None  # of the log; None where the alias stood there already
    operation_id: str | None
    new: bool  # False where nothing was left to do

    def __str__(self) -> str:
        if self.entry is None:
            return f"{self.alias}: {shown(self.to_version)} already"
        return f"{self.alias}: {shown(self.from_version)} -> {shown(self.to_version)}{'' if self.new else ', as before'}"


def shown(version: int | None) -> str:
    """A place of an alias."""
    return "none" if version is None else str(version)


def start(store: Store, model: str, operation_id: str | None, *, otherwise: int | None = None) -> int | None:
    """Where a move begins: where it began if this very operation was performed before, else `otherwise`."""
    journal = store.versions_of(model).journal
    done = journal.read().operations.get(operation_id or "")
    if done is None:
        return otherwise
    (link,) = journal.links(after=done - 1, last=done)
    return getattr(link.entry, "from_version", None)


def move(
    store: Store,
    model: str,
    alias: str,
    *,
    to: int | None,
    expected: int | None,
    actor: str | None,
    reason: str,
    evidence: Sequence[str] = (),
    operation_id: str | None = None,
    progress: Progress = unseen,
) -> Moved:
    """Let `alias` stand for `to` (None: for nothing), if it stands for `expected`. One that stands there already is left alone.

    Raises as `Aliases.move` and `Aliases.remove`.
    """
    head = store.versions_of(model).journal.read()
    if expected == to == head.aliases.get(alias) and operation_id not in head.operations:
        return Moved(model, alias, to, to, None, operation_id, new=False)
    aliases, who = store.aliases(model, progress=progress), place.who(actor, reason, operation_id)
    if to is not None:
        done = aliases.move(alias, to=to, expected_from=expected, evidence=evidence, **who)
    elif expected is not None:
        done = aliases.remove(alias, expected_from=expected, **who)
    else:
        raise RegistryError(Kind.CONFLICT, f"alias '{alias}' of model '{model}' cannot be removed from where it is not")
    return Moved(model, alias, expected, to, done.entry.seq, done.entry.operation_id, new=done.new)


def evidence_of(store: Store, model: str, version: int, given: Sequence[str]) -> list[str]:
    """Digests of evidence, of which each is given as a digest or as a file that is stored.

    Raises `UsageError` for a file that is no evidence about exactly this version.
    """
    return [text if _DIGEST.fullmatch(text) else _stored(store, model, version, Path(text)) for text in given]


def _stored(store: Store, model: str, version: int, path: Path) -> str:
    import msgspec

    from registry.evidence import Evidence

    said = files.document(path)
    evidence = files.understood(path, lambda: msgspec.convert(said, Evidence))
    manifest = store.record(model, version).manifest
    if evidence.manifest != manifest:
        raise UsageError(f"{path}: is about {evidence.manifest}, and the manifest of version {version} is {manifest}")
    return store.put_evidence(evidence)
