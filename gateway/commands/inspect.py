"""`tidegate inspect`: one version with all that is known of it, or one model."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from gateway.commands import facts, place
from gateway.commands.output import Json, command, document, moment, paragraphs, printable, say, short, size, table

MAX_SHOWN_VALUES = 8  # of categories


@command
def inspect(
    model: Annotated[str, typer.Argument(help="Model name.")],
    version: Annotated[str | None, typer.Argument(help="A number or an alias; without one, the model's versions.")] = None,
    *,
    registry: place.Registry,
    key: place.Keys = None,
    option: place.Options = None,
    as_json: Json = False,
) -> None:
    """Show a model's versions, aliases and holds, or everything about one version. Files are not hashed; `verify` does that."""
    store = place.existing(registry, option)
    place.check_model(store, model)
    if version is None:
        found = facts.of_model(store, model)
        show: Any = _show_model
    else:
        found = facts.of_version(store, model, store.resolve(model, version), place.trusted(key))
        show = _show_version
    if as_json:
        document(found)
    else:
        show(found)


def _show_model(found: dict[str, Any]) -> None:
    say(printable(found["model"]))
    cells = [
        (row["version"], _standing(found, row["version"]), short(row["digest"]), row["publisher"], _time(row["created"]))
        for row in found["versions"]
    ]
    table(["version", "aliases, holds", "digest", "publisher", "created"], cells, right=["version"])
    if found["deleted"]:
        say(f"deleted: {', '.join(map(str, found['deleted']))}")
    _show_leases(found["leases"])


def _standing(found: dict[str, Any], version: int) -> str:
    aliases = [alias for alias, number in sorted(found["aliases"].items()) if number == version]
    return ", ".join(aliases + [f"hold {name}" for name, number in sorted(found["holds"].items()) if number == version])


def _show_version(found: dict[str, Any]) -> None:
    say(f"{printable(found['model'])} version {found['version']}")
    _line("manifest", found["digest"])
    _line("published", f"{_time(found['created'])} by {found['publisher']}, publish id {found['publish_id']}")
    _line("aliases", ", ".join(found["aliases"]) or "none")
    _line("holds", ", ".join(found["holds"]))
    opsets = ", ".join(f"{domain or 'ai.onnx'} {number}" for domain, number in found["opsets"].items())
    _line("format", f"ONNX IR {found['ir_version']}, operators {opsets}, made by {found['producer'] or 'nobody'}")
    _show_signatures(found["signatures"])
    say("\nfiles")
    files = [(file["name"], size(file["size_bytes"]), short(file["digest"])) for file in found["files"]]
    table(["name", "size", "digest"], files, right=["size"])
    for way in ("inputs", "outputs"):
        say(f"\n{way}")
        table(["name", "type", "shape", "what it means"], [_field(port) for port in found[way]])
    _show_parts(found)
    for opinion in found["opinions"]:
        word = "approves" if opinion["approved"] else "rejects"
        say(printable(f"{opinion['actor']} {word} it as {opinion['alias']}"))
    _show_leases(found["leases"])


def _line(what: str, text: str) -> None:
    if text:
        say(f"  {what:10} {printable(text)}")


def _show_signatures(found: dict[str, Any]) -> None:
    verified = found["verified"]
    if verified is None:
        claimed = ", ".join(key or "a key without an id" for key in found["claimed"])
        _line("signed", f"not checked without --key: by {claimed}" if claimed else "")
        return
    for key in found["checked_with"]:
        _line("signed" if key in verified else "NOT signed", f"by key {key}")


def _field(port: dict[str, Any]) -> tuple[str, ...]:
    shape = "any" if port["shape"] is None else f"[{', '.join('?' if size is None else str(size) for size in port['shape'])}]"
    return port["name"], port["type"], shape, "; ".join(_meanings(port))


def _meanings(port: dict[str, Any]) -> list[str]:
    found = []
    if port.get("nulls") == "refused":
        found.append("never missing")
    if "null_value" in port:
        found.append(f"missing is {port['null_value']!r}")
    if limits := port.get("range"):
        ends = ["-∞" if limits["min"] is None else f"{limits['min']:g}", "∞" if limits["max"] is None else f"{limits['max']:g}"]
        found.append(f"from {ends[0]} to {ends[1]}")
    if categories := port.get("categories"):
        more = f", … ({len(categories)})" if len(categories) > MAX_SHOWN_VALUES else ""
        found.append("one of " + ", ".join(map(repr, categories[:MAX_SHOWN_VALUES])) + more)
    return found + [port[name] for name in ("unit", "description") if port.get(name)]


def _show_parts(found: dict[str, Any]) -> None:
    if golden := found["golden"]:
        tolerance = golden["tolerance"]
        say(f"\ngolden requests: {golden['requests']}, equal within {tolerance['absolute']:g} + {tolerance['relative']:g} of the value")
    for part in ("training", "serving"):
        if found[part]:
            say(f"\n{part}")
            for name, value in found[part].items():
                if name != "format":
                    say(f"  {printable(name)}: {printable(_plain(value))}")
    if found["profile"]:
        say(f"\nreference profile: {profile_line(found['profile'])}")
    if found["card"]:
        say("\ncard")
        paragraphs(found["card"])


def profile_line(found: dict[str, Any]) -> str:
    """What `facts.of_profile` gives."""
    features = f"{found['numeric']} numeric and {found['categorical']} categorical features"
    more = ["calibrated" if found["is_calibrated"] else "", f"{found['windows']} clean windows" if found["windows"] else ""]
    return ", ".join([f"{found['rows']:,} rows ({found['source']})", features, *filter(None, more), size(found["size_bytes"])])


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(inner)}" for name, inner in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def _show_leases(leases: list[dict[str, Any]]) -> None:
    for lease in leases:
        say(printable(f"lease of version {lease['version']} by {lease['holder']}, until {_time(lease['expires'])}"))


def _time(text: str) -> str:
    return moment(datetime.fromisoformat(text))
