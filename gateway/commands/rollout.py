"""`tidegate rollout`: what a rollout file says, whether it says it rightly, and what it will take. Asks no registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.commands.output import Exit, Json, command, document, printable, say
from gateway.typed_yaml import Problem

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


def _place(problem: Problem) -> str:
    return f"{problem.source}:{problem.line}:{problem.column}" if problem.line else problem.source


def _rows(problems: tuple[Problem, ...]) -> list[dict[str, object]]:
    return [{key: getattr(problem, key) for key in ("source", "line", "column", "path", "message")} for problem in problems]
