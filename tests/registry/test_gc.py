"""Garbage collection: it takes what nothing needs, and nothing else, whoever works at the same time."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from registry.errors import RegistryError
from registry.evidence import Evidence, encode
from registry.gc import DEFAULT_GRACE_S, Collected, collect, runs
from registry.manifest import Manifest
from registry.names import blob_key, digest_of
from registry.signatures import Trusted, attach, generate, sign
from registry.store import Store
from registry.verify import Severity, damages, verify
from tests.registry.turns import play

NOW_S = 4_000_000_000.0  # long after the tests' files were written
LATER_S = NOW_S + DEFAULT_GRACE_S
KEY = generate()
BY = {"actor": "ann", "reason": "", "now_s": NOW_S}
PutManifest = Callable[[Store, bytes], Manifest]


def _add(store: Store, manifest: Manifest, publish_id: str) -> int:
    return store.add_version("m", manifest, publish_id=publish_id, publisher="ann", now_s=1e9)[0]


@pytest.fixture
def served(store: Store, put_manifest: PutManifest) -> Store:
    """Versions 1 and 2 of m, and a blob that nothing needs."""
    for content in (b"one", b"two"):
        _add(store, put_manifest(store, content), content.decode())
    store.put_blob(b"orphan")
    return store


def _collect(store: Store, now_s: float = NOW_S, **options: Any) -> Collected:
    return collect(store, actor="ann", now_s=now_s, **{"dry_run": False, **options})


def _names(collected: Collected) -> tuple[set[str], set[str]]:
    return {item.digest for item in collected.trashed}, {item.digest for item in collected.deleted}


class TestWhatIsGarbage:
    """One collector, nobody else."""

    def test_dry_run(self, served: Store) -> None:
        """The default: says what would go and how large it is, and changes nothing."""
        before = {path: path.stat().st_mtime for path in served.medium.root.rglob("*")}
        said = collect(served, actor="ann", now_s=NOW_S)
        assert (True, {digest_of(b"orphan")}, [6]) == (said.dry_run, _names(said)[0], [item.size_bytes for item in said.trashed])
        assert before == {path: path.stat().st_mtime for path in served.medium.root.rglob("*")}

    def test_trash_then_deletion(self, served: Store) -> None:
        """Out of its place at once, readable for the grace period, then gone."""
        orphan = digest_of(b"orphan")
        assert ({orphan}, set()) == _names(_collect(served))
        assert served.medium.stat(blob_key(orphan)) is None
        assert b"orphan" == served.read_blob(orphan)
        assert (set(), set()) == _names(_collect(served, LATER_S - 1))
        assert (set(), {orphan}) == _names(collect(served, actor="ann", now_s=LATER_S))
        assert (set(), {orphan}) == _names(_collect(served, LATER_S))
        assert [] == served.medium.names("trash")
        assert [("ann", (orphan,))] == [(run.actor, run.digests) for run in runs(served).values()]
        assert [] == verify(served)

    def test_a_young_blob_stays(self, served: Store) -> None:
        """It may belong to a publish that runs; so may one from the future, where a clock was set back."""
        written_s = (served.medium.root / blob_key(digest_of(b"orphan"))).stat().st_mtime
        for now_s in (written_s + DEFAULT_GRACE_S - 1, written_s - 1e6):
            assert (set(), set()) == _names(_collect(served, now_s))

    def test_a_deleted_version(self, served: Store) -> None:
        """Its own files go, those that it shares stay, its number and record too; not before the grace period is over."""
        manifest, digest = served.manifest("m", 2), served.record("m", 2).manifest
        served.deletion("m").delete(2, **BY)
        served.put_blob(b"orphan")
        assert {digest_of(b"orphan")} == _names(_collect(served, LATER_S - 1))[0]
        assert {manifest.model.digest, digest} == _names(_collect(served, LATER_S))[0]
        _collect(served, LATER_S + DEFAULT_GRACE_S)
        served.load_verified("m", 1).close()
        assert "two" == served.record("m", 2).publish_id
        assert [] == verify(served)

    def test_what_keeps_a_deleted_version(self, served: Store) -> None:
        """A lease until a grace period after its end, and whoever names the manifest."""
        record = served.record("m", 2)
        lease = served.lease("m", 2, holder="gateway", now_s=NOW_S, ttl_s=100)
        served.deletion("m").delete(2, **BY)
        _collect(served, LATER_S + 99)
        served.load_verified("m", 2).close()
        served.leases.renew(lease, now_s=LATER_S, ttl_s=50)
        assert set() == _names(_collect(served, LATER_S + DEFAULT_GRACE_S + 49))[0]
        assert set() == _names(_collect(served, 5e9, keep=[record.manifest]))[0]
        assert {record.manifest} < _names(_collect(served, LATER_S + DEFAULT_GRACE_S + 51))[0]

    def test_signatures_stay(self, served: Store) -> None:
        """Also those of a version that was deleted: a notice once its manifest is gone, and good again when it is published again."""
        envelopes, keys = {}, {}
        for version in (1, 2):
            digest = served.record("m", version).manifest
            envelopes[version] = sign(served.read_blob(digest), KEY)
            keys[version] = attach(served.medium, digest, envelopes[version])
        served.deletion("m").delete(2, **BY)
        _collect(served, LATER_S - 1)
        assert [] == [found for found in verify(served) if found.key.startswith("signatures/")]
        for now_s in (LATER_S, LATER_S + DEFAULT_GRACE_S):
            _collect(served, now_s)
            assert envelopes == {version: served.medium.read(keys[version]) for version in (1, 2)}
            assert [(Severity.NOTICE, keys[2].rpartition("/")[0])] == [(found.severity, found.key) for found in verify(served)]

    def test_a_signature_of_what_comes_again(self, served: Store, put_manifest: PutManifest) -> None:
        """The same content is the same manifest, whatever happened to the version that had it first."""
        digest = served.record("m", 2).manifest
        attach(served.medium, digest, sign(served.read_blob(digest), KEY))
        served.deletion("m").delete(2, **BY)
        for now_s in (LATER_S, LATER_S + DEFAULT_GRACE_S):
            _collect(served, now_s)
        assert 3 == _add(served, put_manifest(served, b"two"), "again")
        assert {KEY.public.key_id} == Trusted((KEY.public,))(served.medium, digest, served.read_blob(digest))
        assert [] == verify(served)

    def test_evidence_stays(self, served: Store) -> None:
        """What the log names, for ever."""
        proof = served.put_evidence(Evidence(kind="eval", manifest=served.record("m", 1).manifest, passed=True))
        (served.medium.root / "policy.yaml").write_text("{format: 2, aliases: {a: {require_evidence: [eval]}}}")
        served.aliases("m").move("a", to=1, expected_from=None, evidence=[proof], **BY)
        policy = digest_of((served.medium.root / "policy.yaml").read_bytes())
        for now_s in (NOW_S, LATER_S, LATER_S + DEFAULT_GRACE_S):
            assert not {proof, policy} & _names(_collect(served, now_s))[0]
        assert [] == verify(served)

    def test_evidence_comes_back(self, served: Store) -> None:
        """It lay in the trash when the alias moved; the trash may be emptied right after."""
        content = encode(Evidence(kind="eval", manifest=served.record("m", 1).manifest, passed=True))
        proof, _ = served.put_blob(content)
        _collect(served)
        served.aliases("m").move("a", to=1, expected_from=None, evidence=[proof], **BY)
        _collect(served, LATER_S)
        assert content == served.read_blob(proof)
        assert [] == verify(served)

    def test_leftovers(self, served: Store) -> None:
        """Old files in tmp/ go too."""
        (served.medium.root / "tmp/0123").touch()
        assert ("0123",) == _collect(served).leftovers
        assert [] == served.medium.names("tmp")


class TestRefusals:
    """Rather nothing than the wrong thing."""

    @pytest.mark.parametrize(
        "key", ["models/m/versions/00000001.json", "models/m/log/00000001.json", "leases/a.json", "gc/00000001.json", "manifest"]
    )
    def test_damage(self, served: Store, key: str, kind_of: Callable[..., str]) -> None:
        """What cannot be read might refer to anything."""
        key = blob_key(served.record("m", 1).manifest) if key == "manifest" else key
        path = served.medium.root / key
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(b'{"format":2,')
        assert kind_of(lambda: _collect(served)).startswith("damaged: ")
        assert b"orphan" == (served.medium.root / blob_key(digest_of(b"orphan"))).read_bytes()

    def test_a_short_grace_period(self, served: Store, kind_of: Callable[..., str]) -> None:
        """A publisher must not stand still for longer."""
        assert "unsupported: a grace period must be at least 3600 s" == kind_of(lambda: _collect(served, grace_s=3599))


class TestAtOnce:
    """The argument in `gc`, executed."""

    def test_a_publish_at_every_point_of_a_collection(self, tmp_path: Path, put_manifest: PutManifest, hooked: Callable[..., Any]) -> None:
        """It uses the very blobs that are being collected, all of them unreferenced and old."""
        point, done = 0, False
        while not done:
            root = tmp_path / str(point)
            orphaned = put_manifest(Store.create(root, calls=hooked()), b"one")
            left = point

            def publish(name: str, arguments: tuple[Any, ...], root: Path = root, orphaned: Manifest = orphaned) -> None:
                nonlocal left
                left -= 1
                if left == -1:
                    put_manifest(store := Store.open(root, calls=hooked()), b"one")
                    _add(store, orphaned, "p")

            _collect(Store.open(root, calls=hooked(publish)))
            done, point = left >= 0, point + 1
            store = Store.open(root, calls=hooked())
            if not done:
                for now_s in (LATER_S, LATER_S + DEFAULT_GRACE_S):
                    _collect(store, now_s)
                    store.load_verified("m", 1).close()
                assert [] == damages(verify(store)), point
        assert point > 20

    def test_a_collection_at_every_point_of_a_publish(self, tmp_path: Path, put_manifest: PutManifest, hooked: Callable[..., Any]) -> None:
        """And one that empties the trash right after."""
        point, done = 0, False
        while not done:
            root = tmp_path / str(point)
            put_manifest(Store.create(root, calls=hooked()), b"one")
            left = point

            def interrupt(name: str, arguments: tuple[Any, ...], root: Path = root) -> None:
                nonlocal left
                left -= 1
                if left == -1:
                    _collect(Store.open(root, calls=hooked()))

            publisher = Store.open(root, calls=hooked(interrupt))
            _add(publisher, put_manifest(publisher, b"one"), "p")
            done, point = left >= 0, point + 1
            store = Store.open(root, calls=hooked())
            # The publisher has taken back what it needs; nobody waits for the next collection.
            assert [] == [finding for finding in verify(store) if finding.key.startswith(("blobs/", "models/m/versions/"))], point
            for now_s in (LATER_S, LATER_S + DEFAULT_GRACE_S):
                _collect(store, now_s)
                store.load_verified("m", 1).close()
            assert [] == damages(verify(store)), point
        assert point > 30

    def test_a_publisher_that_stands_still_for_a_grace_period(
        self, store: Store, put_manifest: PutManifest, hooked: Callable[..., Any], kind_of: Callable[..., str]
    ) -> None:
        """Between finding a blob and claiming the version: the one case that is left. It is told, not hidden."""
        put_manifest(store, b"one")

        def stand_still(name: str, arguments: tuple[Any, ...]) -> None:
            if name == "link" and "/versions/" in str(arguments[1]):
                _collect(store)
                _collect(store, LATER_S)

        publisher = Store.open(store.medium.root, calls=hooked(stand_still))
        manifest = put_manifest(publisher, b"one")
        assert kind_of(lambda: _add(publisher, manifest, "p")).startswith("damaged: blobs/sha256/")
        put_manifest(store, b"one")  # storing the files again mends it
        assert 1 == _add(store, manifest, "p")
        assert [] == verify(store)

    def test_the_trash_is_emptied_at_every_point_of_a_move(
        self, tmp_path: Path, put_manifest: PutManifest, hooked: Callable[..., Any]
    ) -> None:
        """The evidence lies in it: until it is taken out, the move is refused, from then on it happens."""
        point, done, outcomes = 0, False, {True: 0, False: 0}
        while not done:
            root = tmp_path / str(point)
            store = Store.create(root, calls=hooked())
            _add(store, put_manifest(store, b"one"), "p")
            proof = store.put_evidence(Evidence(kind="eval", manifest=store.record("m", 1).manifest, passed=True))
            _collect(store)
            left = point

            def empty(name: str, arguments: tuple[Any, ...], store: Store = store) -> None:
                nonlocal left
                left -= 1
                if left == -1:
                    _collect(store, LATER_S)

            with suppress(RegistryError):
                Store.open(root, calls=hooked(empty)).aliases("m").move("a", to=1, expected_from=None, evidence=[proof], **BY)
            moved = bool(store.aliases("m").all())
            assert moved or not outcomes[True]
            outcomes[moved] += 1
            assert [] == verify(store), point
            done, point = left >= 0, point + 1
        assert outcomes[False] > 0
        assert outcomes[True] > 10

    @pytest.mark.parametrize("seed", range(60))
    def test_any_order(self, tmp_path: Path, put_manifest: PutManifest, hooked: Callable[..., Any], seed: int) -> None:
        """Two publishers of the same old blobs, two collectors and a move whose evidence is garbage, one file call at a time."""
        setup = Store.create(tmp_path / "registry", calls=hooked())
        root = setup.medium.root
        _add(setup, put_manifest(setup, b"zero"), "zero")
        put_manifest(setup, b"one")
        proof = setup.put_evidence(Evidence(kind="eval", manifest=setup.record("m", 1).manifest, passed=True))

        def publish(calls: Any, publish_id: str) -> None:
            store = Store.open(root, calls=calls)
            _add(store, put_manifest(store, b"one"), publish_id)

        failures = play(
            [
                lambda calls: publish(calls, "a"),
                lambda calls: _collect(Store.open(root, calls=calls)),
                lambda calls: publish(calls, "b"),
                lambda calls: _collect(Store.open(root, calls=calls), NOW_S + 1),
                lambda calls: Store.open(root, calls=calls).aliases("m").move("c", to=1, expected_from=None, evidence=[proof], **BY),
            ],
            random.Random(seed),
        )
        assert [None] * 5 == failures
        store = Store.open(root, calls=hooked())
        for now_s in (NOW_S + 2, LATER_S + 2, LATER_S + DEFAULT_GRACE_S + 2):
            for version in (1, 2, 3):
                store.load_verified("m", version).close()
            assert [] == damages(verify(store))
            _collect(store, now_s)
        assert ([], {"c": 1}) == (verify(store), store.aliases("m").all())
