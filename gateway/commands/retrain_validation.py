"""What `tidegate retrain validate` does: a report of rows, as text, JSON or a page, and the same checks for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import typer

from gateway.clock import SystemClock
from gateway.commands import place
from gateway.commands.output import Exit, UsageError, document, printable, say, table
from gateway.commands.retrain_wish import understood
from gateway.commands.watching import staged

if TYPE_CHECKING:
    from registry.store import Store
    from retrain.champion import Champion
    from retrain.planning import Wish
    from retrain.validation import Limits, Report


def perform(
    store: Store, model: str, base: str, wish: Wish | None, *, html: Path | None, suite: Path | None, tfdv: Path | None, as_json: bool
) -> None:
    """Write what is asked for; exits with 1 where a check failed."""
    from retrain.champion import champion_of
    from retrain.report import html as page
    from retrain.validation import Limits

    if wish is None and (html is not None or not (suite or tfdv)):
        raise UsageError("--data: missing; which rows shall be checked?")
    champion = champion_of(store, model, place.version(store, model, base))
    limits = wish.gates.validation if wish else Limits()
    _write_checks(champion, limits, wish, suite, tfdv)
    if wish is None:
        return
    with understood():
        report = _report(champion, wish, as_json=as_json)
    if html is not None:
        written(html, page(report))
    _show(report, as_json=as_json)
    if report.failures:
        raise typer.Exit(Exit.FAILED)


def written(path: Path, text: str) -> None:
    """Raises `UsageError` for a place that cannot be written."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


def _write_checks(champion: Champion, limits: Limits, wish: Wish | None, suite: Path | None, tfdv: Path | None) -> None:
    from retrain.expectations import suite as expectations
    from retrain.target import target_of
    from retrain.tfdv import schema_pbtxt

    if suite is not None:
        found = expectations(champion.schema, champion.profile, limits, model=champion.model, version=champion.version)
        written(suite, msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")
    if tfdv is not None:
        written(
            tfdv,
            schema_pbtxt(
                champion.schema, champion.profile, limits, label=wish.data.label if wish else "label", target=target_of(champion.schema)
            ),
        )


def _report(champion: Champion, wish: Wish, *, as_json: bool) -> Report:
    from retrain.carrying import HERE, Columns
    from retrain.inputs import inputs_of
    from retrain.planning import snapshot_of, source_of
    from retrain.sources import RowsFiles
    from retrain.target import target_of
    from retrain.validation import judge

    snapshot = snapshot_of(wish, champion, as_of_s=SystemClock().wall())
    source = source_of(wish.data, snapshot)
    if isinstance(source, RowsFiles):
        snapshot = msgspec.structs.replace(snapshot, files=source.files())
    schema, profile, dataset = champion.schema, champion.profile, snapshot.digest
    columns, limits = Columns(inputs_of(schema), target := target_of(schema)), wish.gates.validation
    opened = HERE.opened(source, snapshot, columns, memory_mib=wish.training.memory_mib, check=lambda: None)
    with staged(as_json=as_json) as told, opened as carried:
        counted = carried.survey(schema, profile, progress=lambda share: told("validating", share))
    return judge(counted, schema, profile, limits, model=champion.model, version=champion.version, dataset=dataset, target=target)


def _show(report: Report, *, as_json: bool) -> None:
    if as_json:
        document(msgspec.to_builtins(report) | {"level": report.level})
        return
    say(f"{report.rows:,} rows, {report.labelled:,} with a label: {report.level}")
    found = [(one.column or "all rows", one.check, one.level, printable(one.text)) for one in report.findings if one.level != "ok"]
    if found:
        table(["column", "check", "", "what was found"], found)
