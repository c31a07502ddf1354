"""What a registry asks for before a protected alias moves and before a version loads: `policy.yaml` at its root, written by people.

Typed; an unknown field is an error with its place. What cannot be read protects everything: no alias moves until it is mended. Pure but for
`read_policy`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Annotated, Any, Literal, Protocol

import msgspec

from registry.errors import Kind, RegistryError
from registry.head import Opinion
from registry.medium import Medium
from registry.names import Digest, check_alias_name, check_model_name
from registry.yaml_text import YamlError, parse_yaml

POLICY = "policy.yaml"  # JSON is YAML too
MAX_POLICY_BYTES = 256 << 10


class AliasRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What moving one alias takes. An alias with a rule is protected: it also cannot be removed."""

    movers: tuple[str, ...] = ()  # who may move it; nobody named means anybody
    approvers: tuple[str, ...] = ()  # whose approvals count; nobody named means anybody's
    min_approvals: Annotated[int, msgspec.Meta(ge=0)] = 0
    not_publisher: bool = True  # the version's publisher does not count as an approver
    require_evidence: tuple[str, ...] = ()  # kinds, each proven for the very manifest
    require_signatures: tuple[str, ...] = ()  # ids of keys, all of which must have signed the manifest


class LoadRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What loading any version takes."""

    require_signatures: tuple[str, ...] = ()


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rules of one registry. A rule under `models` takes the place of the general one for its alias."""

    format: Literal[2]
    aliases: dict[str, AliasRule] = {}
    models: dict[str, dict[str, AliasRule]] = {}
    load: LoadRule = LoadRule()

    def rule(self, model: str, alias: str) -> AliasRule | None:
        """The rule for an alias of a model, or None where it is not protected."""
        return self.models.get(model, {}).get(alias) or self.aliases.get(alias)


class Signers(Protocol):
    """Whoever can check signatures."""

    def __call__(self, medium: Medium, manifest: Digest, content: bytes) -> Collection[str]:
        """Ids of the trusted keys that signed the manifest with this digest and content."""
        ...


UNPROTECTED = Policy(format=2)


def read_policy(medium: Medium) -> tuple[Policy, bytes]:
    """The policy of a registry and its text; without a file, one that protects nothing. Raises `Kind.POLICY` naming the place."""
    content = medium.read(POLICY)
    return (UNPROTECTED, b"") if content is None else (decode(content), content)


def decode(content: bytes) -> Policy:
    """Raises `Kind.POLICY` with the line of a syntax error or the place of a wrong field."""
    if len(content) > MAX_POLICY_BYTES:
        raise _wrong(f"it is larger than {MAX_POLICY_BYTES} bytes")
    try:
        document = parse_yaml(content)
    except YamlError as error:
        raise _wrong(str(error) or "it is not YAML in UTF-8") from error
    if not isinstance(document, dict):
        raise _wrong("it must be a mapping")
    unknown = set(map(str, document)) - set(Policy.__struct_fields__)
    if unknown:
        raise _wrong(f"unknown field '{min(unknown)}'")
    for place, rules in _rules(document):
        if not isinstance(rules, dict):
            raise _wrong(f"{place}: it must be a mapping of aliases")
        for alias, rule in rules.items():
            _check_rule(rule, f"{place}.{alias}", alias)
    policy: Policy = _converted(document, Policy, "")
    return policy


def missing(
    rule: AliasRule,
    *,
    alias: str,
    version: int,
    mover: str,
    publisher: str,
    opinions: Iterable[Opinion],
    proven: Collection[str],
    signed: Collection[str],
) -> list[str]:
    """What `rule` still asks for, one clause each; nothing where the alias may move."""
    counted = [
        opinion
        for opinion in opinions
        if (opinion.alias, opinion.version) == (alias, version)
        and (not rule.approvers or opinion.actor in rule.approvers)
        and not (rule.not_publisher and opinion.actor == publisher)
    ]
    approvals = sum(opinion.approved for opinion in counted)
    return [
        *([f"'{mover}' may not move it"] if rule.movers and mover not in rule.movers else []),
        *(f"'{opinion.actor}' rejects version {version}" for opinion in counted if not opinion.approved),
        *([f"it has {approvals} of {rule.min_approvals} approvals"] if approvals < rule.min_approvals else []),
        *(f"evidence '{kind}' is missing" for kind in rule.require_evidence if kind not in proven),
        *(f"the signature of key '{key}' is missing" for key in rule.require_signatures if key not in signed),
    ]


def _rules(document: dict[Any, Any]) -> Iterable[tuple[str, Any]]:
    yield "aliases", document.get("aliases", {})
    models = document.get("models", {})
    for model, rules in models.items() if isinstance(models, dict) else ():
        try:
            check_model_name(str(model))
        except RegistryError as error:
            raise _wrong(f"models.{model}: {error.message}") from error
        yield f"models.{model}", rules


def _check_rule(rule: Any, place: str, alias: Any) -> None:
    try:
        check_alias_name(str(alias))
    except RegistryError as error:
        raise _wrong(f"{place}: {error.message}") from error
    read: AliasRule = _converted(rule, AliasRule, place)
    if read.approvers and read.min_approvals > len(set(read.approvers)):
        raise _wrong(f"{place}: {read.min_approvals} approvals can never come from {len(set(read.approvers))} approvers")


def _converted(value: Any, type_: Any, place: str) -> Any:
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        raise _wrong(f"{place}: {error}" if place else str(error)) from error


def _wrong(reason: str) -> RegistryError:
    return RegistryError(Kind.POLICY, f"{POLICY}: {reason}")
