"""Signatures of webhooks, as Standard Webhooks has them, and the files in which their secrets lie. A secret is never in a text or a log.

A file has one secret a line, `whsec_` and base64 of 24 to 64 bytes. During a change it has two: every message carries a signature by each.
Source: github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from pathlib import Path

PREFIX = "whsec_"
MIN_BYTES, MAX_BYTES = 24, 64
MAX_SECRETS = 4  # of one file
_MAX_FILE_BYTES = 4_096


class SecretError(Exception):
    """A file of secrets that cannot be used. The text names the file as the plan does, and nothing of what is in it."""


class Secrets:
    """The directory of secrets. A plan names a file in it, and cannot name one elsewhere."""

    def __init__(self, folder: Path | None) -> None:
        """`folder` None: there are no secrets."""
        self._folder = folder

    def read(self, name: str) -> tuple[bytes, ...]:
        """The secrets of a file as they are now. Raises SecretError."""
        path = self._path(name)
        try:
            with path.open("rb") as file:
                content = file.read(_MAX_FILE_BYTES + 1)
        except OSError as error:
            raise SecretError(f"secretFile {name!r} cannot be read: {error.strerror}") from None
        lines = content.split()
        if len(content) > _MAX_FILE_BYTES or not 1 <= len(lines) <= MAX_SECRETS:
            raise SecretError(f"secretFile {name!r} must have 1 to {MAX_SECRETS} secrets, one a line")
        return tuple(_secret(line, name) for line in lines)

    def _path(self, name: str) -> Path:
        if self._folder is None:
            raise SecretError("webhooks.secrets is not set: there is nothing to sign with")
        folder = self._folder.resolve()
        path = (folder / name).resolve()
        if not path.is_relative_to(folder) or path == folder:
            raise SecretError(f"secretFile {name[:80]!r} is not in the directory of webhooks.secrets")
        return path


def _secret(line: bytes, name: str) -> bytes:
    try:
        secret = base64.b64decode(line.removeprefix(PREFIX.encode()), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not MIN_BYTES <= len(secret) <= MAX_BYTES:
        raise SecretError(f"secretFile {name!r}: a secret is {PREFIX} and base64 of {MIN_BYTES} to {MAX_BYTES} bytes")
    return secret


def signature(secret: bytes, webhook_id: str, timestamp_s: int, body: bytes) -> str:
    """`v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`."""
    content = f"{webhook_id}.{timestamp_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, content, "sha256")).decode()


def headers(secrets: Sequence[bytes], webhook_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """What goes with one attempt."""
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(signature(secret, webhook_id, timestamp_s, body) for secret in secrets),
    }
