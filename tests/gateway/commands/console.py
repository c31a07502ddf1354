"""The command line as a test uses it: arguments in, text or JSON and an exit code out."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gateway import cli, server
from gateway.commands.output import Exit
from gateway.config import Config
from gateway.control import supervisor


def run(*arguments: object, stdin: str | None = None) -> Result:
    """The outcome of `tidegate ARGUMENTS`."""
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments], input=stdin)


def done(*arguments: object) -> str:
    """What a command that succeeds prints."""
    result = run(*arguments)
    assert Exit.DONE == result.exit_code, result.output
    assert "" == result.stderr
    return result.stdout


def parsed(*arguments: object) -> Any:
    """The document of a command that succeeds with --json."""
    return json.loads(done(*arguments, "--json"))


def failed(code: Exit, *arguments: object) -> str:
    """What a command that fails as expected says on standard error."""
    result = run(*arguments)
    assert code == result.exit_code, result.output
    assert "Traceback" not in result.output
    return result.stderr


def serve_here(monkeypatch: pytest.MonkeyPatch, serve: Callable[[Config, Callable[[], Config]], int]) -> None:
    """Have `tidegate serve` call this with its settings and how to read them anew, where it would become a server."""

    def become(program: str, arguments: list[str]) -> None:
        assert [program, "-P", "-m", "gateway.server"] == arguments[:-1]
        raise SystemExit(server.main(arguments[-1]))

    monkeypatch.setattr(supervisor, "run", serve)
    monkeypatch.setattr(os, "execv", become)
