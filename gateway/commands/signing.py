"""Keys that sign, as people keep them: a PEM file and, where it is encrypted, a password that is asked for or lies in a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.commands import files
from gateway.commands.output import UsageError

if TYPE_CHECKING:
    from registry.signatures import PrivateKey

PasswordFile = Annotated[Path | None, typer.Option("--password-file", help="A file whose first line opens an encrypted key.")]
MAX_KEY_BYTES = 64 << 10


def private_key(path: Path, password_file: Path | None) -> PrivateKey:
    """The key in a file. Raises `UsageError` for what is no P-256 key, and where nobody can be asked for its password."""
    from registry import signatures

    pem = files.content(path, max_bytes=MAX_KEY_BYTES)
    password = _password(path, password_file, encrypted=b"ENCRYPTED" in pem)
    return files.understood(path, lambda: signatures.private_key(pem, password=password))


def _password(path: Path, password_file: Path | None, *, encrypted: bool) -> bytes | None:
    if password_file:
        return files.content(password_file, max_bytes=MAX_KEY_BYTES).partition(b"\n")[0].rstrip(b"\r")
    if not encrypted:
        return None
    if not sys.stdin.isatty():
        raise UsageError(f"{path} is encrypted: give --password-file, or run this where the password can be typed")
    password: str = typer.prompt(f"Password of {path}", hide_input=True, err=True)
    return password.encode()
