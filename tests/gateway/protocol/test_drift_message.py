"""The document of HTTP as a message: nothing of it may be missing there."""

from __future__ import annotations

import json
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway.drift.findings import ModelDrift
from gateway.pb import tidegate_pb2 as pb
from gateway.protocol.drift_message import VersionMessage, drift_message, version_messages

_KINDS = {
    FieldDescriptor.TYPE_STRING: str,
    FieldDescriptor.TYPE_DOUBLE: float,
    FieldDescriptor.TYPE_INT64: int,
    FieldDescriptor.TYPE_INT32: int,
    FieldDescriptor.TYPE_BOOL: bool,
}


def inner(kind: Any) -> tuple[Any, bool, bool]:
    """What a field holds, whether there may be several, and whether there may be none."""
    parts = [part for part in get_args(kind) if part is not type(None)]
    if type(None) in get_args(kind):
        return inner(parts[0])[0], inner(parts[0])[1], True
    if getattr(kind, "__origin__", None) is tuple:
        return parts[0], True, False
    return kind, False, False


def differences(struct: type[msgspec.Struct], message: Descriptor) -> list[str]:
    """Fields that are not the same on both sides, and so for what they hold."""
    hints = get_type_hints(struct)
    fields = {field.name: field for field in message.fields}
    found = [f"{message.name}.{name}" for name in hints.keys() ^ fields.keys()]
    for name in hints.keys() & fields.keys():
        kind, several, absent = inner(hints[name])
        field = fields[name]
        if field.is_repeated != several or (absent and not several and not field.has_presence):
            found.append(f"{message.name}.{name}: how many")
        elif field.message_type is not None:
            found += differences(kind, field.message_type)
        elif _KINDS.get(field.type) is not kind:
            found.append(f"{message.name}.{name}: {kind}")
    return found


def test_every_field_of_the_findings_is_in_the_message() -> None:
    """And nothing else is. Whoever adds one to `gateway.drift.findings` adds it to proto/tidegate.proto."""
    assert [] == differences(ModelDrift, pb.ModelDriftResponse.DESCRIPTOR)


def filled(kind: Any, salt: int = 1) -> Any:
    """A value with every field set."""
    held, several, _ = inner(kind)
    if several:
        return [filled(held, salt + 1), filled(held, salt + 2)]
    if isinstance(held, type) and issubclass(held, msgspec.Struct):
        return {name: filled(hint, salt + at) for at, (name, hint) in enumerate(get_type_hints(held).items(), 1)}
    return {str: f"text {salt}", float: salt + 0.5, int: salt, bool: True}[held]


def plain(message: Any) -> Any:
    """As the document had it."""
    found: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        nested = field.message_type is not None
        found[field.name] = [plain(one) if nested else one for one in value] if field.is_repeated else plain(value) if nested else value
    return found


def message_of(document: Any) -> pb.ModelDriftResponse:
    """On the way that an answer takes."""
    pieces = msgspec.json.decode(version_messages(json.dumps(document["versions"])), type=list[VersionMessage])
    assert [one["version"] for one in document["versions"]] == [piece.version for piece in pieces]
    return pb.ModelDriftResponse.FromString(drift_message(document["model"], pieces))


def test_every_value_arrives() -> None:
    """Each field with a value of its own, there and back."""
    document = filled(ModelDrift)
    assert document == plain(message_of(document))


def test_what_is_absent_stays_absent() -> None:
    """`null` is no 0."""
    rows = [{"version": "1", "log_e_windows": None, "features": [{"ks": None, "psi": 0.0}], "performance": None}]
    (version,) = message_of({"model": "m", "versions": rows}).versions
    assert not version.HasField("log_e_windows")
    assert not version.HasField("performance")
    assert not version.features[0].HasField("ks")


@pytest.mark.parametrize("number", [2**53 + 1, 2**62])
def test_large_counts_are_exact(number: int) -> None:
    """Beyond what a float holds."""
    answer = message_of({"model": "m" * 200, "versions": [{"version": "1", "rows": number}, {"version": "2"}]})
    assert [number, 0] == [version.rows for version in answer.versions]
    assert "m" * 200 == answer.model


def test_what_nobody_has_found_is_empty() -> None:
    """A model with no version."""
    assert pb.ModelDriftResponse(model="m") == message_of({"model": "m", "versions": []})
