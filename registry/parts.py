"""What a version holds beside its model, each part a blob with a media type and a fixed file name of its own. All are optional.

A part's format version is in its content, the card's in its media type. A manifest without parts is what it always was, to the byte.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from registry import golden as goldens
from registry import profile as profiles
from registry import schema as schemas
from registry import serving as servings
from registry import training as trainings
from registry.errors import damaged, refused
from registry.golden import Golden
from registry.manifest import PART_TITLES, Descriptor, Manifest
from registry.names import blob_key
from registry.schema import ContractFile, Schema
from registry.serving import Serving
from registry.training import TrainingRecord

MAX_CARD_BYTES = 1 << 18
MAX_PROFILE_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Parts:
    """What a publisher adds to a model."""

    contract: ContractFile | None = None  # merged with the graph into the schema
    golden: Golden | None = None  # requests without outputs are answered by the trial, those with outputs are compared
    training: TrainingRecord | None = None
    card: str | None = None  # Markdown
    serving: Serving | None = None
    profile: bytes | None = None  # the reference that drift is measured against, as `profile` encodes it


@dataclass(frozen=True, slots=True)
class StoredParts:
    """What a version holds."""

    schema: Schema | None
    golden: Golden | None
    training: TrainingRecord | None
    card: str | None
    serving: Serving | None
    profile: bytes | None


def check(parts: Parts) -> None:
    """Raises `Kind.INVALID_MODEL` for what can be refused before the model is looked at."""
    if parts.golden is not None:
        goldens.check(parts.golden)
    if parts.training is not None:
        trainings.check(parts.training)
    problem = None if parts.card is None else _card_problem(parts.card)
    if problem is not None:
        raise refused(f"the model card {problem}")
    if parts.profile is not None and len(parts.profile) > MAX_PROFILE_BYTES:
        raise refused(f"the reference profile has more than {MAX_PROFILE_BYTES} bytes")
    if parts.profile is not None:
        profiles.profile_file(parts.profile)


def contents(parts: Parts, *, schema: Schema | None, golden: Golden | None) -> dict[str, bytes]:
    """Title of `manifest.PART_TITLES` → the blob, for the parts that are there. `golden` has its answers by now."""
    found = {
        "card.md": None if parts.card is None else parts.card.encode(),
        "golden.json": None if golden is None else goldens.encode(golden),
        "profile.json": parts.profile,
        "schema.json": None if schema is None else schemas.encode(schema),
        "serving.json": None if parts.serving is None else servings.encode(parts.serving),
        "training.json": None if parts.training is None else trainings.encode(parts.training),
    }
    assert found.keys() == set(PART_TITLES)
    return {title: content for title, content in found.items() if content is not None}


def read_part(layer: Descriptor, read_blob: Callable[[str], bytes]) -> Any:
    """One part, of the type that `StoredParts` says; `read_blob` gives checked content by digest. Raises `Kind.DAMAGED` naming its blob."""
    return _DECODERS[layer.title](read_blob(layer.digest), key=blob_key(layer.digest))


def read_parts(manifest: Manifest, read_blob: Callable[[str], bytes], *, only: Collection[str] = PART_TITLES) -> StoredParts:
    """The parts of a version, of those with the titles `only`; the rest as `read_part`."""
    found = {layer.title: read_part(layer, read_blob) for layer in manifest.parts if layer.title in only}
    return StoredParts(
        schema=found.get("schema.json"),
        golden=found.get("golden.json"),
        training=found.get("training.json"),
        card=found.get("card.md"),
        serving=found.get("serving.json"),
        profile=found.get("profile.json"),
    )


def _card(content: bytes, *, key: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise damaged(f"{key} is no model card: it is not UTF-8") from error


def _card_problem(card: str) -> str | None:
    try:
        size = len(card.encode())
    except UnicodeEncodeError:
        return "is not Unicode text"
    if not card.strip() or size > MAX_CARD_BYTES:
        return f"is empty or has more than {MAX_CARD_BYTES} bytes"
    if any(unicodedata.category(character) == "Cc" and character not in "\n\t" for character in card):
        return "has a control character"
    return None


def _profile(content: bytes, *, key: str) -> bytes:
    """The bytes: whoever counts by them decodes them where he does."""
    profiles.decode(content, key=key)
    return content


_DECODERS: dict[str, Callable[..., Any]] = {
    "card.md": _card,
    "golden.json": goldens.decode,
    "profile.json": _profile,
    "schema.json": schemas.decode,
    "serving.json": servings.decode,
    "training.json": trainings.decode,
}
