"""The same contract on an object store, whose answers may get lost: obstore's store in memory. tests/integration has a real S3."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import obstore
import pytest
from obstore import exceptions
from obstore.store import MemoryStore

from registry.limits import RegistryLimits
from registry.manifest import Manifest
from registry.medium import Medium
from registry.names import blob_key
from registry.objects import ObjectMedium, object_medium
from registry.patience import Patience
from registry.signatures import Trusted, attach, generate, sign
from registry.store import Store, marker_of
from registry.verify import damages, verify

NOW_S = 1_700_000_000.0
KEY = generate()


class Faulty:
    """`obstore`, with faults by the name of the call: "refuse" before it, "lose" after it was done, or a function in its place."""

    def __init__(self) -> None:
        self.faults: dict[str, Iterator[Any]] = {}
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            self.calls.append(name)
            fault = next(self.faults.get(name, iter(())), None)
            if callable(fault):
                return fault(*arguments, **options)
            if fault == "refuse":
                raise exceptions.GenericError("connection reset by http://secret:secret@store")
            result = getattr(obstore, name)(*arguments, **options)
            if fault == "lose":
                raise exceptions.GenericError("timed out")
            return result

        return call

    @contextmanager
    def down(self) -> Iterator[None]:
        """Nothing answers."""
        every = ("put", "get", "head", "list", "list_with_delimiter", "copy", "delete")
        self.faults = {name: iter(lambda: "refuse", None) for name in every}
        yield
        self.faults = {}


@pytest.fixture
def calls() -> Faulty:
    """No faults yet."""
    return Faulty()


@pytest.fixture
def pauses() -> list[float]:
    """How long was waited."""
    return []


@pytest.fixture
def medium(tmp_path: Path, calls: Faulty, pauses: list[float]) -> ObjectMedium:
    """An empty store with a cache; waiting takes no time and chance is one half."""
    patience = Patience(attempts=4, first_s=1.0, longest_s=2.0, wait=pauses.append, chance=lambda: 0.5)
    limits = RegistryLimits(max_state_bytes=100_000)
    return ObjectMedium(MemoryStore(), shown="memory:", cache=tmp_path / "cache", calls=calls, patience=patience, limits=limits)


@pytest.fixture
def store(medium: ObjectMedium) -> Store:
    """An empty registry on it."""
    medium.prepare()
    medium.create("tidegate-registry.json", marker_of(UUID(int=1)))
    return Store.on(medium)


def test_the_contract(medium: Medium) -> None:
    """Create-if-absent, reading, listing, staging, copying, removing."""
    assert [True, True, False] == [medium.create("a/b/c", content) for content in (b"one", b"one", b"two")]
    assert (b"one", None) == (medium.read("a/b/c"), medium.read("a/b"))
    medium.create("a/d", b"")
    assert (["b", "d"], ["c"], []) == (medium.names("a"), medium.names("a/b"), medium.names("x"))
    assert ["d"] == medium.names("a", after="c")
    with medium.stage() as staged:
        staged.write(b"content")
        assert medium.commit(staged, "blob")
        assert not medium.commit(staged, "a/d")
    fd = medium.open("blob")
    assert fd is not None
    assert b"content" == os.read(fd, 100)
    os.close(fd)
    assert medium.open("absent") is None
    assert 7 == medium.stat("blob").size_bytes
    assert ([True, False], b"content") == ([medium.copy("blob", "copy"), medium.copy("absent", "copy")], medium.read("copy"))
    assert [True, False] == [medium.remove("copy"), medium.remove("copy")]
    medium.replace("a/d", b"new", durable=True)
    assert b"new" == medium.read("a/d")
    assert [] == medium.names("tmp")  # the probe is gone


class TestLostAnswers:
    """What was done and what was not, after a failure that does not say."""

    @pytest.mark.parametrize(
        "faults", [["lose"], ["refuse"], ["refuse", "lose"], ["lose", "refuse", "refuse", "refuse"], ["refuse"] * 3 + ["lose"]]
    )
    def test_our_own_success_is_success(self, medium: ObjectMedium, calls: Faulty, faults: list[str]) -> None:
        """The next attempt is refused because the first one had worked: reading back finds our own content."""
        medium.prepare()
        calls.faults["put"] = iter(faults)
        assert medium.create("key", b"ours")
        assert b"ours" == medium.read("key")

    def test_another_was_first(self, medium: ObjectMedium, calls: Faulty) -> None:
        """While our answer was lost, others had the name already."""
        medium.create("key", b"theirs")
        calls.faults["put"] = iter(["refuse", "lose"])
        assert not medium.create("key", b"ours")

    def test_a_conflict_with_nobody(self, medium: ObjectMedium, calls: Faulty) -> None:
        """Refused because of a writer that then failed (409 on S3): nothing is there, so we try again."""

        def conflict(*arguments: Any, **options: Any) -> None:
            raise exceptions.AlreadyExistsError("409 ConditionalRequestConflict")

        medium.prepare()
        calls.faults["put"] = iter([conflict, conflict])
        assert medium.create("key", b"ours")

    def test_patience_ends(self, medium: ObjectMedium, calls: Faulty, pauses: list[float], kind_of: Callable[..., str]) -> None:
        """Bounded attempts, pauses that double up to a bound; the store's own text, which holds addresses, is not shown."""
        medium.prepare()
        with calls.down():
            text = "storage: cannot read key, says the object store: it cannot be reached, or fails"
            assert text == kind_of(lambda: medium.create("key", b"ours"))
            assert [0.5, 1.0, 1.0] * 2 == pauses
            for deed in (lambda: medium.read("key"), lambda: medium.open("key"), lambda: medium.names("a"), lambda: medium.stat("key")):
                assert kind_of(deed).startswith("storage: cannot ")
        assert medium.create("key", b"ours")

    @pytest.mark.parametrize("error", [exceptions.PermissionDeniedError, exceptions.UnauthenticatedError])
    def test_what_is_not_permitted_is_not_repeated(
        self, medium: ObjectMedium, calls: Faulty, pauses: list[float], error: type[Exception], kind_of: Callable[..., str]
    ) -> None:
        """One attempt."""

        def refuse(*arguments: Any, **options: Any) -> None:
            raise error("no")

        medium.prepare()
        calls.faults["put"] = iter([refuse])
        assert kind_of(lambda: medium.create("key", b"")).startswith("storage: cannot write key, says the object store: it d")
        assert [] == pauses

    def test_publishing_through_lost_answers(self, store: Store, calls: Faulty, put_manifest: Callable[[Store, bytes], Manifest]) -> None:
        """Every second put and read loses its answer: one version per publish id, one entry per move."""
        for name in ("put", "get", "head", "list", "list_with_delimiter"):
            calls.faults[name] = iter(lambda turn=[0]: (turn.append(turn.pop() + 1), "lose" if turn[0] % 2 else "")[1], None)
        for number in range(1, 6):
            manifest = put_manifest(store, b"%d" % number)
            assert number == store.add_version("m", manifest, publish_id=f"p{number}", publisher="ann", now_s=NOW_S)[0]
            move = {"to": number, "expected_from": number - 1 or None, "actor": "ann", "reason": "", "now_s": NOW_S}
            assert store.aliases("m").move("champion", **move).new
        calls.faults = {}
        assert [] == verify(store)
        assert 10 == len(list(store.history("m")))


class TestConditions:
    """A store where two writers can overwrite each other is no registry."""

    def test_a_store_that_overwrites(self, medium: ObjectMedium, calls: Faulty, kind_of: Callable[..., str]) -> None:
        """It ignores the condition: refused before anything but the probe was written."""

        def ignore(store: Any, key: str, content: Any, **options: Any) -> Any:
            return obstore.put(store, key, content)

        calls.faults["put"] = iter([ignore, ignore])
        assert kind_of(lambda: medium.create("key", b"x")).startswith("unsupported: the object store does not support conditional writes")
        assert ([], []) == (medium.names(""), medium.names("tmp"))

    def test_a_store_that_knows_no_condition(self, medium: ObjectMedium, calls: Faulty, kind_of: Callable[..., str]) -> None:
        """It says so itself."""

        def refuse(*arguments: Any, **options: Any) -> None:
            raise exceptions.NotSupportedError("no")

        calls.faults["put"] = iter([refuse])
        assert kind_of(lambda: medium.create("key", b"x")).startswith("unsupported: the object store does not support conditional writes")

    def test_one_probe(self, medium: ObjectMedium, calls: Faulty) -> None:
        """Four calls once, none for readers."""
        medium.read("key")
        assert ["get"] == calls.calls
        medium.create("a", b"")
        medium.create("b", b"")
        assert 4 == calls.calls.count("put")


class TestCache:
    """What was loaded once loads again while the store is away."""

    @pytest.fixture
    def served(self, store: Store, put_manifest: Callable[[Store, bytes], Manifest]) -> Store:
        """Version 1 of m, which was loaded."""
        store.add_version("m", put_manifest(store, b"onnx bytes"), publish_id="p", publisher="ann", now_s=NOW_S)
        store.load_verified("m", 1).close()
        return store

    def test_the_store_is_away(self, served: Store, calls: Faulty, medium: ObjectMedium, kind_of: Callable[..., str]) -> None:
        """A new process opens the registry and loads the version; publishing and listing say what is wrong."""
        with calls.down():
            again = Store.on(medium)
            with again.load_verified("m", 1) as model:
                assert b"onnx bytes" == Path(model.path).read_bytes()
            assert kind_of(lambda: again.versions("m")).startswith("storage: cannot list models/m/")
            assert kind_of(lambda: again.put_blob(b"new")).startswith("storage: ")

    def test_the_policy_was_seen(self, served: Store, calls: Faulty, medium: ObjectMedium, kind_of: Callable[..., str]) -> None:
        """Being away does not open what the policy closes, and one that was taken away does not close again."""
        medium.replace("policy.yaml", b"{format: 2, load: {require_signatures: [k]}}")
        assert kind_of(lambda: served.load_verified("m", 1)).startswith("policy: ")
        with calls.down():
            assert kind_of(lambda: served.load_verified("m", 1)).startswith("policy: ")
        medium.remove("policy.yaml")
        served.load_verified("m", 1).close()
        with calls.down():
            served.load_verified("m", 1).close()

    def test_signatures_were_seen(self, served: Store, calls: Faulty, medium: ObjectMedium, kind_of: Callable[..., str]) -> None:
        """A version that needs them loads, with those that were last seen; one whose signatures were never looked at does not."""
        digest = served.record("m", 1).manifest
        key = attach(medium, digest, sign(served.read_blob(digest), KEY))
        medium.create("policy.yaml", f"{{format: 2, load: {{require_signatures: ['{KEY.public.key_id}']}}}}".encode())
        medium.read("policy.yaml")
        asking = Store.on(medium, signers=Trusted((KEY.public,)))
        with calls.down():
            assert kind_of(lambda: asking.load_verified("m", 1)).startswith("storage: cannot list signatures/")
        asking.load_verified("m", 1).close()
        with calls.down():
            Store.on(medium, signers=Trusted((KEY.public,))).load_verified("m", 1).close()
            assert kind_of(lambda: Store.on(medium, signers=Trusted(())).load_verified("m", 1)).startswith("policy: the signature of key")
        medium.remove(key)
        for _ in range(2):
            assert kind_of(lambda: asking.load_verified("m", 1)).startswith("policy: the signature of key")
            calls.faults = {name: iter(lambda: "refuse", None) for name in ("get", "list_with_delimiter")}

    def test_copies_of_signatures_are_for_when_the_store_is_away(
        self, served: Store, calls: Faulty, medium: ObjectMedium, kind_of: Callable[..., str]
    ) -> None:
        """As long as it answers, a changed copy or listing changes nothing and is replaced; a listing that is cut is none."""
        digest = served.record("m", 1).manifest
        key = attach(medium, digest, sign(served.read_blob(digest), KEY))
        trust, content = Trusted((KEY.public,)), served.read_blob(digest)
        assert {KEY.public.key_id} == trust(medium, digest, content)
        copy, listing = medium.copies.directory / key, (medium.copies.directory / key).with_name(".names")
        for path in (copy, listing):
            right = path.read_bytes()
            path.write_bytes(b"[]")
            assert {KEY.public.key_id} == trust(medium, digest, content)
            assert right == path.read_bytes()
        with calls.down():
            copy.write_bytes(b"[]")
            assert kind_of(lambda: trust(medium, digest, content)) == f"damaged: {key} does not hold what its name says"
            for cut in (b"", b"[", b"{}"):
                listing.write_bytes(cut)
                assert kind_of(lambda: trust(medium, digest, content)).startswith("storage: cannot list signatures/")

    def test_a_blob_is_fetched_once(self, served: Store, calls: Faulty) -> None:
        """The second load reads small files only."""
        calls.calls.clear()
        key = blob_key(served.manifest("m", 1).model.digest)
        calls.faults["get"] = iter(
            lambda: lambda store, name: pytest.fail("fetched again") if name == key else obstore.get(store, name), None
        )
        served.load_verified("m", 1).close()

    def test_the_cache_is_bounded(
        self, tmp_path: Path, calls: Faulty, put_manifest: Callable[[Store, bytes], Manifest], kind_of: Callable[..., str]
    ) -> None:
        """A gateway that goes from version to version keeps the last ones; the others load as long as the store answers."""
        limits, patience = RegistryLimits(max_cache_bytes=100_000), Patience(attempts=1)
        medium = ObjectMedium(MemoryStore(), shown="memory:", cache=tmp_path / "cache", calls=calls, limits=limits, patience=patience)
        medium.create("tidegate-registry.json", marker_of(UUID(int=1)))
        store = Store.on(medium)
        for number in range(1, 6):
            store.add_version("m", put_manifest(store, b"%d" % number * 40_000), publish_id=str(number), publisher="ann", now_s=NOW_S)
        for number in (1, 2, 3, 4, 5, 4):
            store.load_verified("m", number).close()
            for path in (tmp_path / "cache").rglob("*"):
                os.utime(path, ns=(path.stat().st_mtime_ns - 10**9,) * 2)
        kept = [path.stat().st_size for path in (tmp_path / "cache/blobs").rglob("*") if path.is_file()]
        assert (2, True) == (kept.count(40_000), sum(kept) < 100_000)
        with calls.down():
            for number in (4, 5):
                store.load_verified("m", number).close()
            assert kind_of(lambda: store.load_verified("m", 3)).startswith("storage: ")
        store.load_verified("m", 1).close()
        store.load_verified("m", 4).close()
        with calls.down():
            assert kind_of(lambda: store.load_verified("m", 5)).startswith("storage: ")
            store.load_verified("m", 4).close()

    def test_a_wrong_copy_is_fetched_again(self, served: Store, medium: ObjectMedium) -> None:
        """The copy on this machine was changed or cut; the store's is right."""
        for content in (b"evil bytes", b"onnx", b""):
            (medium.copies.directory / blob_key(served.manifest("m", 1).model.digest)).write_bytes(content)
            with served.load_verified("m", 1) as model:
                assert b"onnx bytes" == Path(model.path).read_bytes()
        assert [] == verify(served)

    def test_a_wrong_object_is_damage(self, served: Store, medium: ObjectMedium, kind_of: Callable[..., str]) -> None:
        """`verify` looks at what the store holds, not at the copy."""
        key = blob_key(served.manifest("m", 1).model.digest)
        medium.replace(key, b"evil bytes")
        assert {key, "models/m/versions/00000001.json"} == {finding.key for finding in damages(verify(served))}
        (medium.copies.directory / key).unlink()
        assert kind_of(lambda: served.load_verified("m", 1)).startswith("damaged: model.onnx of version 1 of model 'm'")

    def test_a_cache_that_cannot_be_written(self, served: Store, medium: ObjectMedium) -> None:
        """Costs downloads, nothing else."""
        plain = Store.on(medium.uncached())
        plain.load_verified("m", 1).close()
        assert [1] == plain.versions("m")


@pytest.mark.parametrize(("url", "options"), [("ftp://host/x", {}), ("s3://bucket", {"no_such_option": "1"}), ("s3://", {})])
def test_refused_addresses(url: str, options: dict[str, str], kind_of: Callable[..., str]) -> None:
    """The text does not repeat them: they may hold credentials."""
    assert "unsupported: the address or an option of the object store is not understood" == kind_of(
        lambda: object_medium(url, options=options)
    )


def test_large_blobs_go_in_parts(medium: ObjectMedium, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the size of one conditional put: parts, then read back; twice is once, and other content stays."""
    monkeypatch.setattr("registry.objects.SINGLE_PUT_BYTES", 10)
    with medium.stage() as staged, medium.stage() as other:
        staged.write(b"x" * 100)
        other.write(b"y" * 100)
        assert [True, True, False] == [medium.commit(staged, "big"), medium.commit(staged, "big"), medium.commit(other, "big")]
    assert b"x" * 100 == medium.read("big")
