"""The manifest of a version: which files it is made of, by digest. Pure data.

JSON of an OCI image manifest (opencontainers/image-spec manifest.md) with an artifact type of ours, so that any OCI registry can hold a
version unchanged. It has no time and no author: the same files always give the same bytes, therefore the same digest.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from registry.errors import damaged
from registry.names import Digest, is_plain_file_name

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
ARTIFACT_TYPE = "application/vnd.tidegate.model.v1"
CONFIG_TYPE = "application/vnd.tidegate.model.contract.v1+json"
MODEL_TYPE = "application/vnd.tidegate.model.onnx.v1"
DATA_TYPE = "application/vnd.tidegate.model.external-data.v1"
# What a version holds beside its files (parts.py): file name → media type.
PART_TITLES = {
    "card.md": "application/vnd.tidegate.model.card.v1+markdown",
    "golden.json": "application/vnd.tidegate.model.golden.v1+json",
    "profile.json": "application/vnd.tidegate.model.profile.v1+json",
    "schema.json": "application/vnd.tidegate.model.schema.v1+json",
    "serving.json": "application/vnd.tidegate.model.serving.v1+json",
    "training.json": "application/vnd.tidegate.model.training.v1+json",
}
TITLE = "org.opencontainers.image.title"
MODEL_FILE = "model.onnx"  # the title of the one layer with MODEL_TYPE, as in a Triton repository

Size = Annotated[int, msgspec.Meta(ge=0)]


class Descriptor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """One blob, as the OCI specification describes content."""

    media_type: str
    digest: Digest
    size: Size  # bytes
    annotations: dict[str, str] = {}

    @property
    def title(self) -> str:
        """File name, or "" where the blob is no file."""
        return self.annotations.get(TITLE, "")


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Every file of one version. `layers` are in the order of their titles."""

    schema_version: Literal[2] = 2
    media_type: Literal["application/vnd.oci.image.manifest.v1+json"] = "application/vnd.oci.image.manifest.v1+json"
    artifact_type: Literal["application/vnd.tidegate.model.v1"] = "application/vnd.tidegate.model.v1"
    config: Descriptor
    layers: tuple[Descriptor, ...]

    @property
    def model(self) -> Descriptor:
        """The ONNX file."""
        return next(layer for layer in self.layers if layer.media_type == MODEL_TYPE)

    @property
    def external_data(self) -> tuple[Descriptor, ...]:
        """The files that hold weights of the ONNX file."""
        return tuple(layer for layer in self.layers if layer.media_type == DATA_TYPE)

    @property
    def parts(self) -> tuple[Descriptor, ...]:
        """The layers that are named in `PART_TITLES`."""
        return tuple(layer for layer in self.layers if layer.media_type in PART_TITLES.values())

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Everything the manifest refers to."""
        return (self.config, *self.layers)


def file_layer(*, title: str, media_type: str, digest: str, size: int) -> Descriptor:
    """A file of `size` bytes as a layer."""
    return Descriptor(media_type=media_type, digest=digest, size=size, annotations={TITLE: title})


def manifest_of(config: Descriptor, layers: list[Descriptor]) -> Manifest:
    """The manifest of these files, whatever their order."""
    return Manifest(config=config, layers=tuple(sorted(layers, key=lambda layer: layer.title)))


def encode(manifest: Manifest) -> bytes:
    """Deterministic JSON."""
    return msgspec.json.encode(manifest, order="deterministic")


def decode(content: bytes, *, key: str) -> Manifest:
    """The inverse of `encode`, strict: only bytes that `encode` writes. Raises `Kind.DAMAGED` naming `key`."""
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise damaged(f"{key} is not a manifest: {error}") from error
    problem = _problem(manifest) or ("its bytes are not canonical" if encode(manifest) != content else None)
    if problem is not None:
        raise damaged(f"{key} is not a manifest: {problem}")
    return manifest


def _problem(manifest: Manifest) -> str | None:
    titles = [layer.title for layer in manifest.layers]
    if titles != sorted(set(titles)):
        return "file names repeat or are not in order"
    if not all(is_plain_file_name(title) for title in titles):
        return "a file name leaves its directory"
    if manifest.config.media_type != CONFIG_TYPE or not {layer.media_type for layer in manifest.layers} <= {
        MODEL_TYPE,
        DATA_TYPE,
        *PART_TITLES.values(),
    }:
        return "unknown media type"
    if any(PART_TITLES.get(layer.title) != layer.media_type for layer in manifest.parts):
        return "a part has the name of another"
    if [layer.title for layer in manifest.layers if layer.media_type == MODEL_TYPE] != [MODEL_FILE]:
        return f"there is not exactly one model named {MODEL_FILE}"
    return None
