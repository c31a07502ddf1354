"""Blocks are given out once, told of, closed, and cleared when what they held is kept."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import Config, Repository
from gateway.control.drift_messages import Learned
from gateway.control.observing import Observing
from gateway.drift.blocks import Blocks
from gateway.drift.layout import ROWS
from gateway.drift.learned import learned_path
from gateway.drift_settings import Contract, Drift, DriftPlan, ModelDrift, Segments
from gateway.model_settings import ModelSettings
from gateway.serving.lifecycle import Wanted
from gateway.serving.sources import content_of
from registry.drift_files import write_learned
from registry.profile import encode
from tests.gateway.control.observed import World, normal, reference

LEARNS = Drift(learn_rows=100)
NORTH, SOUTH = (
    ModelSettings(drift=ModelDrift(segments=Segments(parameter="shop", values=values))) for values in (("north",), ("south", "west"))
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_version_has_one_block_until_it_is_closed(world: World) -> None:
    """The same each time that it is asked for; its evaluation is told once."""
    wanted = world.wanted()
    assert (-1, "", 0) == world.observing.open(wanted)
    world.verify(wanted)
    first = world.observing.open(wanted)
    assert first == world.observing.open(wanted)
    (watched,) = world.observing.watched
    assert (("rows", 1, wanted.identity), first[0], False, 1) == (
        (watched.model, watched.version, watched.identity), watched.start, watched.closing, world.told,
    )  # fmt: skip


def test_a_closed_block_is_nobody_s_until_it_is_kept(world: World) -> None:
    """It stays as it is for who evaluates; then it is empty in every region, and the next one's."""
    wanted = world.wanted()
    world.verify(wanted)
    start, _, _ = world.observing.open(wanted)
    served = world.load(2, wanted)
    served.serve(normal(5))
    world.observing.close(wanted)
    world.observing.close(wanted)
    (watched,) = world.observing.watched
    assert watched.closing
    world.verify(wanted)
    assert start != world.observing.open(wanted)[0]
    assert 5 == world.blocks.block(2, start, 8)[ROWS]
    world.observing.kept(watched.serial)
    world.observing.kept(watched.serial)
    assert not world.blocks.block(2, start, 4096).any()
    other = Wanted("rows", 2, wanted.identity)
    world.verify(other)
    assert start == world.observing.open(other)[0]
    assert [False, False] == [one.closing for one in world.observing.watched]
    assert 2 == len({one.serial for one in world.observing.watched} - {watched.serial})


def test_a_version_that_closes_before_it_was_opened_leaves_nothing(world: World) -> None:
    """Or that nobody looked into."""
    wanted = world.wanted()
    world.observing.close(wanted)
    world.verify(wanted)
    world.observing.close(wanted)
    assert ((), (-1, "", 0)) == (world.observing.watched, world.observing.open(wanted))


def test_where_there_is_no_room_versions_are_not_watched_and_counted(tmp_path: Path) -> None:
    """Once each; the others are as ever."""
    world = World(tmp_path)
    world.observing = Observing(world.config, Blocks.create(regions=1, words=512), tmp_path, told=lambda: None, moved=lambda: None)
    first, second = world.wanted(), Wanted("rows", 2, world.wanted().identity)
    world.verify(first)
    world.verify(second)
    found = [world.observing.open(wanted)[0] for wanted in (first, second, second, first)]
    assert ([0, -1, -1, 0], 1, 1) == (found, world.observing.unwatched, len(world.observing.watched))


def test_nothing_to_count_is_no_block(tmp_path: Path) -> None:
    """Rules of a contract are something, and rows to learn from."""
    unwatched = ModelSettings(drift=ModelDrift(watched=False))
    for at, (own, drift, schema, watched) in enumerate(
        [
            (ModelSettings(), Drift(), True, True),
            (unwatched, Drift(), True, True),
            (unwatched, LEARNS, False, False),
            (ModelSettings(), Drift(), False, False),
            (ModelSettings(), LEARNS, False, True),
        ]
    ):
        world = World(tmp_path / str(at), own=own, drift=drift, profile=False)
        with world.store.load_verified("rows", 1) as verified:
            world.observing.look_into(world.wanted(), verified if schema else replace(verified, schema=None))
        assert watched == (world.observing.open(world.wanted())[0] >= 0)


def test_a_version_that_has_learned_a_profile_moves(tmp_path: Path) -> None:
    """To another block, by the profile; the one of before is closed with it, not sooner, since a worker may still count there."""
    world = World(tmp_path, drift=LEARNS, profile=False)
    wanted = world.wanted()
    world.verify(wanted)
    before = world.observing.open(wanted)
    path = learned_path(tmp_path / "learned", "rows", 1, content_of(wanted.identity))
    write_learned(path, encode(reference()))
    message = Learned("rows", 1, wanted.identity, str(path))
    world.observing.learned(Learned("rows", 2, wanted.identity, str(path)))
    assert 0 == world.moved
    world.observing.learned(message)
    after = world.observing.open(wanted)
    world.observing.learned(message)
    assert (1, str(path), after) == (world.moved, after[1], world.observing.open(wanted))
    assert before[0] != after[0]
    assert [("", False), (str(path), False)] == [(one.learned, one.closing) for one in world.observing.watched]
    world.observing.close(wanted)
    assert [True, True] == [one.closing for one in world.observing.watched]
    world.verify(wanted)
    assert str(path) == world.observing.open(wanted)[1]


def test_a_learned_profile_that_cannot_be_read_is_never_in_the_way(tmp_path: Path) -> None:
    """Neither of verifying nor of what is served: the version learns again."""
    world = World(tmp_path, drift=LEARNS, profile=False)
    wanted = world.wanted()
    path = learned_path(tmp_path / "learned", "rows", 1, content_of(wanted.identity))
    write_learned(path, b"{")
    world.verify(wanted)
    block, learned, _ = world.observing.open(wanted)
    assert (True, "") == (block >= 0, learned)
    world.observing.learned(Learned("rows", 1, wanted.identity, str(path)))
    assert (0, block) == (world.moved, world.observing.open(wanted)[0])


def test_settings_of_a_reload_are_for_versions_that_come(tmp_path: Path) -> None:
    """What is there is told by the settings it was laid out by, to workers and to who evaluates."""
    world = World(tmp_path, own=NORTH)
    old = world.wanted()
    world.verify(old)
    _, _, checksum = world.observing.open(old)
    changed = world.with_settings(SOUTH, Drift())
    world.observing.configure(changed)
    new = world.wanted(changed)
    assert old != new
    world.verify(new)
    other = world.observing.open(new)
    first, second = world.observing.watched
    assert [("north",), ("south", "west")] == [one.drift.segments.values for one in (first, second) if one.drift.segments]
    assert checksum != other[2]
    assert checksum == world.observing.open(old)[2]


def test_a_worker_never_writes_a_block_that_it_would_lay_out_otherwise(tmp_path: Path) -> None:
    """One that is started after a reload and is asked for a version of before does not count it: its block may be smaller."""
    world = World(tmp_path, own=NORTH)
    old = world.wanted()
    world.verify(old)
    start, _, _ = world.observing.open(old)
    for own in (SOUTH, ModelSettings(drift=ModelDrift(segments=Segments(parameter="shop", values=("east",))))):
        served = world.load(1, old, world.with_settings(own, Drift()))
        assert (None, None) == (served.watch, served.door)
    assert not world.blocks.block(1, start, 1 << 16).any()
    served = world.load(1, old)
    served.serve(normal(3))
    assert 3 == world.blocks.block(1, start, 8)[ROWS]


PROFILES = (reference(50), reference(400))
SETTINGS = (DriftPlan(watched=True, learn_rows=0, bins=False, segments=None), Contract())
NOWHERE = Config(repository=Repository(path=Path("r")))


@settings(max_examples=100)
@given(st.lists(st.tuples(st.sampled_from(["open", "close", "keep"]), st.integers(0, 5)), max_size=40))
def test_no_two_blocks_share_a_word(steps: list[tuple[str, int]]) -> None:
    """Whatever comes and goes, and whatever is acknowledged late; a block is as empty as new when it is given out."""
    blocks = Blocks.create(regions=1, words=1 << 16)
    observing = Observing(NOWHERE, blocks, Path("learned"), told=lambda: None, moved=lambda: None)
    for step, number in [*steps, *[("close", n) for n in range(6)], *[("keep", 0)] * 50]:
        wanted = Wanted("m", number, f"c{number}/s")
        if step == "open":
            before = observing.watched
            observing._need(wanted, PROFILES[number % 2], "", None, SETTINGS)
            observing.open(wanted)
            block = observing._open[wanted]
            if block.watched not in before:
                assert not blocks.block(0, block.watched.start, block.words).any()
                blocks.block(0, block.watched.start, block.words)[:] = number + 1
        elif step == "close":
            observing.close(wanted)
        elif closing := [one.serial for one in observing.watched if one.closing]:
            observing.kept(closing[number % len(closing)])
        every = [*observing._open.values(), *observing._closing.values()]
        spans = sorted((block.watched.start, block.watched.start + block.words) for block in every)
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
        assert all((blocks.block(0, one.watched.start, one.words) == one.watched.version + 1).all() for one in every)
    assert ((), 0) == (observing.watched, observing._extents.used)
    blocks.close()
