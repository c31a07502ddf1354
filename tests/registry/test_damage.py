"""Any file cut or changed: what was last seen still serves, what is not touched loads, and the damage is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from registry.columns import Column
from registry.contract import Contract, Port
from registry.desired import Desired
from registry.errors import Kind, RegistryError
from registry.gc import collect
from registry.golden import golden_of
from registry.manifest import PART_TITLES, Manifest, file_layer, manifest_of
from registry.names import blob_key, digest_of
from registry.parts import Parts, contents
from registry.policy import POLICY
from registry.profile import encode
from registry.profiling import profile_of
from registry.schema import contract_file, merge
from registry.serving import Serving
from registry.signatures import attach, generate, sign
from registry.store import MARKER, Store
from registry.training import TrainingRecord
from registry.triggers import Window
from registry.verify import Severity, damages, verify
from registry.watch import Watch

BY = {"actor": "ann", "reason": "r" * 700, "now_s": 1e9}  # entries longer than a sector
SECTOR = 512


@pytest.fixture
def served(store: Store, put_manifest: Callable[[Store, bytes], Manifest]) -> Store:
    """One of every kind of state file; the model `other` is never touched."""
    for model, content in (("m", b"one"), ("m", b"two"), ("other", b"three")):
        store.add_version(model, put_manifest(store, content), publish_id=content.decode(), publisher="pat", now_s=1e9)
    (store.medium.root / "policy.yaml").write_text("# why\n" * 100 + "{format: 2, aliases: {champion: {min_approvals: 1}}}")
    digest = store.record("m", 1).manifest
    attach(store.medium, digest, sign(store.read_blob(digest), generate()))
    store.aliases("m").approve("champion", 1, **BY)
    store.aliases("m").move("champion", to=1, expected_from=None, **BY)
    store.deletion("m").hold("audit", 2, **BY)
    store.lease("m", 1, holder="g" * 256, now_s=1e9, ttl_s=60)
    moment = datetime.fromtimestamp(1e9, UTC)
    trigger, _ = store.triggers.propose(
        "m", 1, manifest=digest, rule="drift", reason="r" * 700, features=(), evidence={}, window=Window(start=moment, end=moment, rows=9),
        proposer="g", now_s=1e9,
    )  # fmt: skip
    store.triggers.claim("m", trigger.id, holder="g" * 256, now_s=1e9, ttl_s=60)
    store.put_blob(b"orphan")
    collect(store, actor="ann", now_s=4e9, dry_run=False)
    return store


def _state_files(store: Store) -> list[Path]:
    root = store.medium.root
    paths = [path for path in root.rglob("*") if path.is_file() and path.relative_to(root).parts[0] not in {"blobs", "trash"}]
    return sorted(path for path in paths if "other" not in path.parts)


def _damages(content: bytes, *, by_people: bool) -> Iterator[bytes]:
    """Cut and flipped at each sector's border, at its end and in its middle. What people write has no digest, so it is only cut."""
    for start in range(0, len(content), SECTOR):
        yield content[:start]
        for position in () if by_people else {start, min(start + SECTOR, len(content)) - 1, min(start + SECTOR // 2, len(content) - 1)}:
            yield content[:position] + bytes([content[position] ^ 0x10]) + content[position + 1 :]
    yield content[:-1]


def test_the_last_good_state_serves(served: Store) -> None:
    """A watch that saw the registry whole keeps handing over what it saw of the model; the damage is named by it or by `verify`."""
    seen: list[Desired] = []
    Watch(served, seen.append).look()
    whole = seen[0]
    assert 10 <= len(_state_files(served))
    for path in _state_files(served):
        content, key = path.read_bytes(), str(path.relative_to(served.medium.root))
        path.chmod(0o644)
        for damage in _damages(content, by_people=key == POLICY):
            path.write_bytes(damage)
            again = Watch(served, seen.append)
            again.last = whole
            again.look()
            assert again.failure is None
            assert whole.models == again.last.models, key
            assert key == POLICY or _loads(served)  # it might ask for signatures, so without it nothing new is loaded
            named = {finding.key for finding in verify(served)} if key != MARKER else {_refusal(served)}
            assert named, key
            assert {text for text in named if key.startswith(text) or text.startswith(key) or key.rpartition("/")[0] in text}, (key, named)
        path.write_bytes(content)
    assert {"blobs", "models/m/head.json"} >= {finding.key.partition("/")[0] for finding in verify(served)}


def test_every_blob_of_a_version(store: Store, put_manifest: Callable[[Store, bytes], Manifest]) -> None:
    """The model, the contract, each part and the manifest: the blob is named, also where only some later version needs it."""
    for number in (1, 2):
        store.add_version("m", _with_parts(store, put_manifest, _all_parts()), publish_id=f"p{number}", publisher="ann", now_s=1e9)
    manifest = store.manifest("m", 1)
    assert len(PART_TITLES) == len(manifest.parts)
    for digest in (store.record("m", 1).manifest, *(blob.digest for blob in manifest.blobs)):
        path = store.medium.root / blob_key(digest)
        content = path.read_bytes()
        path.chmod(0o644)
        for damage in _damages(content, by_people=False):
            path.write_bytes(damage)
            assert [blob_key(digest)] == [finding.key for finding in damages(verify(store)) if finding.key.startswith("blobs/")]
        path.write_bytes(content)
    assert [] == verify(store)


@pytest.mark.parametrize("title", sorted(set(PART_TITLES) - {"card.md"}))
def test_a_part_that_was_published_broken(
    store: Store, put_manifest: Callable[[Store, bytes], Manifest], title: str, kind_of: Callable[..., str]
) -> None:
    """Its digest is right and its content is none: named by its key, once, however many versions share it; by loading where it needs it."""
    whole = _all_parts()[title]
    cuts = [*range(0, len(whole), SECTOR), len(whole) - 1]
    assert title == "serving.json" or len(cuts) > 2
    for number, cut in enumerate(cuts):
        for model in ("m", "n"):
            manifest = _with_parts(store, put_manifest, {title: whole[:cut]})
            store.add_version(model, manifest, publish_id=str(number), publisher="ann", now_s=1e9)
        store.deletion("n").delete(number + 1, **BY)
        broken = {blob_key(store.manifest("m", past + 1).parts[0].digest) for past in range(number + 1)}
        assert sorted(broken) == sorted(finding.key for finding in verify(store))
        key = blob_key(store.manifest("m", number + 1).parts[0].digest)
        if title in {"golden.json", "profile.json", "schema.json", "serving.json"}:  # what a session is made, tried and watched by
            assert kind_of(lambda number=number: store.load_verified("m", number + 1)).startswith(f"damaged: {key} ")  # type: ignore[misc]
        else:
            store.load_verified("m", number + 1).close()


class TestSignatures:
    """What `verify` says of the envelopes."""

    def test_of_another_manifest(self, served: Store) -> None:
        """It lies with one and is over the other; its name is right."""
        first, second = (_manifest(served, version) for version in (1, 2))
        envelope = next((served.medium.root / f"signatures/{first[7:]}").iterdir())
        assert served.medium.create(f"signatures/{second[7:]}/{envelope.name}", envelope.read_bytes())
        text = "the signature is of other content than the manifest"
        key = f"signatures/{second[7:]}/{envelope.name}"
        assert [(key, f"{key}: {text}")] == [(finding.key, finding.message) for finding in damages(verify(served))]

    def test_of_no_version(self, store: Store) -> None:
        """A notice: whoever signs a manifest before it is published does no harm. What is no signature there is damage."""
        (store.medium.root / "signatures").mkdir()
        key = attach(store.medium, digest_of(b"{}"), sign(b"{}", generate()))
        directory, text = key.rpartition("/")[0], "no version has the manifest that these signatures are over"
        assert [(Severity.NOTICE, directory, text)] == [(found.severity, found.key, found.message) for found in verify(store)]
        (store.medium.root / "signatures/stray").mkdir()
        (store.medium.root / "signatures/stray/file").touch()
        (store.medium.root / "signatures/file").touch()
        assert {"signatures/stray/file", "signatures/file"} == {finding.key for finding in damages(verify(store))}


def _manifest(store: Store, version: int) -> str:
    return store.record("m", version).manifest


def _all_parts() -> dict[str, bytes]:
    """One of each, longer than a sector but for the settings."""
    golden = golden_of({"x": np.ones((8, 4), np.float32)})
    port = Port(name="x", type="tensor(float)", shape=(None, 4))
    graph = Contract(ir_version=8, opsets={"": 17}, producer="tests", inputs=(port,), outputs=())
    schema = merge(graph, contract_file({"inputs": {"x": {"description": "d" * 600}}}))
    parts = Parts(
        training=TrainingRecord(format=1, parameters={"note": "n" * 600}),
        card="# Card\n" * 100,
        serving=Serving(format=1, max_batch_size=8),
        profile=encode(profile_of([Column("input", "x", np.arange(80, dtype=np.float32).reshape(20, 4))]).profile),
    )
    return contents(parts, schema=schema, golden=golden)


def _with_parts(store: Store, put_manifest: Callable[[Store, bytes], Manifest], parts: dict[str, bytes]) -> Manifest:
    plain = put_manifest(store, b"one")
    stored = [(title, *store.put_blob(content)) for title, content in parts.items()]
    layers = [file_layer(title=title, media_type=PART_TITLES[title], digest=digest, size=size) for title, digest, size in stored]
    return manifest_of(plain.config, [*plain.layers, *layers])


def _loads(store: Store) -> bool:
    with store.load_verified("other", 1) as model:
        return model.version == 1


def _refusal(store: Store) -> str:
    """The marker is read when a registry is opened; whoever has it open goes on."""
    with pytest.raises(RegistryError) as caught:
        Store.open(store.medium.root)
    assert caught.value.kind in {Kind.DAMAGED, Kind.UNSUPPORTED}
    return MARKER


def test_a_clock_that_goes_back(served: Store, put_manifest: Callable[[Store, bytes], Manifest]) -> None:
    """Order is the log's: later entries may be older, and nothing is decided by a time."""
    early = {"actor": "ann", "reason": "", "now_s": 1.0}
    served.aliases("m").move("challenger", to=2, expected_from=None, **early)
    number = served.add_version("m", put_manifest(served, b"four"), publish_id="p", publisher="ann", now_s=-1e9)[0]
    served.aliases("m").move("challenger", to=number, expected_from=2, **early | {"now_s": 0.5})
    assert {"champion": 1, "challenger": 3} == served.aliases("m").all()
    assert [] == verify(served)
