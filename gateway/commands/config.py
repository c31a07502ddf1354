"""`tidegate config`: what can be set, and whether a file sets it rightly."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.commands.output import Exit, Json, UsageError, command, document, printable, say, table
from gateway.typed_yaml import Problem

app = typer.Typer(no_args_is_help=True, help="Explain and check settings.")


@app.command()
@command
def explain(
    path: Annotated[str, typer.Argument(help="Only this section or setting, e.g. limits.wire.")] = "",
    *,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/configuration.md.")] = False,
    as_json: Json = False,
) -> None:
    """Print every setting with its type, default, unit and meaning."""
    from gateway import config_explain

    if markdown:
        say(config_explain.markdown().rstrip("\n"))
        return
    found = config_explain.find(path)
    if not found:
        raise UsageError(f"there is no setting or section {path!r}; see `tidegate config explain`")
    rows = [setting for section in found for setting in section.settings]
    if as_json:
        document([{key: getattr(row, key) for key in ("path", "type", "default", "unit", "meaning")} for row in rows])
        return
    for section in found:
        say(f"\n{section.path}: {section.meaning}")
        cells = [(row.path.rpartition(".")[2], row.type, row.default or "required", row.unit, row.meaning) for row in section.settings]
        table(["setting", "type", "default", "unit", "meaning"], cells)


@app.command()
@command
def check(
    file: Annotated[Path, typer.Argument(help="Settings file.")],
    *,
    as_json: Json = False,
) -> None:
    """Check a settings file. Prints every mistake with its line, and exits with 1 if there is one; else what is open to whom."""
    from gateway.config import ConfigError, load
    from gateway.exposure import exposure

    problems: tuple[Problem, ...] = ()
    opened: list[str] = []
    try:
        opened = exposure(load(file))
    except ConfigError as error:
        problems = error.problems
    if as_json:
        keys = ("source", "line", "column", "path", "message")
        document(
            {"valid": not problems, "problems": [{key: getattr(problem, key) for key in keys} for problem in problems], "open": opened}
        )
    else:
        say("\n".join(str(problem) for problem in problems) or f"{file}: valid")
        for line in opened:
            say(f"  {printable(line)}")
    if problems:
        raise typer.Exit(Exit.FAILED)
