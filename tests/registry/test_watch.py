"""Watching: the whole state after every change, nothing when nothing changed, the last good state beside damage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from obstore.store import MemoryStore

from registry.desired import Desired, DesiredModel, desired, desired_or_kept
from registry.errors import RegistryError
from registry.manifest import Manifest
from registry.objects import ObjectMedium
from registry.patience import Patience
from registry.store import Store, marker_of
from registry.watch import Watch

BY = {"actor": "ann", "reason": "", "now_s": 1e9}
PutManifest = Callable[[Store, bytes], Manifest]


@pytest.fixture
def add(put_manifest: PutManifest) -> Callable[..., int]:
    """Publishes content: the version."""

    def publish(store: Store, content: bytes, model: str = "m") -> int:
        return store.add_version(model, put_manifest(store, content), publish_id=content.decode(), publisher="ann", now_s=1e9)[0]

    return publish


def _run(store: Store, changes: list[Callable[[], object]]) -> list[Desired]:
    """What is handed over when each change is followed by a signal."""
    seen: list[Desired] = []

    def signals() -> Iterator[None]:
        for change in changes:
            change()
            yield

    Watch(store, seen.append).run(signals())
    return seen


def test_every_change_is_handed_over_whole(store: Store, add: Callable[..., int]) -> None:
    """Versions, aliases, deletions; the first state without a signal; a signal without a change is none."""
    aliases = store.aliases("m")
    states = _run(
        store,
        [
            lambda: add(store, b"one"),
            lambda: None,
            lambda: add(store, b"two"),
            lambda: aliases.move("champion", to=2, expected_from=None, **BY),
            lambda: store.put_blob(b"nobody cares"),
            lambda: aliases.approve("champion", 1, **BY),
            lambda: store.deletion("m").delete(1, **BY),
            lambda: aliases.remove("champion", expected_from=2, **BY),
            lambda: add(store, b"other", "n"),
        ],
    )
    said = [{name: (list(model.versions), model.aliases) for name, model in state.models.items()} for state in states]
    assert [
        {},
        {"m": ([1], {})},
        {"m": ([1, 2], {})},
        {"m": ([1, 2], {"champion": 2})},
        {"m": ([2], {"champion": 2})},
        {"m": ([2], {})},
        {"m": ([2], {}), "n": ([1], {})},
    ] == said
    assert store.record("m", 2).manifest == states[-1].models["m"].versions[2]


def test_the_last_good_state_beside_damage(store: Store, add: Callable[..., int]) -> None:
    """A broken log: its model stays as it was seen, with the reason; another model goes on."""
    add(store, b"one")
    add(store, b"two")
    store.aliases("m").move("champion", to=1, expected_from=None, **BY)
    log = store.medium.root / "models/m/log"

    def break_log() -> None:
        (log / "00000004.json").write_bytes(b"{")

    *_, before, broken, after = _run(store, [break_log, lambda: add(store, b"other", "n")])
    assert (("models/m/log/00000004.json",), ()) == (tuple(text.split()[0] for text in broken.problems), before.problems)
    assert before.models["m"] == broken.models["m"] == after.models["m"]
    assert ["m", "n"] == list(after.models)
    # Whoever sees the registry for the first time gets the versions, but no alias.
    assert DesiredModel(before.models["m"].versions, {}) == desired(store).models["m"]


def test_a_version_without_its_entry(store: Store, add: Callable[..., int]) -> None:
    """Claimed, and its publisher died: it is a version. One whose record is damaged is listed without a digest."""
    add(store, b"one")
    digest = store.record("m", 1).manifest
    (store.medium.root / "models/m/log/00000001.json").unlink()
    (store.medium.root / "models/m/head.json").unlink()
    assert {1: digest} == desired(store).models["m"].versions
    path = store.medium.root / "models/m/versions/00000001.json"
    path.chmod(0o644)
    path.write_bytes(b"")
    assert {1: None} == desired(store).models["m"].versions


def test_an_error_of_the_callback_ends_the_watch(store: Store) -> None:
    """It is not swallowed."""

    def fail(state: Desired) -> None:
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        Watch(store, fail).run([])


class Away:
    """obstore, while `away` nothing answers."""

    away = False

    def __getattr__(self, name: str) -> Any:
        import obstore
        from obstore.exceptions import GenericError

        if self.away:
            raise GenericError("away")
        return getattr(obstore, name)


class TestObjectStore:
    """The same by polling, while the store comes and goes."""

    @pytest.fixture
    def calls(self) -> Away:
        """A store that answers."""
        return Away()

    @pytest.fixture
    def store(self, tmp_path: Path, calls: Away) -> Store:
        """A registry in memory, with copies on this machine."""
        patience = Patience(attempts=2, wait=lambda seconds: None)
        medium = ObjectMedium(MemoryStore(), shown="memory:", cache=tmp_path / "cache", calls=calls, patience=patience)
        medium.create("tidegate-registry.json", marker_of(UUID(int=1)))
        return Store.on(medium)

    def test_a_store_that_goes_away(self, store: Store, calls: Away, add: Callable[..., int]) -> None:
        """Nothing is handed over and the failure is known; afterwards the change arrives."""
        seen: list[Desired] = []
        watch = Watch(store, seen.append)
        add(store, b"one")
        assert watch.look()
        calls.away = True
        assert not watch.look()
        assert watch.failure is not None
        assert "cannot list models" in watch.failure.message
        calls.away = False
        store.aliases("m").move("champion", to=1, expected_from=None, **BY)
        assert watch.look()
        assert (None, [{}, {"champion": 1}]) == (watch.failure, [state.models["m"].aliases for state in seen])

    def test_what_was_last_seen(self, store: Store, calls: Away, add: Callable[..., int], kind_of: Callable[..., str]) -> None:
        """A new process starts from what this machine saw; one that never saw anything says so."""
        add(store, b"one")
        calls.away = True
        assert kind_of(lambda: desired_or_kept(store)).startswith("storage: cannot list models")
        calls.away = False
        now = desired_or_kept(store)
        calls.away = True
        kept = desired_or_kept(store)
        assert now.models == kept.models
        assert [
            "cannot list models, says the object store: it cannot be reached, or fails; this is what was last seen of the registry"
        ] == list(kept.problems)

    def test_a_note_that_was_changed(self, store: Store, calls: Away, add: Callable[..., int]) -> None:
        """Is refused."""
        add(store, b"one")
        desired_or_kept(store)
        store.medium.keep_here("desired.json", b'{"format":2,"models":{"m":{"versions":{"-1":null},"aliases":{}}}}')
        calls.away = True
        with pytest.raises(RegistryError, match=r"desired.json is not a kept list of versions"):
            desired_or_kept(store)


def test_what_was_seen_before_the_watch_began_is_kept_beside_damage_and_not_handed_over_again(
    store: Store, add: Callable[..., int]
) -> None:
    """A log that breaks between a first listing and the first look takes no alias away."""
    add(store, b"one")
    store.aliases("m").move("champion", to=1, expected_from=None, **BY)
    before = desired(store)
    seen: list[Desired] = []
    assert not Watch(store, seen.append, last=before).look()
    for key in ("models/m/head.json", "models/m/log/00000002.json"):
        path = store.medium.root / key  # type: ignore[operator]
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-3])
    assert Watch(store, seen.append, last=before).look()
    assert [before.models] == [state.models for state in seen]
    assert [problem for problem in seen[0].problems if "models/m/log/00000002.json" in problem]
