"""Progress of long work, such as hashing and copying: a bar on standard error where somebody looks at it, else nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from registry.medium import Progress, unseen


@contextmanager
def watched(title: str, *, as_json: bool, total_bytes: Callable[[], int] | None = None) -> Iterator[Progress]:
    """Something to tell bytes to. `total_bytes` is asked only where a bar is drawn; without it nobody knows how far it is."""
    if as_json or not sys.stderr.isatty():
        yield unseen
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(bar_width=None),
        progress.DownloadColumn(binary_units=True),
        progress.TransferSpeedColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        if total_bytes is not None:
            bar.update(task, total=total_bytes())
        yield lambda count: bar.advance(task, count)


@contextmanager
def counted(title: str, total: int, *, as_json: bool) -> Iterator[Callable[[int], object]]:
    """Something to tell how many more of `total` are done."""
    if as_json or not sys.stderr.isatty():
        yield lambda _count: None
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(bar_width=None),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda count: bar.advance(task, count)


@contextmanager
def staged(*, as_json: bool) -> Iterator[Callable[[str, float | None], None]]:
    """Something to tell what is being done, and which share of that is done, where anybody knows: a bar for each, one after the other."""
    if as_json or not sys.stderr.isatty():
        yield lambda _what, _share: None
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.SpinnerColumn(finished_text="✓"),
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(bar_width=None),
        progress.TaskProgressColumn(),
        progress.TimeElapsedColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, progress.TaskID] = {}

        def told(what: str, share: float | None) -> None:
            if what not in tasks:
                for other in tasks.values():
                    bar.update(other, total=1.0, completed=1.0)
                tasks[what] = bar.add_task(what, total=None if share is None else 1.0)
            if share is not None:
                bar.update(tasks[what], total=1.0, completed=share)

        yield told
