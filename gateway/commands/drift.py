"""`tidegate drift`: how a model's traffic compares with its reference, as a server sees it now."""

from __future__ import annotations

import urllib.parse
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from gateway.commands.histogram import bars, even
from gateway.commands.output import Exit, Json, command, document, printable, say, table
from gateway.commands.reaching import Authority, Certificate, Key, Reach, Timeout, TokenFile, Url
from registry.profile import FIRST_BIN

SHOWN = 24  # features in a table; those that moved come first
_CATEGORIES = 16  # in a histogram
_CALM = ("OK", "DRIFT")


@command
def drift(
    model: Annotated[str, typer.Argument(help="Model name.")],
    *,
    version: Annotated[str, typer.Option("--model-version", help="A number or an alias [every version that is watched].")] = "",
    everything: Annotated[bool, typer.Option("--all", help=f"Every feature, not the first {SHOWN}.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 where a version is in WARN or ALARM.")] = False,
    url: Url = None,
    timeout: Timeout = 10.0,
    ca: Authority = None,
    cert: Certificate = None,
    key: Key = None,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Show states, distances and small histograms of each feature and prediction, and a sentence for what has moved.

    --url is the HTTP port [127.0.0.1:8000].
    """
    client = Reach(url=url, timeout_s=timeout, ca=ca, cert=cert, key=key, token_file=token_file).rest()
    found = client.call("GET", _path(model, version))
    if as_json:
        document(found)
    else:
        for one in found["versions"]:
            _show(model, one, everything=everything)
    if check and any(one["state"] not in _CALM for one in found["versions"]):
        raise typer.Exit(Exit.FAILED)


def _path(model: str, version: str) -> str:
    place = f"/v2/models/{urllib.parse.quote(model, safe='')}"
    return f"{place}/versions/{urllib.parse.quote(version, safe='')}/drift" if version else f"{place}/drift"


def _show(model: str, found: dict[str, Any], *, everything: bool) -> None:
    window, reference, features = found["window"], found["reference"], found["features"]
    of = {"minutes": f"the last {window['minutes']} minutes", "day": "the last day", "all": "all time"}[window["kind"]]
    say(f"{printable(model)} version {found['version']}: {found['state']} since {_time(found['since_s'])}")
    say(f"  {printable(found['sentence'])}")
    say(f"  {found['rows']:,} rows in all, {window['rows']:,} of {of}, against {reference['rows']:,} rows of {reference['source']}")
    shown = features if everything else features[:SHOWN]
    columns = ["", "feature", "PSI", "log E", "missing", "outside", "reference", "live"]
    table(columns, map(_cells, shown), right=["PSI", "log E", "missing", "outside"], whole=["reference", "live"])
    if len(shown) < len(features):
        say(f"{len(features) - len(shown)} more features with --all")
    for feature in shown:
        if feature["state"] != "OK":
            say(f"  {printable(feature['sentence'])}")
    _show_rest(found)


def _show_rest(found: dict[str, Any]) -> None:
    """Estimated performance, segments, and what broke the contract."""
    performance = found["performance"]
    if performance is not None:
        say(f"  {printable(performance['sentence'])}")
    if found["segments"]:
        rows = [(one["name"], f"{one['rows']:,}", f"{one['psi']:.3f}", one["farthest"] or "") for one in found["segments"]]
        table(["segment", "rows", "PSI", "farthest"], rows, right=["rows", "PSI"])
    broken = [one for one in found["violations"] if one["values"]]
    for one in broken:
        what = f"{one['values']:,} values of {printable(one['input'])} in {one['rows']:,} rows"
        say(f"  {what} broke the rule on {one['rule']} ({one['mode']})")


def _cells(feature: dict[str, Any]) -> Sequence[object]:
    rates, drawn = feature["rates"], [_drawn(feature, side) for side in ("reference", "live")]
    name = feature["name"] if feature["side"] == "input" else f"{feature['name']} (prediction)"
    evidence = f"{feature['log_e']['drift']:.1f}"
    return feature["state"], name, f"{feature['psi']:.3f}", evidence, f"{rates['null']:.1%}", f"{rates['outside']:.1%}", *drawn


def _drawn(feature: dict[str, Any], side: str) -> str:
    """Bins of a number spread over cells of one width; categories as they are."""
    heights, edges = [slot[side] for slot in feature["histogram"]], feature["edges"]
    return bars(heights[:_CATEGORIES]) if edges is None else bars(even(edges, heights[FIRST_BIN : FIRST_BIN + len(edges) - 1]))


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
