"""`tidegate key`: API keys for callers. A key is printed once; the server's file has its hash only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from gateway.commands.output import Exit, Json, UsageError, command, document, fail, say

app = typer.Typer(no_args_is_help=True, help="Make API keys for callers.")
_HEAD = "keys:\n"


@app.callback()
def key() -> None:
    """Make API keys for callers."""


@app.command()
@command
def new(
    name: Annotated[str, typer.Argument(help="Whose key it is; shown to operators, no secret.")],
    *,
    scope: Annotated[
        list[str] | None, typer.Option("--scope", "-s", help="What it is good for, e.g. infer:iris, infer:*, meta. Repeat.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(help='When it ends: a date or a time, UTC unless it says otherwise, e.g. "2031-01-31".')
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="The server's file of keys, to which it is added; made where it is not there.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a key. Prints it, this once, and the line for the file that `auth.keys` names.

    A running server takes the file over when it changes.
    """
    from gateway.identity import key_file, keys

    scopes = tuple(scope or ())
    _check(name, scopes, expires)
    secret, identity, digest = keys.mint()
    line = key_file.line(name, identity, digest, scopes, expires)
    if file is not None:
        _add(file, name, line)
    if as_json:
        document({"name": name, "key": secret, "line": line, "file": None if file is None else str(file)})
        return
    say(secret)
    say()
    say(f"added to {file}" if file is not None else f"{_HEAD}{line}")


def _check(name: str, scopes: tuple[str, ...], expires: str | None) -> None:
    """Raises UsageError for what the file could not hold."""
    from gateway.identity import key_file
    from gateway.identity.scopes import problem_among
    from gateway.typed_yaml import MisfitError

    try:
        key_file.check_name(name)
        if expires is not None:
            key_file.moment(expires)
    except (MisfitError, ValueError) as error:
        raise UsageError(str(error)) from None
    if not scopes:
        raise UsageError("--scope: a key without one is good for nothing")
    if problem := problem_among(scopes):
        raise UsageError(f"--scope: {problem}")


def _add(file: Path, name: str, line: str) -> None:
    """Add a line, whole or not at all: a server may read at any moment. A new file is its owner's alone."""
    from gateway.identity import key_file

    draft = file.with_name(f"{file.name}.new")
    try:
        text, mode = (file.read_text(), file.stat().st_mode & 0o777) if file.exists() else (_HEAD, 0o600)
        if any(one.name == name for one in (key_file.read(file) if file.exists() else ())):
            raise UsageError(
                f"{file}: there is a key {name} already: give this one another name, and take that one out when it is replaced"
            )
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as written:
            written.write(f"{text.rstrip() or _HEAD.rstrip()}\n{line}\n")
        try:
            key_file.read(draft)
            os.replace(draft, file)
        finally:
            draft.unlink(missing_ok=True)
    except key_file.KeyFileError as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        fail(Exit.FAILED, f"{error.filename or file}: {error.strerror}")
