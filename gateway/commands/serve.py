"""`tidegate serve`: settings from a file and flags, then the server until it is told to stop. Imports nothing that only people need."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.commands.output import command
from gateway.config import ConfigError, load

ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", help="Settings file (YAML); see `tidegate config explain`.")]
RepositoryPlace = Annotated[
    str | None, typer.Option("--repository", "-r", help="Directory or URL of a registry, or a Triton-style model repository.")
]
Assignments = Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Any setting, e.g. limits.wire.max_streams=64.")]


@command
def serve(
    *,
    config: ConfigFile = None,
    repository: RepositoryPlace = None,
    model: Annotated[str | None, typer.Option(help="Name of the one model whose directory --repository is.")] = None,
    name: Annotated[str | None, typer.Option(help="Name in the server's metadata.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on [127.0.0.1].")] = None,
    http_port: Annotated[int | None, typer.Option(help="REST [8000]; 0 lets the system choose.")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="gRPC [8001].")] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Metrics and health [8002].")] = None,
    admin_port: Annotated[int | None, typer.Option(help="Rollouts, for administrators of this machine [8003].")] = None,
    insecure: Annotated[
        bool | None, typer.Option("--insecure", help="Allow a host that others can reach without TLS or credentials.")
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", "-w", help="Processes that serve [one a core, at most 4].")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error [info].")] = None,
    assignments: Assignments = None,
    as_json: Annotated[bool, typer.Option("--json", help="Log JSON lines on a terminal too.")] = False,
) -> None:
    """Serve the models of a repository over gRPC and HTTP until SIGTERM or Ctrl-C.

    Flags win over the settings file.
    """
    flags: dict[str, object] = {
        "repository.path": repository,
        "repository.model": model,
        "server.name": name,
        "server.host": host,
        "server.http_port": http_port,
        "server.grpc_port": grpc_port,
        "server.metrics_port": metrics_port,
        "server.admin_port": admin_port,
        "server.insecure": insecure,
        "processes.workers": workers,
        "logging.level": log_level,
        "logging.format": "json" if as_json else None,
    }
    chosen = tuple(assignments or ())
    _check(config, flags, chosen)
    from gateway.server import Given, become

    become(Given(path=config, overrides=flags, assignments=chosen))


def _check(path: Path | None, flags: dict[str, object], assignments: tuple[str, ...]) -> None:
    """Whether there are mistakes: they are reported here, as those of the command line are."""
    try:
        load(path, flags, assignments=assignments)
    except ConfigError as error:
        if [problem.path for problem in error.problems] == ["repository.path"] and flags["repository.path"] is None:
            raise typer.BadParameter(
                "missing; where are the models? (or set repository.path in the settings file)", param_hint="--repository"
            ) from None
        raise
