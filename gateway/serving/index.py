"""What a repository has, line by line, as the protocol's repository extension lists it: which versions serve, come, or cannot, and why.

Source: github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_repository.md.
"""

from __future__ import annotations

import msgspec

from gateway.serving.routing import Routes

READY, LOADING, UNLOADING, UNAVAILABLE = "READY", "LOADING", "UNLOADING", "UNAVAILABLE"
ASLEEP = "it is loaded when somebody asks for it"
DRAINING = "requests that have it are being answered"


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One version; a model of which none shall serve, or none before somebody asks for it, has one entry without a version."""

    name: str
    version: str = ""
    state: str = ""
    reason: str = ""


def entries(routes: Routes) -> tuple[Entry, ...]:
    """All of one table, by name and number. A version that serves has a reason where it was to be loaded anew and could not be."""
    serving = {(version.name, version.number): READY for version in routes.all()}
    states = dict.fromkeys(routes.unloading, UNLOADING) | dict.fromkeys(routes.failed, UNAVAILABLE) | dict.fromkeys(routes.loading, LOADING)
    states |= serving
    reasons = dict(routes.failed) | {key: DRAINING for key, state in states.items() if state == UNLOADING}
    found = {key: Entry(key[0], str(key[1]), state, reasons.get(key, "")) for key, state in states.items()}
    found |= _without_version(routes, {name for name, _ in found})
    return tuple([found[key] for key in sorted(found)])


def _without_version(routes: Routes, listed: set[str]) -> dict[tuple[str, int], Entry]:
    reasons = dict(routes.idle) | dict.fromkeys(routes.asleep, ASLEEP)
    return {(name, 0): Entry(name, state=UNAVAILABLE, reason=reason) for name, reason in reasons.items() if name not in listed}
