"""`tidegate demo`: the story on a terminal, then a server that stays up until Ctrl-C."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.commands.output import Exit, Json, command, document, fail, printable

if TYPE_CHECKING:
    from rich.console import Console

    from gateway.demo_story import Server, Step


@command
def demo(
    *,
    registry: Annotated[Path, typer.Option("--registry", "-r", help="Where the model is published.")] = Path("demo-registry"),
    quick: Annotated[bool, typer.Option("--quick", help="Replay fewer flights.")] = False,
    leave: Annotated[bool, typer.Option("--exit", help="End after the story instead of serving until Ctrl-C.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the year: when labels come, and of what is trained in it.")] = 0,
    as_json: Json = False,
) -> None:
    """Train on real flights, publish, serve, replay the months after and see what drifts. --json prints a summary and implies --exit."""
    from rich.console import Console

    from gateway import demo as act
    from gateway.demo_story import DemoError

    console = Console(highlight=False, stderr=as_json)
    console.print("Will a flight from New York arrive more than 15 minutes late?\n", style="bold")
    try:
        with act.running(Terminal(console), registry=registry, scale=act.QUICK if quick else act.FULL, seed=seed) as (server, summary):
            if as_json:
                document(summary)
            elif not leave:
                _stay(console, server)
    except ImportError as error:
        fail(Exit.FAILED, f"{error.name} is not installed: pip install 'tidegate[demo]'")
    except DemoError as error:
        fail(Exit.FAILED, *str(error).splitlines())


class Terminal:
    """Tells the story: one line per step, a spinner while it runs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._steps = 0

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Announce a step; the block does it."""
        from rich.table import Table
        from rich.text import Text

        self._steps += 1
        head = Text(f"{self._steps} {title:8}", style="bold")
        said: list[str] = []
        with self._console.status(head):
            yield said.append
        line = Table.grid(padding=(0, 1))
        line.add_row(head, Text(printable("".join(said))))
        self._console.print(line)

    def table(self, columns: list[str], rows: list[tuple[str, ...]]) -> None:
        """Show some figures. A narrow terminal wraps lines, and loses nothing."""
        widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
        for cells, style in ((columns, "bold"), *((row, "") for row in rows)):
            head, *figures = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
            line = "  ".join([head.strip().ljust(widths[0]), *figures])
            self._console.print(" " * 11 + line, style=style, markup=False, soft_wrap=True)

    def text(self, text: str) -> None:
        """Show a line."""
        self._console.print(printable(text), style="dim", markup=False, soft_wrap=True)


def _stay(console: Console, server: Server) -> None:
    """Say what to look at, and wait until Ctrl-C or until the server ends."""
    pages = {
        f"http://{server.http}/v2/models/flights": "the model's inputs and outputs",
        f"http://{server.metrics}/metrics": "counts, latencies, batch sizes, and drift",
        f"tidegate drift flights --url {server.http}": "what has moved, with small histograms",
        f"tidegate infer flights --url {server.grpc}": "the same on the command line; add --csv FILE to ask",
        f"tidegate bench flights --url {server.grpc}": "a short load",
    }
    try:
        console.print("\nThe server stays up; Ctrl-C ends it. Look at", style="bold")
        for page, what in pages.items():
            console.print(f"  {page:45} {what}", soft_wrap=True)
        status = server.child.wait()
    except KeyboardInterrupt:
        console.print("\nstopping")
        return
    fail(Exit.FAILED, f"the server ended with status {status}; its last words:", *server.child.last_lines())
