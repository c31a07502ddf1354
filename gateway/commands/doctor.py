"""`tidegate doctor`: is this machine fit to serve?"""

from __future__ import annotations

import typer

from gateway.commands.output import Exit, Json, command, document, printable, say
from gateway.commands.serve import ConfigFile, RepositoryPlace


@command
def doctor(
    *,
    config: ConfigFile = None,
    repository: RepositoryPlace = None,
    as_json: Json = False,
) -> None:
    """Check what a server needs, and its repository where one is named.

    Each line that is not ok says what to do; exits with 1 if one says FAIL.
    """
    from gateway import doctor as checks

    findings = checks.examine(checks.subject(config, repository))
    if as_json:
        document([{"check": found.check, "state": found.state.value, "detail": found.detail, "advice": found.advice} for found in findings])
    else:
        for found in findings:
            say(f"{found.state.value:4}  {found.check:12} {printable(found.detail)}")
            if found.advice:
                say(f"      {'':12} → {printable(found.advice)}")
    if any(found.state is checks.State.FAIL for found in findings):
        raise typer.Exit(Exit.FAILED)
