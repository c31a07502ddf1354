"""`tidegate alias`, `approve` and `reject`: which version an alias stands for, and who agrees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from gateway.commands import moves, place
from gateway.commands.output import Json, UsageError, command, document, performed, printable, say, table
from gateway.commands.watching import watched
from registry.names import check_alias_name

if TYPE_CHECKING:
    from registry.policy import AliasRule
    from registry.store import Store

Model = Annotated[str, typer.Argument(help="Model name.")]
Alias = Annotated[str, typer.Argument(help="The alias, e.g. champion.")]
Evidence = Annotated[
    list[str] | None,
    typer.Option("--evidence", metavar="FILE|DIGEST", help="A document about the version (JSON or YAML), or the digest of a stored one."),
]


@command
def alias(
    model: Model,
    name: Alias,
    version: Annotated[str | None, typer.Argument(help="A number or another alias; without one, show where it stands.")] = None,
    *,
    registry: place.Registry,
    remove: Annotated[bool, typer.Option("--remove", help="Let it stand for nothing.")] = False,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="VERSION|none", help="Refuse where it stands elsewhere [where it stands now].")
    ] = None,
    reason: place.Reason = "",
    actor: place.Actor = None,
    evidence: Evidence = None,
    operation_id: place.OperationId = None,
    key: place.Keys = None,
    option: place.Options = None,
    as_json: Json = False,
) -> None:
    """Move an alias to a version, whose files are hashed first. Refused where somebody else moves it at the same time.

    What was interrupted is repeated with the same --operation-id.
    """
    if remove and (version is not None or evidence):
        raise UsageError("--remove takes neither a version nor evidence")
    store = place.existing(registry, option, key)
    place.check_model(store, check_alias_name(name) and model)
    if version is None and not remove:
        _show(store, model, name, as_json=as_json)
        return
    stands = _expected(store, model, name, from_, operation_id)
    to = None if version is None else place.version(store, model, version)
    proofs = [] if to is None else moves.evidence_of(store, model, to, evidence or ())
    with watched("hashing", as_json=as_json, total_bytes=lambda: place.version_bytes(store, model, to or 0)) as progress:
        moved = moves.move(
            store,
            model,
            name,
            to=to,
            expected=stands,
            actor=actor,
            reason=reason,
            evidence=proofs,
            operation_id=operation_id,
            progress=progress,
        )
    if as_json:
        document(
            {"model": model, "alias": name, "from": moved.from_version, "to": moved.to_version}
            | {"entry": moved.entry, "operation_id": moved.operation_id, "new": moved.new}
        )
    else:
        say(str(moved))


@command
def approve(
    model: Model,
    name: Alias,
    version: Annotated[str, typer.Argument(help="A number or an alias.")],
    *,
    registry: place.Registry,
    reason: place.Reason = "",
    actor: place.Actor = None,
    evidence: Evidence = None,
    operation_id: place.OperationId = None,
    option: place.Options = None,
    as_json: Json = False,
) -> None:
    """Say that an alias may stand for a version. It stays, until the same person rejects."""
    store = place.existing(registry, option)
    _say_of(store, model, name, version, evidence, approved=True, as_json=as_json, **place.who(actor, reason, operation_id))


@command
def reject(
    model: Model,
    name: Alias,
    version: Annotated[str, typer.Argument(help="A number or an alias.")],
    *,
    registry: place.Registry,
    reason: place.Reason = "",
    actor: place.Actor = None,
    evidence: Evidence = None,
    operation_id: place.OperationId = None,
    option: place.Options = None,
    as_json: Json = False,
) -> None:
    """Object to an alias standing for a version. It stays, until the same person approves."""
    store = place.existing(registry, option)
    _say_of(store, model, name, version, evidence, approved=False, as_json=as_json, **place.who(actor, reason, operation_id))


def _say_of(
    store: Store, model: str, name: str, label: str, evidence: list[str] | None, *, approved: bool, as_json: bool, **who: Any
) -> None:
    """One person's opinion of an alias standing for a version."""
    place.check_model(store, check_alias_name(name) and model)
    number = place.version(store, model, label)
    proofs = moves.evidence_of(store, model, number, evidence or ())
    aliases = store.aliases(model)
    done = (aliases.approve if approved else aliases.reject)(name, number, evidence=proofs, **who)
    performed(done, f"{done.entry.actor} {_word(approved)} version {number} as {name}", as_json=as_json)


def _expected(store: Store, model: str, name: str, text: str | None, operation_id: str | None) -> int | None:
    """Where the alias is to stand before the move. Raises `UsageError`."""
    if text is None:
        return moves.start(store, model, operation_id, otherwise=store.aliases(model).all().get(name))
    if text == "none":
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise UsageError(f"--from: expected a version's number or none, got {text!r}")
    return int(text)


def _show(store: Store, model: str, name: str, *, as_json: bool) -> None:
    """Where an alias stands, what it takes to move it, and who said what."""
    from registry.policy import read_policy

    head = store.versions_of(model).journal.read()
    rule = read_policy(store.medium)[0].rule(model, name)
    opinions = [opinion for opinion in head.opinions if opinion.alias == name]
    if as_json:
        said = [{"version": each.version, "actor": each.actor, "approved": each.approved} for each in opinions]
        policy = None if rule is None else msgspec.to_builtins(rule)
        document({"model": model, "alias": name, "version": head.aliases.get(name), "policy": policy, "opinions": said})
        return
    say(f"{printable(name)}: {moves.shown(head.aliases.get(name))}")
    for line in _demands(rule) if rule else ["anybody may move it"]:
        say(f"  {printable(line)}")
    if opinions:
        table(["version", "who", "says"], [(each.version, each.actor, _word(each.approved)) for each in opinions], right=["version"])


def _word(approved: bool) -> str:
    return "approves" if approved else "rejects"


def _demands(rule: AliasRule) -> list[str]:
    """What the policy asks for, a line each."""
    approvals = f"{rule.min_approvals} {'approval' if rule.min_approvals == 1 else 'approvals'}"
    counted = f" of {', '.join(rule.approvers)}" if rule.approvers else ""
    return [
        f"protected: {approvals}{counted}",
        *([f"moved by {', '.join(rule.movers)} only"] if rule.movers else []),
        *(["its publisher's approval does not count"] if rule.not_publisher and rule.min_approvals else []),
        *([f"with evidence {', '.join(rule.require_evidence)}"] if rule.require_evidence else []),
        *(f"signed by key {key}" for key in rule.require_signatures),
    ]
