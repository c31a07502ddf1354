"""What is seen of a repository, when, and what a broken or absent one means."""

from __future__ import annotations

import logging
import os
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.config import Config, ModelSettings, Repository, Versions
from gateway.control import lookout as lookouts
from gateway.control.lookout import Lookout
from gateway.errors import Code, TidegateError
from gateway.serving.sources import Wish
from registry.errors import Kind, RegistryError
from registry.overlay import Overlay, bundled
from registry.store import Store
from tests.gateway.control.test_guidance import begun
from tests.gateway.rollout.rolled import BY_ANN, operations, plan
from tests.gateway.serving import graphs
from tests.gateway.serving.registries import published

WAIT_S = 20
ONE, TWO = graphs.twice(), graphs.twice(weight=3.0)


class Seen:
    """One lookout and what it told."""

    def __init__(self, config: Config) -> None:
        self.wishes: queue.Queue[Wish] = queue.Queue()
        self.errors: queue.Queue[RegistryError] = queue.Queue()
        self.lookout = Lookout(config, self.wishes.put, self.errors.put)

    def next(self) -> dict[tuple[str, int], int | None]:
        """Versions of the next wish with the default of their model."""
        wish = self.wishes.get(timeout=WAIT_S)
        return {(one.model, one.version): wish.desired.defaults.get(one.model) for one in wish.desired.versions}


@contextmanager
def looking(root: Path, **models: ModelSettings) -> Iterator[Seen]:
    seen = Seen(Config(repository=Repository(path=root), models=models))
    seen.lookout.start()
    try:
        yield seen
    finally:
        seen.lookout.stop()
        seen.lookout._thread.join(WAIT_S)
        assert not seen.lookout._thread.is_alive()


def move(store: Store, number: int) -> None:
    aliases = store.aliases("m")
    aliases.move("champion", to=number, expected_from=aliases.resolve("champion"), actor="ann", reason="", now_s=1e9)


def test_an_alias_that_moves_is_another_wish(tmp_path: Path) -> None:
    """Seen without being asked; what is published for nobody changes nothing that serves."""
    store = published(tmp_path / "r", "m", ONE, TWO, aliases={"champion": 1})
    with looking(tmp_path / "r") as seen:
        assert {("m", 1): 1} == seen.next()
        move(store, 2)
        found = seen.next()
        while found == {("m", 1): 1}:  # the watch's own first look
            found = seen.next()
        assert {("m", 2): 2} == found


def test_a_folder_of_models_is_looked_at_when_somebody_asks(tmp_path: Path) -> None:
    """A file that was replaced is another version under the same number."""
    path = graphs.saved(tmp_path / "m" / "1" / "model.onnx", ONE)
    with looking(tmp_path) as seen:
        (first,) = seen.wishes.get(timeout=WAIT_S).desired.versions
        graphs.saved(tmp_path / "m" / "2" / "model.onnx", TWO)
        seen.lookout.look()
        assert {("m", 2): None} == seen.next()
        seen.lookout.configure(Config(repository=Repository(path=tmp_path), models={"m": ModelSettings(versions=Versions(all=True))}))
        assert {("m", 1): None, ("m", 2): None} == seen.next()
        path.write_bytes(path.read_bytes() + b"")
        seen.lookout.look()
        assert first not in seen.wishes.get(timeout=WAIT_S).desired.versions


def test_other_settings_of_a_model_are_another_version_to_load(tmp_path: Path) -> None:
    """Which versions are chosen is no such setting."""
    graphs.saved(tmp_path / "m" / "1" / "model.onnx", ONE)

    def identity(**settings: object) -> str:
        with looking(tmp_path, m=ModelSettings(**settings)) as seen:  # type: ignore[arg-type]
            (one,) = seen.wishes.get(timeout=WAIT_S).desired.versions
            return one.identity

    plain = identity()
    assert plain == identity(versions=Versions(all=True)) == identity(allow_empty=True)
    assert 3 == len({plain, identity(max_batch_size=8), identity(intra_op_threads=2)})


@pytest.mark.parametrize(("folder", "kind"), [("other", Kind.NOT_FOUND), ("r/blobs/sha256", Kind.DAMAGED)])
def test_a_place_that_is_no_repository_is_an_error(tmp_path: Path, folder: str, kind: Kind) -> None:
    """Once; the lookout has ended."""
    (tmp_path / folder).mkdir(parents=True)
    with looking(tmp_path / "r") as seen:
        assert kind is seen.errors.get(timeout=WAIT_S).kind
        assert seen.wishes.empty()


def test_a_repository_that_cannot_be_reached_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Until it can; the reason is in the log meanwhile."""
    published(tmp_path / "r", "m", ONE, aliases={"champion": 1})
    attempts = []
    real = lookouts.open_repository

    def away(settings: Repository) -> object:
        attempts.append(settings)
        if len(attempts) < 3:
            raise RegistryError(Kind.STORAGE, "the store did not answer")
        return real(settings)

    monkeypatch.setattr(lookouts, "open_repository", away)
    monkeypatch.setattr(lookouts, "_AGAIN_S", 0.01)
    with caplog.at_level(logging.ERROR), looking(tmp_path / "r") as seen:
        assert {("m", 1): 1} == seen.next()
    assert ["repository: the store did not answer; trying again"] * 2 == caplog.messages


def test_a_log_that_breaks_while_it_is_watched_changes_nothing_that_serves(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The damage is named once; what was seen last still holds, also where somebody asks to look again."""
    published(tmp_path / "r", "m", ONE, aliases={"champion": 1})
    with caplog.at_level(logging.WARNING), looking(tmp_path / "r") as seen:
        assert {("m", 1): 1} == seen.next()
        for path in (tmp_path / "r/models/m/head.json", tmp_path / "r/models/m/log/00000002.json"):
            path.chmod(0o644)
            path.write_bytes(path.read_bytes()[:-3])
        seen.lookout.look()
        found = seen.next()
        while not seen.wishes.empty():
            found = seen.next()
        assert {("m", 1): 1} == found
    assert 1 == sum("models/m/log/00000002.json" in message for message in caplog.messages)


def test_a_config_pbtxt_that_changes_is_another_wish(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """When somebody asks to look: other content of every version, and maybe other versions; what is wrong with it is said once."""
    for number in (1, 2):
        graphs.saved(tmp_path / "m" / str(number) / "model.onnx", ONE)
    config = tmp_path / "m" / "config.pbtxt"
    with caplog.at_level(logging.INFO), looking(tmp_path) as seen:
        (bare,) = seen.wishes.get(timeout=WAIT_S).desired.versions
        config.write_text("version_policy { all {} } dynamic_batching { preferred_batch_size: [ 4 ] }")
        seen.lookout.look()
        both = seen.wishes.get(timeout=WAIT_S).desired.versions
        assert ({1, 2}, False) == ({one.version for one in both}, bare in both)
        config.write_text("version_policy { all {} } response_cache { enable: true }")
        for _ in range(2):
            seen.lookout.look()
            refused = seen.wishes.get(timeout=WAIT_S).desired.versions
        assert ({1, 2}, set()) == ({one.version for one in refused}, set(both) & set(refused))
        config.unlink()
        seen.lookout.look()
        assert {bare} == seen.wishes.get(timeout=WAIT_S).desired.versions
    levels = [(record.levelname, record.getMessage().split("'")[1]) for record in caplog.records if "config.pbtxt" in record.getMessage()]
    assert [("INFO", "dynamic_batching.preferred_batch_size"), ("WARNING", "response_cache.enable")] == levels


@contextmanager
def brought(configuration: str) -> Iterator[Overlay]:
    with bundled("m", configuration, {}) as file:
        overlay = Overlay.received(os.getpid(), file.fileno())
    yield overlay
    overlay.close()


def test_what_a_load_brings_is_another_wish_unless_somebody_objects(tmp_path: Path) -> None:
    """Then, and where it cannot be honoured, nothing is told and the one of before holds, for later looks too."""
    for number in (1, 2):
        graphs.saved(tmp_path / "m" / str(number) / "model.onnx", ONE)
    objections: list[Wish] = []

    def objected(wish: Wish) -> None:
        objections.append(wish)
        raise TidegateError(Code.NOT_FOUND, "no")

    every = '{"version_policy": {"all": {}}}'
    with looking(tmp_path) as seen, brought(every) as all_of_them, brought("{}") as other, brought("x") as none:
        with pytest.raises(RegistryError, match="has not been read yet"):
            Lookout(Config(repository=Repository(path=tmp_path)), seen.wishes.put, seen.errors.put).overlay("m", other)
        assert {("m", 2): None} == seen.next()
        seen.lookout.overlay("m", all_of_them, lambda wish: None)
        assert {("m", 1): None, ("m", 2): None} == seen.next()
        with pytest.raises(TidegateError, match="no"):
            seen.lookout.overlay("m", other, objected)
        with pytest.raises(RegistryError, match="it is no JSON object"):
            seen.lookout.overlay("m", none)
        assert ([1], True) == ([len(wish.desired.versions) for wish in objections], seen.wishes.empty())
        seen.lookout.look()
        assert {("m", 1): None, ("m", 2): None} == seen.next()
        seen.lookout.overlay("m", None)
        assert {("m", 2): None} == seen.next()


def test_a_rollout_that_goes_on_is_another_wish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without anybody's asking: its versions are held, and its split is in the wish."""
    monkeypatch.setattr(lookouts, "FOLLOW_S", 0.01)
    store = published(tmp_path, "m", ONE, TWO, aliases={"champion": 1})
    with looking(tmp_path) as seen:
        assert {("m", 1): 1} == seen.next()
        rollout = operations(store).apply(plan(), **BY_ANN).status.id
        assert {("m", 1): 1} == seen.next()
        begun(store, rollout)
        wishes = [seen.wishes.get(timeout=WAIT_S)]
        while not wishes[-1].splits:
            wishes.append(seen.wishes.get(timeout=WAIT_S))
        assert {1, 2} == {one.version for one in wishes[-1].desired.versions}
        assert [rollout] == [split.rollout for split in wishes[-1].splits]
