"""The program of a server: settings as `tidegate serve` was given them, then the supervisor. Started in the place of the command, in the
same process, so that what reads command lines and writes tables for people is not in memory for as long as the server runs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from gateway.config import Config, ConfigError, load


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """The one argument of the program: as `config.load` takes it."""

    path: Path | None
    overrides: dict[str, Any]
    assignments: tuple[str, ...]


def become(given: Given) -> NoReturn:
    """Replace this process by the program. Raises `OSError`."""
    argument = msgspec.json.encode(given, enc_hook=str).decode()
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", "gateway.server", argument])  # noqa: S606 - no shell is wanted


def main(argument: str) -> int:
    """The program. Returns the exit status."""
    from gateway.control.supervisor import run  # nothing that `become` needs

    given = msgspec.json.decode(argument, type=Given, dec_hook=lambda kind, value: kind(value))

    def settings() -> Config:
        return load(given.path, given.overrides, assignments=given.assignments)

    try:
        return run(settings(), settings)
    except ConfigError as error:  # the file has changed since the command read it
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
