"""`tidegate reload`: have a running server read its settings and its repository anew."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Annotated

import typer

from gateway.commands.output import Exit, Json, UsageError, command, document, fail, say
from gateway.commands.serve import ConfigFile


@command
def reload(
    *,
    config: ConfigFile = None,
    state: Annotated[Path | None, typer.Option("--state", help="The server's state directory [that of the settings file].")] = None,
    pid: Annotated[int | None, typer.Option("--pid", min=2, help="The server's process, where it has no state directory.")] = None,
    as_json: Json = False,
) -> None:
    """Ask a server of this machine to take over what changed in its settings file, to look at its repository, and to try again what failed.

    It goes on serving meanwhile; its log says what changed, and what needs a restart. With settings that are wrong it keeps the old ones.
    """
    found = pid if pid is not None else _holder(_place(config, state))
    try:
        os.kill(found, signal.SIGHUP)
    except ProcessLookupError:
        fail(Exit.UNREACHABLE, f"there is no process {found}")
    except PermissionError:
        fail(Exit.FAILED, f"process {found} is somebody else's")
    if as_json:
        document({"pid": found})
    else:
        say(f"process {found} reloads; its log says what changed")


def _place(config: Path | None, state: Path | None) -> Path:
    from gateway.config import load

    if config is not None and state is None:
        state = load(config).processes.state
    if state is None:
        raise UsageError("which server? give --pid, --state, or --config with processes.state in it")
    return state


def _holder(state: Path) -> int:
    from registry.state_directory import holder

    found = holder(state)
    if found is None:
        fail(Exit.UNREACHABLE, f"no server holds {state}")
    return found
