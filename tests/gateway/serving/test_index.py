"""The repository's index: a line for every version that shall serve, with its state and why."""

from __future__ import annotations

from gateway.limits import ServingLimits
from gateway.serving.index import Entry, entries
from gateway.serving.routing import Routes
from gateway.serving.versions import Version
from tests.gateway.serving.mixed_models import ROWS, built
from tests.gateway.serving.serving_fakes import FakeLoop


def version(number: int) -> Version:
    return Version(number, built(ROWS, FakeLoop()), ServingLimits(), release=lambda *_: None)


def test_every_version_that_shall_serve_has_a_line() -> None:
    """By name and then number; what serves is READY although a newer content of it failed, with the reason."""
    routes = Routes(
        {ROWS: {10: version(10), 9: version(9)}},
        {(ROWS, 9): "golden request 1 fails", ("bad", 1): "no memory"},
        loading=frozenset({(ROWS, 11), ("new", 2)}),
        idle={"idle": "no alias stands for one"},
        asleep=frozenset({"asleep", "new"}),
    )
    assert (
        Entry("asleep", state="UNAVAILABLE", reason="it is loaded when somebody asks for it"),
        Entry("bad", "1", "UNAVAILABLE", "no memory"),
        Entry("idle", state="UNAVAILABLE", reason="no alias stands for one"),
        Entry("new", "2", "LOADING"),
        Entry(ROWS, "9", "READY", "golden request 1 fails"),
        Entry(ROWS, "10", "READY"),
        Entry(ROWS, "11", "LOADING"),
    ) == entries(routes)


def test_a_version_that_drains_is_unloading_until_nobody_has_it() -> None:
    """Beside what serves, and instead of what is said of a model without a version; a number that serves, comes or failed says that."""
    routes = Routes(
        {ROWS: {2: version(2)}},
        {(ROWS, 4): "no memory"},
        loading=frozenset({(ROWS, 3)}),
        unloading=frozenset({(ROWS, number) for number in (1, 2, 3, 4)} | {("gone", 7)}),
        idle={"gone": "it is not loaded"},
    )
    draining = "requests that have it are being answered"
    assert (
        Entry("gone", "7", "UNLOADING", draining),
        Entry(ROWS, "1", "UNLOADING", draining),
        Entry(ROWS, "2", "READY"),
        Entry(ROWS, "3", "LOADING"),
        Entry(ROWS, "4", "UNAVAILABLE", "no memory"),
    ) == entries(routes)


def test_a_repository_without_models_has_no_lines() -> None:
    """It is empty, not missing."""
    assert () == entries(Routes())
