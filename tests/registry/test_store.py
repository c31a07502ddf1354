"""A registry directory: made, refused, read back."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.errors import DigestMismatchError, Kind, RegistryError
from registry.manifest import Manifest
from registry.names import blob_key, digest_of
from registry.store import Store

PutManifest = Callable[[Store, bytes], Manifest]
NOW_S = 1_700_000_000.25


def _add(store: Store, manifest: Manifest, publish_id: str = "p") -> int:
    return store.add_version("m", manifest, publish_id=publish_id, publisher="ann", now_s=NOW_S)[0]


def _outcome(store: Store, content: bytes) -> str:
    """What becomes of loading version 1 of m: "loaded" with the right content, or the kind of the refusal."""
    try:
        with store.load_verified("m", 1) as model:
            return "loaded" if Path(model.path).read_bytes() == content else "wrong"
    except RegistryError as error:
        return error.kind.value


class TestCreate:
    """What becomes a registry and what does not."""

    def test_layout(self, tmp_path: Path) -> None:
        """The directories and the marker of layout 2, nothing else."""
        store = Store.create(tmp_path / "new" / "registry")
        root = tmp_path / "new" / "registry"
        assert {"layout": 2, "id": str(store.id)}.items() < json.loads((root / "tidegate-registry.json").read_text()).items()
        assert ["blobs", "blobs/sha256", "models", "tidegate-registry.json", "tmp"] == sorted(
            str(path.relative_to(root)) for path in root.rglob("*")
        )

    def test_create_opens_what_is_there(self, tmp_path: Path) -> None:
        """Creating twice gives one registry."""
        assert Store.create(tmp_path).id == Store.create(tmp_path).id == Store.open(tmp_path).id

    def test_an_interrupted_create_is_taken_up(self, tmp_path: Path) -> None:
        """Empty directories of ours are no obstacle."""
        (tmp_path / "blobs").mkdir()
        (tmp_path / "tmp").mkdir()
        Store.create(tmp_path)
        assert [] == Store.open(tmp_path).models()

    def test_other_directories_stay_untouched(self, tmp_path: Path, kind_of: Callable[..., str]) -> None:
        """A model repository, or anything else, does not become a registry by accident."""
        (tmp_path / "resnet").mkdir()
        assert "conflict: the directory holds 'resnet' and is no registry" == kind_of(lambda: Store.create(tmp_path))
        assert [tmp_path / "resnet"] == list(tmp_path.iterdir())

    def test_a_lost_marker_is_not_made_up(self, tmp_path: Path, kind_of: Callable[..., str]) -> None:
        """A new identity over old versions would hide the loss."""
        Store.create(tmp_path).put_blob(b"x")
        (tmp_path / "tidegate-registry.json").unlink()
        assert "damaged: the directory holds a registry whose tidegate-registry.json is missing" == kind_of(lambda: Store.create(tmp_path))

    @pytest.mark.parametrize(
        ("marker", "text"),
        [
            (
                b'{"layout":3,"id":"7f3d8a3e-0000-4000-8000-000000000000","new":1}',
                "unsupported: the registry has layout 3; this release reads layouts 1 and 2",
            ),
            (b'{"layout":0}', "unsupported: the registry has layout 0; this release reads layouts 1 and 2"),
            (b'{"layout":2,"id":"7f3d8a3e-0000-4000-8000-000000000000"}', "damaged: tidegate-registry.json does not match its own digest"),
            (b'{"layout":1}', "damaged: tidegate-registry.json is unreadable: Object missing required field `id`"),
            (
                b'{"layout":1,"id":"7f3d8a3e-0000-4000-8000-000000000000","new":1}',
                "damaged: tidegate-registry.json is unreadable: Object contains unknown field `new`",
            ),
            (b"", "damaged: tidegate-registry.json is unreadable: Input data was truncated"),
            (b"\xff\xfe", "damaged: tidegate-registry.json is unreadable: "),
        ],
    )
    def test_refused_markers(self, tmp_path: Path, marker: bytes, text: str, kind_of: Callable[..., str]) -> None:
        """Another layout is refused by number before its other fields are looked at; a broken marker by what is wrong."""
        (tmp_path / "tidegate-registry.json").write_bytes(marker)
        assert kind_of(lambda: Store.open(tmp_path)).startswith(text)
        assert kind_of(lambda: Store.create(tmp_path)).startswith(text)

    def test_no_registry(self, tmp_path: Path, kind_of: Callable[..., str]) -> None:
        """Opening never creates."""
        assert kind_of(lambda: Store.open(tmp_path)).startswith("not_found: there is no tidegate-registry.json")
        assert [] == list(tmp_path.iterdir())


class TestBlobs:
    """Content by digest."""

    @pytest.mark.parametrize("content", [b"", b"x", bytes(3 << 20)])
    def test_put(self, store: Store, tmp_path: Path, content: bytes) -> None:
        """From bytes, a stream or a path: one file, named by what it holds, that nobody may write."""
        (tmp_path / "file").write_bytes(content)
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        for source in (content, io.BytesIO(content), tmp_path / "file"):
            assert (digest, len(content)) == store.put_blob(source)
        path = store.medium.root / blob_key(digest)
        assert content == path.read_bytes()
        assert 0o444 == stat.S_IMODE(path.stat().st_mode)
        assert 1 == sum(file.is_file() for file in (store.medium.root / "blobs").rglob("*"))

    def test_a_damaged_place_is_not_taken_for_the_content(self, store: Store, kind_of: Callable[..., str]) -> None:
        """The blob exists, but holds something else: storing it again says so instead of succeeding."""
        path = store.medium.root / blob_key(store.put_blob(b"content")[0])
        path.unlink()
        path.write_bytes(b"cont")
        assert kind_of(lambda: store.put_blob(b"content")).startswith(f"damaged: {blob_key(digest_of(b'content'))} does not hold")

    def test_read_checks(self, store: Store, kind_of: Callable[..., str]) -> None:
        """A small blob is hashed when it is read; an absent one is damage, because something referred to it."""
        digest, _ = store.put_blob(b"content")
        assert b"content" == store.read_blob(digest)
        path = store.medium.root / blob_key(digest)
        path.unlink()
        assert f"damaged: {blob_key(digest)} is missing" == kind_of(lambda: store.read_blob(digest))
        assert f"damaged: {blob_key(digest)} is missing" == kind_of(lambda: store.open_blob(digest))
        path.write_bytes(b"Content")
        assert f"damaged: {blob_key(digest)} does not hold what its name says" == kind_of(lambda: store.read_blob(digest))

    def test_an_unreadable_source(self, store: Store, tmp_path: Path, kind_of: Callable[..., str]) -> None:
        """The source's trouble is a storage error, and nothing is stored."""
        assert "storage: cannot open absent: No such file or directory" == kind_of(lambda: store.put_blob(tmp_path / "absent"))
        assert [] == store.medium.names("blobs/sha256")


class TestVersions:
    """Versions, read back and loaded."""

    def test_read_back(self, store: Store, put_manifest: PutManifest) -> None:
        """Record, manifest, contract and history of a version."""
        manifest = put_manifest(store, b"onnx bytes")
        assert 1 == _add(store, manifest)
        store = Store.open(store.medium.root)
        assert (["m"], [1], []) == (store.models(), store.versions("m"), store.versions("other"))
        record = store.record("m", 1)
        assert ("p", "ann", NOW_S) == (record.publish_id, record.publisher, record.created.timestamp())
        assert manifest == store.manifest("m", 1)
        assert {"": 17} == store.contract("m", 1).opsets
        assert [1] == [entry.version for entry in store.history("m")]

    @pytest.mark.parametrize(
        ("model", "version", "text"),
        [("m", 2, "not_found: model 'm' has no version 2"), ("n", 1, "not_found: model 'n' has no"), ("../m", 1, "invalid_name: ")],
    )
    def test_not_there(
        self, store: Store, put_manifest: PutManifest, model: str, version: int, text: str, kind_of: Callable[..., str]
    ) -> None:
        """An unknown version or model, and a name that is a path."""
        _add(store, put_manifest(store, b"onnx bytes"))
        assert kind_of(lambda: store.record(model, version)).startswith(text)
        assert kind_of(lambda: store.load_verified(model, version)).startswith(text)

    @pytest.mark.parametrize(("publish_id", "publisher"), [("", "ann"), ("p", ""), ("p" * 257, "ann"), ("p", "a\n")])
    def test_refused_labels(
        self, store: Store, put_manifest: PutManifest, publish_id: str, publisher: str, kind_of: Callable[..., str]
    ) -> None:
        """Nothing of a model appears for a refused name."""
        manifest = put_manifest(store, b"onnx bytes")
        assert "invalid_name" in kind_of(lambda: store.add_version("m", manifest, publish_id=publish_id, publisher=publisher, now_s=NOW_S))
        assert [] == store.models()

    def test_load(self, store: Store, put_manifest: PutManifest) -> None:
        """The bytes behind the path are the published ones, and cannot be changed by anybody."""
        _add(store, put_manifest(store, b"onnx bytes"))
        with store.load_verified("m", 1) as model:
            assert ("m", 1, digest_of(b"onnx bytes")) == (model.model, model.version, model.digest)
            assert b"onnx bytes" == Path(model.path).read_bytes()
            with pytest.raises(PermissionError):
                os.write(model.file.fd, b"x")
            with pytest.raises(PermissionError):
                os.ftruncate(model.file.fd, 3)
        model.close()
        with pytest.raises(ValueError, match="closed file"):
            _ = model.path

    def test_loading_is_not_disturbed_by_the_disk(self, store: Store, put_manifest: PutManifest) -> None:
        """What was verified stays, even if the blob is overwritten in place afterwards."""
        manifest = put_manifest(store, b"onnx bytes")
        _add(store, manifest)
        with store.load_verified("m", 1) as model:
            path = store.medium.root / blob_key(manifest.model.digest)
            path.chmod(0o644)
            path.write_bytes(b"evil bytes")
            assert b"onnx bytes" == Path(model.path).read_bytes()

    @pytest.mark.parametrize(
        ("content", "got"), [(b"onnx bytez", digest_of(b"onnx bytez")), (b"onnx", "4 bytes instead of 10"), (b"", "0 bytes instead of 10")]
    )
    def test_a_digest_mismatch_names_everything(self, store: Store, put_manifest: PutManifest, content: bytes, got: str) -> None:
        """Model, version, file, the expected digest and what was found."""
        manifest = put_manifest(store, b"onnx bytes")
        _add(store, manifest)
        path = store.medium.root / blob_key(manifest.model.digest)
        path.unlink()
        path.write_bytes(content)
        descriptors = len(os.listdir("/proc/self/fd"))
        with pytest.raises(DigestMismatchError) as caught:
            store.load_verified("m", 1)
        error = caught.value
        assert (Kind.DAMAGED, "m", 1, "model.onnx", manifest.model.digest, got) == (
            error.kind,
            error.model,
            error.version,
            error.file,
            error.expected,
            error.got,
        )
        assert f"model.onnx of version 1 of model 'm' is damaged: expected {manifest.model.digest}, got {got}" == error.message
        assert descriptors == len(os.listdir("/proc/self/fd"))

    def test_every_flipped_bit_is_found(self, store: Store, put_manifest: PutManifest) -> None:
        """In the blob, the manifest or the record: loading refuses or, for who and when, is unaffected."""
        manifest = put_manifest(store, b"onnx bytes")
        _add(store, manifest)
        record = store.record("m", 1)
        for key in (blob_key(manifest.model.digest), blob_key(record.manifest), "models/m/versions/00000001.json"):
            path = store.medium.root / key
            path.chmod(0o644)
            content = path.read_bytes()
            for position in range(len(content)):
                path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
                assert _outcome(store, b"onnx bytes") in ({"damaged", "loaded", "unsupported"} if "versions" in key else {"damaged"})
            path.write_bytes(content)


def test_a_read_only_registry_is_read(store: Store, put_manifest: PutManifest, hooked: Callable[..., Any]) -> None:
    """Listing, records, history and loading change no file."""
    _add(store, put_manifest(store, b"onnx bytes"))

    def refuse(name: str, arguments: tuple[Any, ...]) -> None:
        raise AssertionError(f"{name} was called")

    reader = Store.open(store.medium.root, calls=hooked(refuse))
    assert [1] == reader.versions("m")
    assert 1 == len(list(reader.history("m")))
    reader.load_verified("m", 1).close()


def test_imports_are_light() -> None:
    """What serving imports brings neither onnx nor onnxruntime with it, and publishing brings onnx only when it is called."""
    rooms = "registry.store, registry.discovery, registry.verify, registry.publish"
    code = f"import sys, {rooms}; print(sorted({{'onnx', 'onnxruntime', 'numpy'}} & set(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]).stdout
    assert "[]\n" == printed
