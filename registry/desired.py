"""What a registry says should be served: every version and alias, as one value. A replacement for the last one, never a command.

A model whose log or records are damaged keeps what was last seen of it, and the damage is named; the other models are not touched by it.
The last value is kept on this machine where the medium keeps copies, for when the store cannot be reached.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from registry.errors import Kind, RegistryError
from registry.formats import FORMAT, decode_state
from registry.head import Logged
from registry.names import MODEL_NAME
from registry.store import Store

_KEPT = "desired.json"
Number = Annotated[int, msgspec.Meta(ge=1)]


class DesiredModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model. Two are equal where they say the same."""

    versions: dict[Number, str | None]  # number → digest of the manifest, None where the record is damaged; ascending
    aliases: dict[str, int]


class Desired(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole registry."""

    format: int = FORMAT
    models: dict[str, DesiredModel] = {}
    problems: tuple[str, ...] = ()  # one sentence each


def desired(store: Store, last: Desired | None = None) -> Desired:
    """What the registry says now. `last` is what was seen before. Raises `Kind.STORAGE` where the registry cannot be reached."""
    models, problems = {}, []
    for name in store.models():
        if not MODEL_NAME.fullmatch(name):
            problems.append(f"models/{name} is passed over: it is no model name")
            continue
        try:
            models[name] = _model(store, name)
        except RegistryError as error:
            if error.kind is Kind.STORAGE:
                raise
            problems.append(error.message)
            models[name] = _last_good(last, name) or _without_log(store, name)
    return Desired(models=models, problems=tuple(problems))


def desired_or_kept(store: Store, last: Desired | None = None) -> Desired:
    """As `desired` or, while the registry cannot be reached, what it said when this machine last saw it. Raises `Kind.STORAGE`."""
    try:
        now = desired(store, last)
    except RegistryError as error:
        kept = store.medium.kept_here(_KEPT)
        if error.kind is not Kind.STORAGE or kept is None:
            raise
        said = decode_state(kept, Desired, key=_KEPT, what="a kept list of versions")
        return msgspec.structs.replace(said, problems=(*said.problems, f"{error.message}; this is what was last seen of the registry"))
    store.medium.keep_here(_KEPT, msgspec.json.encode(now))
    return now


def _model(store: Store, name: str) -> DesiredModel:
    """From the log; records are read only of versions that have no entry yet."""
    versions = store.versions_of(name)
    numbers = versions.numbers()
    head = versions.journal.read()
    if not head.live.keys() <= set(numbers):  # added between the two readings
        numbers = versions.numbers()
    live = [number for number in numbers if number not in head.versions or not head.versions[number].deleted]
    return DesiredModel({number: _digest(store, name, number, head.versions.get(number)) for number in live}, head.aliases)


def _digest(store: Store, name: str, number: int, logged: Logged | None) -> str | None:
    if logged is not None:
        return logged.manifest
    try:
        return store.record(name, number).manifest
    except RegistryError as error:
        if error.kind is Kind.STORAGE:
            raise
        return None


def _last_good(last: Desired | None, name: str) -> DesiredModel | None:
    return None if last is None else last.models.get(name)


def _without_log(store: Store, name: str) -> DesiredModel:
    """Versions by their records, no aliases: an alias is nothing without the log."""
    return DesiredModel({number: _digest(store, name, number, None) for number in store.versions_of(name).numbers()}, {})
