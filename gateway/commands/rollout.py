"""`tidegate rollout`: whether a rollout file says rightly what it says, what it will take, and what can be said. Asks no registry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.commands import forecasts
from gateway.commands.output import Exit, Json, UsageError, command, document, fail, printable, say
from gateway.commands.reaching import Authority, Certificate, Key, Reach, Timeout, TokenFile
from gateway.typed_yaml import Problem

if TYPE_CHECKING:
    from gateway.rollout.plan import Plan

app = typer.Typer(no_args_is_help=True, help="Bring a new version to traffic, step by step, with verdicts.")
PlanFile = Annotated[Path, typer.Argument(metavar="FILE", help="Rollout file (YAML).")]


@app.callback()
def rollout() -> None:
    """Bring a new version to traffic, step by step, with verdicts."""


@app.command()
@command
def lint(
    file: PlanFile,
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for warnings too.")] = False,
    as_json: Json = False,
) -> None:
    """Check a rollout file. Prints every mistake and every warning with its line; exits with 1 where there is a mistake."""
    from gateway.rollout import spec

    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    digest = None
    try:
        read = spec.load(file)
        warnings, digest = read.warnings, spec.digest(read.plan)
    except spec.SpecError as error:
        problems = error.problems
    if as_json:
        document({"valid": not problems, "problems": _rows(problems), "warnings": _rows(warnings), "digest": digest})
    else:
        for problem in problems:
            say(printable(str(problem)))
        for warning in warnings:
            say(printable(f"{_place(warning)}: warning: {warning.path}: {warning.message}"))
        if digest is not None:
            say(f"{printable(str(file))}: valid, plan {digest}")
    if problems or (strict and warnings):
        raise typer.Exit(Exit.FAILED)


@app.command()
@command
def plan(
    file: PlanFile,
    *,
    base_rate: Annotated[
        list[str] | None,
        typer.Option("--base-rate", metavar="[METRIC=]RATE", help="Share of stable's units that have the event; repeatable."),
    ] = None,
    requests_per_second: Annotated[
        float | None, typer.Option("--requests-per-second", min=0.0, help="Traffic of the model, over all workers and servers.")
    ] = None,
    requests_per_unit: Annotated[
        float, typer.Option("--requests-per-unit", min=1.0, help="Requests of one unit, such as of one user, while a step lasts.")
    ] = 1.0,
    server: Annotated[
        str | None, typer.Option("--server", metavar="HOST:PORT", help="Look at the traffic of a running server, at its metrics port.")
    ] = None,
    over: Annotated[str, typer.Option("--over", help="How long to look at --server.")] = "10s",
    timeout: Timeout = 10.0,
    ca: Authority = None,
    cert: Certificate = None,
    key: Key = None,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Say what each step of a rollout will take: traffic of the candidate, units and time to PASS and to FAIL."""
    import msgspec

    from gateway.rollout.forecast import forecast

    found = understood(file)
    if server is None:
        traffic = forecasts.stated(found, base_rate or (), requests_per_second, requests_per_unit)
    elif requests_per_second is not None:
        raise UsageError("--requests-per-second: what --server sees is used; leave one of them out")
    else:
        client = Reach(url=server, timeout_s=timeout, ca=ca, cert=cert, key=key, token_file=token_file).rest()
        traffic = forecasts.measured(found, client, _duration("--over", over), base_rate or (), requests_per_unit)
    expected = forecast(found, traffic)
    if as_json:
        document(msgspec.to_builtins(expected))
    else:
        forecasts.show(expected)


@app.command()
@command
def schema(
    *,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables of docs/rollouts.md.")] = False,
    as_json: Json = False,
) -> None:
    """Print the JSON schema of rollout files, for editors: docs/rollout.schema.json."""
    from gateway.rollout import manual

    if markdown and as_json:
        raise UsageError("--markdown: not with --json")
    if markdown:
        say(manual.tables().rstrip("\n"))
    else:
        document(manual.schema())


def understood(file: Path) -> Plan:
    """The plan of a file for a command that needs one; its mistakes end the command."""
    from gateway.rollout import spec

    try:
        return spec.load(file).plan
    except spec.SpecError as error:
        fail(Exit.USAGE, *(str(problem) for problem in error.problems))


def _duration(flag: str, text: str) -> float:
    """Seconds. Raises `UsageError`."""
    import msgspec

    from gateway.rollout.plan import Duration, seconds

    try:
        return seconds(msgspec.convert(text, Duration))
    except msgspec.ValidationError:
        raise UsageError(f"{flag}: expected a duration such as 15m, got {text!r}") from None


def _place(problem: Problem) -> str:
    return f"{problem.source}:{problem.line}:{problem.column}" if problem.line else problem.source


def _rows(problems: tuple[Problem, ...]) -> list[dict[str, object]]:
    return [{key: getattr(problem, key) for key in ("source", "line", "column", "path", "message")} for problem in problems]
