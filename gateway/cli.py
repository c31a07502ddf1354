"""The command `tidegate`: a list of commands and nothing else. Every command is in `gateway.commands`."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.commands import (
    aliases,
    bench,
    capture,
    carry,
    config,
    demo,
    doctor,
    drift,
    infer,
    inspect,
    key,
    labels,
    log,
    models,
    profile,
    publish,
    reload,
    replay,
    retire,
    retrain,
    rollout,
    rollout_verbs,
    score,
    serve,
    sign,
    start,
    verify,
)
from gateway.commands.output import say

EXIT_CODES = (
    "Exit codes: 0 done; 1 failed, or a check found a problem; 2 wrong arguments, settings or input; 3 the server did not answer; "
    "4 the server refused; 5 the registry refused; 130 interrupted."
)

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None, epilog=EXIT_CODES)
for one in (
    *(serve.serve, reload.reload, publish.publish, models.models, inspect.inspect, profile.profile, verify.verify),
    *(aliases.alias, aliases.approve, aliases.reject, log.log),
    *(retire.delete, retire.hold, retire.release, retire.gc),
    *(carry.export, carry.pull, carry.backup, sign.sign),
    *(infer.infer, drift.drift, replay.replay, score.score, bench.bench, demo.demo, doctor.doctor),
):
    app.command()(one)
app.add_typer(config.app, name="config")
app.add_typer(key.app, name="key")
app.add_typer(labels.app, name="labels")
app.add_typer(capture.app, name="capture")
for name, one in rollout_verbs.COMMANDS.items():
    rollout.app.command(name)(one)
app.add_typer(rollout.app, name="rollout")
retrain.app.command()(start.start)
app.add_typer(retrain.app, name="retrain")


def _version(wanted: bool) -> None:
    if wanted:
        import importlib.metadata

        say(f"tidegate {importlib.metadata.version('tidegate')}")
        raise typer.Exit


@app.callback()
def tidegate(
    *, version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")] = False
) -> None:
    """Serve ONNX models over gRPC and HTTP, batched and watched."""


def main() -> None:
    """The entry point of the command line."""
    app(prog_name="tidegate")


if __name__ == "__main__":
    main()
