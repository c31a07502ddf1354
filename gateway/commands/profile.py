"""`tidegate profile`: the reference that a version's traffic is held against, shown, or made for a version that has none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.clock import SystemClock
from gateway.commands import facts, place, submissions
from gateway.commands.histogram import bars, even
from gateway.commands.inspect import profile_line
from gateway.commands.output import Json, UsageError, command, document, printable, say, table
from registry.errors import Kind, RegistryError

if TYPE_CHECKING:
    from registry.profile import Categorical, Numeric
    from registry.publish import Published
    from registry.store import Store

SHOWN_CATEGORIES = 12  # in a histogram
_NAMED = 3  # categories by name
_NOTHING = 1e-37  # the number below 0, as an edge, is shown as 0


@command
def profile(
    model: Annotated[str, typer.Argument(help="Model name.")],
    *,
    version: Annotated[str | None, typer.Option("--version", help="A number or an alias [champion, or the only version].")] = None,
    registry: place.Registry,
    reference: submissions.ReferenceFile = None,
    label: submissions.Label = None,
    time: submissions.Time = None,
    ignore: submissions.Ignore = None,
    publish_id: Annotated[str | None, typer.Option(help="A name for the attempt [follows from version and profile].")] = None,
    publisher: Annotated[str | None, typer.Option(help="Who publishes [the user].")] = None,
    option: place.Options = None,
    as_json: Json = False,
) -> None:
    """Show the reference profile of a version, or publish the version once more with one.

    With --reference, the same files become the next version, with the profile of those rows. A version itself never changes.
    """
    rows = submissions.reference(reference, label=label, time=time, ignore=ignore)
    store = place.existing(registry, option)
    place.check_model(store, model)
    number = _number(store, model, version)
    if rows is None:
        _show(store, model, number, as_json=as_json)
        return
    from registry.reprofile import with_reference

    done = with_reference(
        store, model, number, rows, publisher=publisher or place.user(), now_s=SystemClock().wall(), publish_id=publish_id
    )  # fmt: skip
    found = _stored(store, model, done.version)
    aliases = sorted(alias for alias, stands in store.aliases(model).all().items() if stands == number != done.version)
    _tell(number, done, found, aliases, as_json=as_json)


def _number(store: Store, model: str, version: str | None) -> int:
    if version is not None:
        return place.version(store, model, version)
    champion, numbers = store.aliases(model).all().get("champion"), store.versions(model)
    if champion is None and len(numbers) != 1:
        raise UsageError(f"--version: missing; model '{model}' has no champion and {len(numbers)} versions")
    return numbers[0] if champion is None else champion


def _stored(store: Store, model: str, version: int) -> bytes:
    """The profile of a version. Raises `Kind.NOT_FOUND` where it has none."""
    from registry.parts import read_parts

    content = read_parts(store.manifest(model, version), store.read_blob, only=("profile.json",)).profile
    if content is None:
        text = f"version {version} of model '{model}' has no reference profile; --reference ROWS.parquet makes one"
        raise RegistryError(Kind.NOT_FOUND, text)
    return content


def _tell(before: int, done: Published, found: bytes, aliases: list[str], *, as_json: bool) -> None:
    """What was published, and what still stands for the version without it."""
    if as_json:
        names = ("model", "version", "digest", "publish_id", "new")
        row = {name: getattr(done, name) for name in names} | {"from_version": before, "profile": facts.of_profile(found)}
        document(row | {"notes": list(done.notes), "aliases": aliases})
        return
    what = "published" if done.new else "had been published before"
    say(f"{done.model} version {done.version} {what}: version {before} with a reference profile")
    say(f"  manifest {done.digest}")
    say(f"  profile  {profile_line(facts.of_profile(found))}")
    for note in done.notes:
        say(f"  note     {printable(note)}")
    for alias in aliases:
        say(f"{alias} still stands for version {before}: tidegate alias {done.model} {alias} {done.version}")


def _show(store: Store, model: str, version: int, *, as_json: bool) -> None:
    import msgspec

    from registry.profile import decode

    content = _stored(store, model, version)
    found = decode(content, key="profile.json")
    if as_json:
        row = {"model": model, "version": version, "manifest": store.record(model, version).manifest, "digest": found.digest}
        document(row | {"profile": msgspec.to_builtins(found)})
        return
    say(f"{printable(model)} version {version}: {profile_line(facts.of_profile(content))}")
    cells = [*(_number_cells(feature) for feature in found.numeric), *(_category_cells(feature) for feature in found.categorical)]
    table(["feature", "of", "bins", "missing", "tau", "values", "histogram"], cells, right=["bins", "missing", "tau"], whole=["histogram"])
    if table_ := found.calibration:
        say(f"scores of {printable(table_.port)}[{table_.element}]: {sum(table_.counts):,} labelled rows, accuracy {table_.accuracy:.1%}, "
            f"AUC {table_.auc:.3f}, a yes from {table_.threshold:g}")  # fmt: skip
    if windows := found.windows:
        hours = len(set(windows.hours) - {-1})
        known = f"in {hours} hours of the week" if hours else "of unknown hours"
        say(f"{len(windows.scores)} clean windows of {windows.rows} rows, {known}; mean PSI up to {max(windows.scores):.3f}")


def _number_cells(feature: Numeric) -> tuple[Any, ...]:
    inner = feature.counts[2:-3]
    missing = _share(feature.counts[-1], sum(feature.counts))
    low, high = (0.0 if abs(edge) < _NOTHING else edge for edge in (feature.edges[0], feature.edges[-1]))
    values = f"{low:.4g} … {high:.4g}, mean {feature.mean:.4g}"
    return feature.name, feature.side, feature.bins, missing, f"{feature.tau:.1f}", values, bars(even(feature.edges, inner))


def _category_cells(feature: Categorical) -> tuple[Any, ...]:
    *counts, other, null = feature.counts
    named = ", ".join(map(str, feature.categories[:_NAMED])) + (", …" if len(counts) > _NAMED else "")
    values = f"{named}; other {_share(other, sum(feature.counts))}" if other else named
    shown = bars([*counts[:SHOWN_CATEGORIES], *([sum(counts[SHOWN_CATEGORIES:]) + other] if len(counts) > SHOWN_CATEGORIES else [])])
    return feature.name, feature.side, len(counts), _share(null, sum(feature.counts)), f"{feature.tau:.1f}", values, shown


def _share(count: int, rows: int) -> str:
    return f"{count / rows:.1%}" if count else "0"
