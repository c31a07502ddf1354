"""Versions that travel, and whole registries that are copied: checked both ways, resumable, nothing doubled."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from obstore.store import MemoryStore

from registry.backup import Copied, copy_onto, copy_registry
from registry.directory import DirectoryMedium
from registry.evidence import Evidence
from registry.gc import DEFAULT_GRACE_S, collect
from registry.manifest import Manifest
from registry.names import blob_key
from registry.objects import ObjectMedium
from registry.signatures import Trusted, attach, generate, sign
from registry.store import Store
from registry.transfer import Pulled, export, pull
from registry.verify import verify

BY = {"actor": "ann", "reason": "", "now_s": 1e9}
KEYS = (generate(), generate())
EVERYTHING = [("m", 1), ("m", 2), ("n", 1)]


@pytest.fixture
def served(store: Store, put_manifest: Callable[[Store, bytes], Manifest]) -> Store:
    """Versions 1 and 2 of m and 1 of n, which shares a blob; an alias with evidence, a deleted version."""
    for model, content in (("m", b"one"), ("m", b"two"), ("n", b"one"), ("n", b"gone")):
        publish_id = f"{model} {content.decode()}"
        store.add_version(model, put_manifest(store, content), publish_id=publish_id, publisher="ann", now_s=1e9)
    digest = store.record("m", 1).manifest
    for key in KEYS:
        attach(store.medium, digest, sign(store.read_blob(digest), key))
    proof = store.put_evidence(Evidence(kind="eval", manifest=store.record("m", 2).manifest, passed=True))
    store.aliases("m").move("champion", to=2, expected_from=None, evidence=[proof], **BY)
    store.deletion("n").delete(2, **BY)
    for now_s in (4e9, 4e9 + DEFAULT_GRACE_S):
        collect(store, actor="ann", now_s=now_s, dry_run=False)
    return store


@pytest.fixture
def other(tmp_path: Path) -> Store:
    """An empty registry at another site."""
    return Store.create(tmp_path / "other")


class TestBundles:
    """export and pull."""

    def test_there_and_back(self, served: Store, other: Store, tmp_path: Path) -> None:
        """The same manifests and files, published by whoever published them, then; twice is once."""
        counted: list[int] = []
        bundle = export(served, EVERYTHING, tmp_path / "bundle", progress=counted.append)
        assert EVERYTHING == [(entry.model, entry.version) for entry in bundle.versions]
        assert [Pulled("m", 1, 1, True), Pulled("m", 2, 2, True), Pulled("n", 1, 1, True)] == pull(other, tmp_path / "bundle")
        assert [False] * 3 == [pulled.new for pulled in pull(other, tmp_path / "bundle")]
        for model, version in EVERYTHING:
            assert served.record(model, version) == other.record(model, version)
            other.load_verified(model, version).close()
        assert ({}, []) == (other.aliases("m").all(), verify(other))
        assert sum(counted) > 1000

    def test_signatures(self, served: Store, other: Store, tmp_path: Path, kind_of: Callable[..., str]) -> None:
        """A site that asks for them loads what was signed elsewhere, and nothing else."""
        export(served, EVERYTHING, tmp_path / "bundle")
        (other.medium.root / "policy.yaml").write_text(f"{{format: 2, load: {{require_signatures: ['{KEYS[0].public.key_id}']}}}}")
        asking = Store.open(other.medium.root, signers=Trusted((KEYS[0].public,)))
        pull(asking, tmp_path / "bundle")
        asking.load_verified("m", 1).close()
        assert kind_of(lambda: asking.load_verified("m", 2)).startswith("policy: the signature of key")

    def test_signatures_before_the_version(self, served: Store, tmp_path: Path, hooked: Callable[..., Any]) -> None:
        """Whoever sees the version sees its signatures: they have their names first."""
        linked: list[str] = []
        calls = hooked(lambda name, arguments: linked.append(str(arguments[1])) if name == "link" else None)
        export(served, EVERYTHING, tmp_path / "bundle")
        pull(Store.create(tmp_path / "there", calls=calls), tmp_path / "bundle")
        order = "".join("s" if "/signatures/" in key else "v" for key in linked if "/signatures/" in key or "/versions/" in key)
        assert "ssvvssv" == order  # version 1 of n has the manifest of version 1 of m

    def test_signed_later(self, served: Store, other: Store, tmp_path: Path) -> None:
        """A second journey brings the signatures that were made since, also of a version that is there."""
        export(served, [("m", 2)], tmp_path / "bundle")
        assert b"signatures" not in (tmp_path / "bundle/tidegate-bundle.json").read_bytes()  # as it was before they were carried
        pull(other, tmp_path / "bundle")
        digest = served.record("m", 2).manifest
        key = attach(served.medium, digest, sign(served.read_blob(digest), KEYS[0]))
        export(served, [("m", 2)], tmp_path / "bundle")
        assert [Pulled("m", 2, 1, False)] == pull(other, tmp_path / "bundle")
        assert served.medium.read(key) == other.medium.read(key)

    def test_some(self, served: Store, other: Store, tmp_path: Path) -> None:
        """A bundle grows; of its models some are pulled; numbers are the receiver's own."""
        export(served, [("m", 2)], tmp_path / "bundle")
        assert EVERYTHING[1:] == [(entry.model, entry.version) for entry in export(served, [("n", 1)], tmp_path / "bundle").versions]
        assert [Pulled("m", 2, 1, True)] == pull(other, tmp_path / "bundle", models=["m"])
        assert ["m"] == other.models()

    def test_what_did_not_survive_the_journey(self, served: Store, other: Store, tmp_path: Path, kind_of: Callable[..., str]) -> None:
        """Any byte of any file; exporting again mends it, and pulling goes on where it stopped."""
        bundle = tmp_path / "bundle"
        export(served, EVERYTHING, bundle)
        for number, path in enumerate(sorted(path for path in bundle.rglob("*") if path.is_file())):
            content, fresh = path.read_bytes(), Store.create(tmp_path / f"fresh-{number}")
            path.chmod(0o644)
            for damage in (content[:-1] + bytes([content[-1] ^ 1]), content[: len(content) // 2], b""):
                path.write_bytes(damage)
                assert kind_of(lambda store=fresh: pull(store, bundle)).startswith("damaged: "), path
            path.unlink()
            assert kind_of(lambda store=fresh: pull(store, bundle)).startswith(("damaged: ", "not_found: ")), path
            path.write_bytes(content)
        broken = bundle / blob_key(served.manifest("n", 1).model.digest)
        broken.chmod(0o644)
        broken.write_bytes(b"broken")
        envelope = sorted((bundle / "signatures").rglob("*.json"))[0]
        envelope.chmod(0o644)
        envelope.write_bytes(b"broken")
        export(served, EVERYTHING, bundle)
        assert 3 == len(pull(other, bundle))
        assert [] == verify(other)

    def test_refusals(self, served: Store, other: Store, tmp_path: Path, kind_of: Callable[..., str]) -> None:
        """A registry is no bundle, one bundle is of one registry, what is not there cannot be packed, a later format is not read."""
        assert kind_of(lambda: export(served, EVERYTHING, other.medium.root)).startswith("conflict: the directory is a registry")
        assert kind_of(lambda: pull(other, tmp_path)).startswith("not_found: there is no tidegate-bundle.json")
        assert kind_of(lambda: export(served, [("m", 7)], tmp_path / "a")).startswith("not_found: model 'm' has no version 7")
        export(served, EVERYTHING, tmp_path / "bundle")
        assert kind_of(lambda: export(other, [], tmp_path / "bundle")).startswith("conflict: the directory holds a bundle of another")
        index = tmp_path / "bundle/tidegate-bundle.json"
        index.write_bytes(index.read_bytes().replace(b'"format":2', b'"format":3'))
        assert kind_of(lambda: pull(other, tmp_path / "bundle")).startswith("unsupported: tidegate-bundle.json has format 3")

    def test_an_id_that_means_something_else_here(
        self, served: Store, other: Store, tmp_path: Path, put_manifest: Callable[[Store, bytes], Manifest], kind_of: Callable[..., str]
    ) -> None:
        """Not overwritten, not renumbered in silence."""
        other.add_version("m", put_manifest(other, b"else"), publish_id="m one", publisher="eve", now_s=1e9)
        export(served, EVERYTHING, tmp_path / "bundle")
        assert kind_of(lambda: pull(other, tmp_path / "bundle")).startswith("conflict: publish id 'm one' already stands for version 1")


class TestBackup:
    """Whole registries."""

    def test_backup_and_restore(self, served: Store, tmp_path: Path) -> None:
        """The same identity, versions, aliases and log; then life goes on from the copy."""
        (served.medium.root / "policy.yaml").write_text("{format: 2, aliases: {champion: {}}}")
        assert Copied(models=2, versions=4, entries=6, blobs=6) == copy_registry(served, tmp_path / "backup")
        shutil.rmtree(served.medium.root)
        assert Copied(models=2, versions=4, entries=6, blobs=6) == copy_registry(Store.open(tmp_path / "backup"), served.medium.root)
        restored = Store.open(served.medium.root)
        assert (served.id, {"champion": 2}, [1, 2], [1]) == (
            restored.id,
            restored.aliases("m").all(),
            restored.versions("m"),
            restored.versions("n"),
        )
        assert [] == verify(restored)
        restored.aliases("m").move("champion", to=1, expected_from=2, **BY)
        assert (served.medium.root / "policy.yaml").read_text() == (tmp_path / "backup/policy.yaml").read_text()

    def test_a_second_backup_adds_what_is_new(self, served: Store, tmp_path: Path) -> None:
        """And takes the policy as it is now."""
        copy_registry(served, tmp_path / "backup")
        inodes = {path.relative_to(tmp_path): path.stat().st_ino for path in (tmp_path / "backup/blobs").rglob("*")}
        served.aliases("m").move("champion", to=1, expected_from=2, **BY)
        copy_registry(served, tmp_path / "backup")
        copy = Store.open(tmp_path / "backup")
        assert ({"champion": 1}, []) == (copy.aliases("m").all(), verify(copy))
        assert inodes == {path.relative_to(tmp_path): path.stat().st_ino for path in (tmp_path / "backup/blobs").rglob("*")}

    def test_to_an_object_store_and_back(self, served: Store, tmp_path: Path) -> None:
        """The same keys there."""
        medium = ObjectMedium(MemoryStore(), shown="memory:", cache=None)
        copy_onto(served, medium)
        assert [] == verify(Store.on(medium))
        copy_onto(Store.on(medium), DirectoryMedium(tmp_path / "back"))
        assert ([], {"champion": 2}) == (verify(Store.open(tmp_path / "back")), Store.open(tmp_path / "back").aliases("m").all())

    def test_stopped_at_any_call(self, served: Store, tmp_path: Path, hooked: Callable[..., Any]) -> None:
        """It is no registry yet, or a whole one; the next attempt completes it."""
        for last in range(3, 1000, 7):
            left = last

            def stop(name: str, arguments: tuple[Any, ...]) -> None:
                nonlocal left
                left -= 1
                if left < 0:
                    raise KeyboardInterrupt

            target = DirectoryMedium(tmp_path / str(last), calls=hooked(stop))
            try:
                copy_onto(served, target)
            except KeyboardInterrupt:
                marker = (tmp_path / str(last) / "tidegate-registry.json").exists()
                assert not marker or [] == verify(Store.open(tmp_path / str(last)))
            copy_onto(served, DirectoryMedium(tmp_path / str(last), calls=hooked()))
            assert [] == [finding for finding in verify(Store.open(tmp_path / str(last))) if not finding.key.startswith("tmp/")]
            if left >= 0:
                assert last > 100
                return

    def test_refusals(self, served: Store, other: Store, tmp_path: Path, kind_of: Callable[..., str]) -> None:
        """Another registry, another directory, a copy that went its own way, a damaged source."""
        assert "conflict: another registry is there" == kind_of(lambda: copy_registry(served, other.medium.root))
        (tmp_path / "full").mkdir()
        (tmp_path / "full/letter.txt").touch()
        assert kind_of(lambda: copy_registry(served, tmp_path / "full")).startswith("conflict: 'letter.txt' is there")
        copy_registry(served, tmp_path / "copy")
        Store.open(tmp_path / "copy").aliases("m").move("champion", to=1, expected_from=2, **BY)
        served.aliases("m").remove("champion", expected_from=2, **BY)
        text = "conflict: the copy has another models/m/log/00000004.json: it went its own way"
        assert text == kind_of(lambda: copy_registry(served, tmp_path / "copy"))
        path = served.medium.root / blob_key(served.manifest("m", 1).model.digest)
        path.chmod(0o644)
        path.write_bytes(b"eno")
        assert kind_of(lambda: copy_registry(served, tmp_path / "new")).startswith(
            f"damaged: {blob_key(served.manifest('m', 1).model.digest)}"
        )
        assert kind_of(lambda: Store.open(tmp_path / "new")).startswith("not_found: ")
