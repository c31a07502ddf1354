"""Power failures at any point of a registry's life: what was acknowledged is there, what was not is there or not, nothing is damaged.

`TIDEGATE_POWER_SEEDS` seeds; `make faults` runs 10,000.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.errors import Kind, RegistryError
from registry.gc import DEFAULT_GRACE_S, collect
from registry.store import Store
from registry.verify import damages, verify
from tests.registry.crash_child import put
from tests.registry.power import Recorder, Trace

SEEDS = int(os.environ.get("TIDEGATE_POWER_SEEDS", "200"))
NOW_S = 4e9
ACT = {"actor": "ann", "reason": "", "now_s": NOW_S}
State = tuple[list[int], dict[str, int], int, list[str]]

# A life, each operation with an id, so that it can be repeated.
LIFE: list[Callable[[Store], object]] = [
    lambda store: put(store, b"one" * 700, "one"),
    lambda store: put(store, b"two" * 700, "two"),
    lambda store: store.aliases("m").approve("champion", 1, operation_id="a1", **ACT),
    lambda store: store.aliases("m").move("champion", to=1, expected_from=None, operation_id="m1", **ACT),
    lambda store: put(store, b"three", "three"),
    lambda store: store.aliases("m").move("champion", to=2, expected_from=1, operation_id="m2", **ACT),
    lambda store: store.deletion("m").hold("h", 1, operation_id="h", **ACT),
    lambda store: store.deletion("m").delete(3, operation_id="d3", **ACT | {"now_s": 1e9}),
    lambda store: collect(store, actor="ann", now_s=NOW_S, dry_run=False),
    lambda store: put(store, b"three", "three again"),
    lambda store: collect(store, actor="ann", now_s=NOW_S + DEFAULT_GRACE_S, dry_run=False),
    lambda store: put(store, b"four", "four"),
]


def _state(store: Store) -> State:
    if not store.models():
        return [], {}, 0, []
    head = store.versions_of("m").journal.read()
    return store.versions("m"), head.aliases, len(head.opinions), sorted(head.holds)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trace, list[State]]:
    """The trace of a whole life, and the state after each operation; the first is the empty registry."""
    root = tmp_path_factory.mktemp("lived")
    recorder = Recorder(root)
    store = Store.create(root, calls=recorder)
    recorder.done()
    states = [_state(store)]
    for operation in LIFE:
        operation(store)
        recorder.done()
        states.append(_state(store))
    return recorder.trace, states


def _reopened(root: Path, over: int, calls: Any) -> Store:
    """Opened, or created where creating was not over."""
    try:
        return Store.open(root, calls=calls)
    except RegistryError as error:
        assert (Kind.NOT_FOUND, 0) == (error.kind, over)  # noqa: PT017
        return Store.create(root, calls=calls)


def _check(root: Path, over: int, states: list[State], calls: Any) -> None:
    """Nothing that was acknowledged is gone, nothing is damaged, and life goes on."""
    store = _reopened(root, over, calls)
    found = _state(store)
    assert found in states[max(over - 1, 0) : over + 1]
    assert [] == damages(verify(store))
    for version in found[0]:
        store.load_verified("m", version).close()
    for operation in LIFE[max(over - 1, 0) :]:
        operation(store)
    assert (states[-1], []) == (_state(store), damages(verify(store)))


@pytest.mark.timeout(3600)
def test_power_fails(tmp_path: Path, lived: tuple[Trace, list[State]], hooked: Callable[..., Any]) -> None:
    """At a drawn point, with a drawn part of what was not synced."""
    trace, states = lived
    assert len(trace.events) > 200
    for seed in range(SEEDS):
        chance = random.Random(seed)
        over = trace.after_power_loss(chance.randrange(len(trace.events) + 1), tmp_path / "disk", chance)
        try:
            _check(tmp_path / "disk", over, states, hooked())
        except Exception as failure:
            raise AssertionError(f"seed {seed}, after {over} operations") from failure
        shutil.rmtree(tmp_path / "disk")


@pytest.mark.parametrize("forgotten", ["file", "directory"])
def test_the_disk_notices_a_forgotten_sync(
    tmp_path: Path, lived: tuple[Trace, list[State]], hooked: Callable[..., Any], forgotten: str
) -> None:
    """Without the syncs of files, or those of directories, the same check fails soon."""
    trace, states = lived
    name = "sync" if forgotten == "file" else "sync_directory"
    careless = Trace([event for event in trace.events if event[0] != name])
    failures = 0
    for seed in range(40):
        chance = random.Random(seed)
        over = careless.after_power_loss(chance.randrange(len(careless.events) + 1), tmp_path / str(seed), chance)
        try:
            _check(tmp_path / str(seed), over, states, hooked())
        except (AssertionError, RegistryError):
            failures += 1
    assert failures > 10
