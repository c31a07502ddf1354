"""What a worker makes of a version's block: begun once for its place, in whatever process, by the plan that it was given out for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gateway.control.drift_messages import Learned
from gateway.control.watches import Watches
from gateway.drift.layout import CHECKSUM, ROWS
from gateway.drift.learned import learned_path
from gateway.drift_settings import Contract, Drift, ModelDrift, Segments
from gateway.model_settings import ModelSettings
from gateway.serving.sources import content_of
from registry.drift_files import write_learned
from registry.profile import encode
from tests.gateway.control.observed import World, normal, reference


def test_each_place_has_its_own_part_and_whoever_takes_the_place_goes_on(tmp_path: Path) -> None:
    """A worker that died left what it had counted."""
    world = World(tmp_path)
    wanted = world.wanted()
    world.verify(wanted)
    start = world.held(wanted).block
    world.load(0, wanted).serve(normal(4))
    world.load(2, wanted).serve(normal(5))
    world.workers[0] = Watches(world.blocks, 0, lambda: 0.0, lambda _s, job: job())
    world.load(0, wanted).serve(normal(6))
    assert [10, 0, 5] == [world.blocks.block(place, start, 8)[ROWS] for place in range(3)]


def test_a_block_that_holds_something_else_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The version serves, unwatched."""
    world = World(tmp_path)
    wanted = world.wanted()
    world.verify(wanted)
    start = world.held(wanted).block
    block = world.blocks.block(0, start, 512)
    block[CHECKSUM] = 77
    served = world.load(0, wanted)
    assert (None, None) == (served.watch, served.door)
    assert [77] == block[block != 0].tolist()
    assert "drift of rows/1 is not watched" in caplog.text


def test_no_block_is_nothing_to_watch(tmp_path: Path) -> None:
    """Nobody looked into the version, or there was no room."""
    world = World(tmp_path)
    served = world.load(0, world.wanted())
    assert (None, None) == (served.watch, served.door)


@pytest.mark.parametrize("mode", ["observe", "warn", "reject"])
def test_requests_wait_at_the_door_only_where_a_rule_rejects(tmp_path: Path, mode: str) -> None:
    """Values are held against the contract in any case."""
    world = World(tmp_path, own=ModelSettings(contract=Contract(mode=mode)))  # type: ignore[arg-type]
    wanted = world.wanted()
    world.verify(wanted)
    served = world.load(0, wanted)
    served.serve(np.full((1, 4), 1_000, np.float32))
    assert (mode == "reject") == (served.door is not None)
    assert served.watch is not None
    assert [[0, 0], [4, 1]] == served.watch._entrance._counts.tolist()


def test_requests_are_divided_by_a_parameter(tmp_path: Path) -> None:
    """As the settings say; a feature divides without their help."""
    segments = Segments(parameter="shop", values=("north", "south"))
    world = World(tmp_path, own=ModelSettings(drift=ModelDrift(segments=segments)))
    wanted = world.wanted()
    world.verify(wanted)
    served = world.load(0, wanted)
    assert served.segmenting is not None
    assert ("shop", {"north": 0, "south": 1}) == (served.segmenting.parameter, served.segmenting.values)


def test_a_version_that_has_learned_moves_to_another_block(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What it counted before stays; its contract holds on. A profile that cannot be read leaves it where it is."""
    world = World(tmp_path, drift=Drift(learn_rows=100), own=ModelSettings(contract=Contract(mode="reject")), profile=False)
    wanted = world.wanted()
    world.verify(wanted)
    before = world.held(wanted).block
    served = world.load(0, wanted)
    served.serve(normal(5))
    path = learned_path(tmp_path / "learned", "rows", 1, content_of(wanted.identity))
    write_learned(path, encode(reference()))
    world.observing.learned(Learned("rows", 1, wanted.identity, str(path)))
    held = world.held(wanted)
    content = path.read_bytes()
    path.write_bytes(b"{")
    watch = served.watch
    world.workers[0].move(served, held, world.config)  # type: ignore[arg-type]
    assert watch is served.watch
    assert "drift of rows/1" in caplog.text
    path.write_bytes(content)
    world.workers[0].move(served, held, world.config)  # type: ignore[arg-type]
    served.serve(normal(7))
    assert served.door is not None
    assert [5, 7] == [world.blocks.block(0, start, 8)[ROWS] for start in (before, held.block)]
