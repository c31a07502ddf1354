"""The closed list of ways the registry can refuse. Knows no transport; the gateway maps each kind to its own code."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import contextmanager


class Kind(enum.Enum):
    """Why an operation on the registry did not happen. The value is the word that tools print."""

    INVALID_NAME = "invalid_name"  # a model name, version, digest or person that breaks the grammar
    INVALID_MODEL = "invalid_model"  # the submitted files are refused; nothing was stored
    NOT_FOUND = "not_found"  # no such registry, model or version
    CONFLICT = "conflict"  # an id that stands for something else, an alias that moved meanwhile, a directory that is something else
    POLICY = "policy"  # the registry's policy asks for what is not there: approvals, evidence, signatures
    DAMAGED = "damaged"  # stored bytes are not what they must be
    UNSUPPORTED = "unsupported"  # a layout or a feature that this release does not read
    STORAGE = "storage"  # the file system refused: full, read-only, permissions, I/O


class RegistryError(Exception):
    """An expected failure. `message` names models, versions and keys relative to the registry's root."""

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


class DigestMismatchError(RegistryError):
    """Stored bytes of a version that are not the published ones. `got` is their digest, or their size where that already differs."""

    def __init__(self, *, model: str, version: int, file: str, expected: str, got: str) -> None:
        super().__init__(Kind.DAMAGED, f"{file} of version {version} of model '{model}' is damaged: expected {expected}, got {got}")
        self.model = model
        self.version = version
        self.file = file
        self.expected = expected
        self.got = got


def damaged(message: str) -> RegistryError:
    """Stored bytes that are wrong; the text names the key."""
    return RegistryError(Kind.DAMAGED, message)


def refused(message: str) -> RegistryError:
    """A submitted model that does not become a version."""
    return RegistryError(Kind.INVALID_MODEL, message)


@contextmanager
def storage_errors(deed: str) -> Iterator[None]:
    """Turn an `OSError` inside the block into `Kind.STORAGE` with the text "cannot <deed>: <reason>"."""
    try:
        yield
    except OSError as error:
        raise RegistryError(Kind.STORAGE, f"cannot {deed}: {error.strerror or error}") from error
