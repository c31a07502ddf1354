"""A Triton-style repository, and how a directory is told from a registry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto

from registry.discovery import RegistrySource, open_source
from registry.limits import RegistryLimits
from registry.manifest import Manifest
from registry.names import digest_of
from registry.repository import Repository
from registry.store import Store
from registry.verified import VerifiedModel

Gemm = Callable[..., ModelProto]


def _put(root: Path, key: str, content: bytes = b"onnx bytes") -> Path:
    path = root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _names(root: Path) -> list[tuple[str, int]]:
    return [(ref.model, ref.version) for ref in open_source(root).listing().versions]


def _run(model: VerifiedModel) -> list[list[float]]:
    options = onnxruntime.SessionOptions()
    maps = model.external_maps()
    if maps:
        options.add_external_initializers_from_files_in_memory(list(maps), list(maps.values()), [len(data) for data in maps.values()])
    session = onnxruntime.InferenceSession(model.path, options, providers=["CPUExecutionProvider"])
    answer: list[list[float]] = session.run(None, {"x": np.ones((1, 4), np.float32)})[0].tolist()
    return answer


class TestListing:
    """Triton's rules for what a version is."""

    def test_versions(self, tmp_path: Path) -> None:
        """Numeric directories, sorted by number; models sorted by name."""
        for key in ("b/2", "b/10", "b/1", "a/7", "a/9223372036854775807"):
            _put(tmp_path, f"{key}/model.onnx")
        assert [("a", 7), ("a", 9223372036854775807), ("b", 1), ("b", 2), ("b", 10)] == _names(tmp_path)

    @pytest.mark.parametrize("name", ["0", "01", "007", "1.0", "-1", "+1", "1a", "one", " 1", "\u0661", "9223372036854775808", "1" * 40])
    def test_directories_that_are_no_versions(self, tmp_path: Path, name: str) -> None:
        """A leading zero, a sign, other digits, words, and numbers past int64."""
        _put(tmp_path, "m/3/model.onnx")
        _put(tmp_path, f"m/{name}/model.onnx")
        assert [("m", 3)] == _names(tmp_path)

    def test_files_are_neither_models_nor_versions(self, tmp_path: Path) -> None:
        """Also where they have the right name."""
        _put(tmp_path, "m/3/model.onnx")
        _put(tmp_path, "m/4")
        _put(tmp_path, "README")
        assert [("m", 3)] == _names(tmp_path)

    def test_hidden_and_empty_directories(self, tmp_path: Path) -> None:
        """What version control and mounted volumes leave is passed over silently, an empty repository is one."""
        assert [] == _names(tmp_path)
        _put(tmp_path, ".git/1/model.onnx")
        (tmp_path / "lost+found").mkdir()
        (tmp_path / "no versions").mkdir()
        assert ((), ()) == (open_source(tmp_path).listing().versions, open_source(tmp_path).listing().problems)

    def test_a_name_that_cannot_be_a_model(self, tmp_path: Path) -> None:
        """It has versions, so its owner should hear why it is not served."""
        _put(tmp_path, "my model/1/model.onnx")
        (problem,) = open_source(tmp_path).listing().problems
        assert problem.startswith("'my model' is passed over: a model name must match")

    def test_links_are_followed(self, tmp_path: Path) -> None:
        """As mounted configurations and download caches use them."""
        _put(tmp_path, "elsewhere/3/model.onnx")
        (tmp_path / "repository" / "m").mkdir(parents=True)
        (tmp_path / "repository" / "m" / "1").symlink_to(tmp_path / "elsewhere" / "3")
        (ref,) = open_source(tmp_path / "repository").listing().versions
        with ref.open() as model:
            assert digest_of(b"onnx bytes") == model.digest


class TestOpen:
    """Copies in sealed memory, with the digest of the copy."""

    def test_open(self, tmp_path: Path) -> None:
        """Nothing to compare with: the reference has no digest, the opened model has."""
        _put(tmp_path, "m/3/model.onnx")
        _put(tmp_path, "m/3/notes.txt")
        (ref,) = open_source(tmp_path).listing().versions
        assert ref.digest is None
        with ref.open() as model:
            assert ("m", 3, digest_of(b"onnx bytes"), {}) == (model.model, model.version, model.digest, model.external_data)
            assert b"onnx bytes" == Path(model.path).read_bytes()

    @pytest.mark.parametrize("nested", [False, True], ids=["file", "directory"])
    def test_external_data(self, tmp_path: Path, gemm: Gemm, nested: bool) -> None:
        """Files beside the model reach ONNX Runtime; `model.onnx` may be the directory of them all."""
        import onnx

        directory = tmp_path / "m" / "1" / "model.onnx" if nested else tmp_path / "m" / "1"
        directory.mkdir(parents=True)
        onnx.save(gemm(2.0), directory / "model.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
        (directory / "empty").touch()
        with open_source(tmp_path).listing().versions[0].open() as model:
            assert ["w.bin"] == list(model.external_data)
            assert [[10.0, 10.0, 10.0]] == _run(model)

    def test_external_data_outside(self, tmp_path: Path, gemm: Gemm) -> None:
        """A location that leaves the directory is not opened by the session either."""
        import onnx

        (tmp_path / "m" / "1").mkdir(parents=True)
        onnx.save(gemm(2.0), tmp_path / "m" / "1" / "model.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
        model = onnx.load(tmp_path / "m" / "1" / "model.onnx", load_external_data=False)
        (tmp_path / "m" / "1" / "w.bin").rename(tmp_path / "w.bin")
        for tensor in model.graph.initializer:
            tensor.external_data[0].value = str(tmp_path / "w.bin")
        (tmp_path / "m" / "1" / "model.onnx").write_bytes(model.SerializeToString())
        with open_source(tmp_path).listing().versions[0].open() as opened, pytest.raises(Exception, match=r"[Ee]xternal data"):
            _run(opened)

    def test_nothing_to_open(self, tmp_path: Path, kind_of: Callable[..., str]) -> None:
        """A version without an ONNX file is listed, and opening it says what is missing."""
        _put(tmp_path, "m/3/model.plan")
        (tmp_path / "m/4/model.onnx").mkdir(parents=True)
        first, second = open_source(tmp_path).listing().versions
        assert "not_found: version 3 of model 'm' has no file m/3/model.onnx" == kind_of(first.open)
        assert "not_found: version 4 of model 'm' has no file m/4/model.onnx/model.onnx" == kind_of(second.open)

    def test_a_version_that_went_away(self, tmp_path: Path, kind_of: Callable[..., str]) -> None:
        """Between listing and opening anything may happen."""
        path = _put(tmp_path, "m/3/model.onnx")
        (ref,) = open_source(tmp_path).listing().versions
        path.unlink()
        assert kind_of(ref.open).startswith("not_found: ")

    def test_too_many_files(self, tmp_path: Path, kind_of: Callable[..., str]) -> None:
        """`max_files` bounds what is copied into memory beside a model that wants external data."""
        _put(tmp_path, "m/3/model.onnx", b"\x0a\x08location")
        for number in range(3):
            _put(tmp_path, f"m/3/{number}.bin")
        (ref,) = Repository(tmp_path, limits=RegistryLimits(max_files=3)).listing().versions
        assert "unsupported: a version has more than 3 files" == kind_of(ref.open)


class TestConfigText:
    """`config.pbtxt` as it is, which the importer and the reader take."""

    def test_text(self, tmp_path: Path, kind_of: Callable[..., str]) -> None:
        """As it is, or None."""
        _put(tmp_path, "m/3/model.onnx")
        source = Repository(tmp_path)
        assert source.config_text("m") is None
        _put(tmp_path, "m/config.pbtxt", 'name: "m" # ü\n'.encode())
        assert 'name: "m" # ü\n' == source.config_text("m")
        assert kind_of(lambda: source.config_text("../m")).startswith("invalid_name: ")

    @pytest.mark.parametrize(
        ("content", "text"), [(b"\xff", "m/config.pbtxt is not UTF-8"), (b"#" * (1 << 20) + b"#", "m/config.pbtxt is larger than")]
    )
    def test_no_text(self, tmp_path: Path, content: bytes, text: str, kind_of: Callable[..., str]) -> None:
        """Other bytes, or too many."""
        _put(tmp_path, "m/config.pbtxt", content)
        assert kind_of(lambda: Repository(tmp_path).config_text("m")).startswith("damaged: " + text)


class TestDiscovery:
    """One question, two kinds of directories."""

    def test_a_registry(self, store: Store, put_manifest: Callable[[Store, bytes], Manifest]) -> None:
        """Versions with the digests of their manifests, in numerical order."""
        for number in range(3):
            store.add_version("m", put_manifest(store, b"%d" % number), publish_id=f"p{number}", publisher="ann", now_s=1e9)
        source = open_source(store.medium.root)
        assert isinstance(source, RegistrySource)
        listing = source.listing()
        assert [("m", 1), ("m", 2), ("m", 3)] == [(ref.model, ref.version) for ref in listing.versions]
        assert store.record("m", 2).manifest == listing.versions[1].digest
        with listing.versions[1].open() as model:
            assert digest_of(b"1") == model.digest

    def test_aliases_are_listed_beside_versions(self, store: Store, put_manifest: Callable[[Store, bytes], Manifest]) -> None:
        """A registry's model without one has an empty mapping; a source that knows no aliases has none."""
        for name in ("m", "n"):
            store.add_version(name, put_manifest(store, b"x"), publish_id="p", publisher="ann", now_s=1e9)
        store.aliases("m").move("champion", to=1, expected_from=None, actor="ann", reason="", now_s=1e9)
        listing = open_source(store.medium.root).listing()
        assert ({"champion": 1}, {}) == (listing.aliases_of("m"), listing.aliases_of("n"))
        (store.medium.root.parent / "triton").mkdir()
        assert open_source(store.medium.root.parent / "triton").listing().aliases_of("m") is None

    def test_keys_are_for_registries(self, tmp_path: Path, kind_of: Callable[..., str]) -> None:
        """There is nothing that they could check in a folder of models."""
        text = "unsupported: a Triton-style repository has no signatures, so there is nothing to check with keys"
        assert text == kind_of(lambda: open_source(tmp_path, signers=lambda medium, manifest, content: ()))

    def test_damage_does_not_hide_other_versions(
        self, store: Store, put_manifest: Callable[[Store, bytes], Manifest], kind_of: Callable[..., str]
    ) -> None:
        """A broken record is listed with the digest that the log has, a strange directory is a problem, the rest is as before."""
        for number in range(2):
            store.add_version("m", put_manifest(store, b"%d" % number), publish_id=f"p{number}", publisher="ann", now_s=1e9)
        digest = store.record("m", 1).manifest
        record = store.medium.root / "models/m/versions/00000001.json"
        record.chmod(0o644)
        record.write_bytes(record.read_bytes()[:30])
        (store.medium.root / "models" / "not a name").mkdir()
        listing = open_source(store.medium.root).listing()
        assert (digest, store.record("m", 2).manifest) == tuple(ref.digest for ref in listing.versions)
        assert ("models/not a name is passed over: it is no model name",) == listing.problems
        assert kind_of(listing.versions[0].open).startswith("damaged: models/m/versions/00000001.json is not a version record")
        listing.versions[1].open().close()

    def test_no_directory(self, tmp_path: Path, kind_of: Callable[..., str]) -> None:
        """A path that does not exist, or is a file, is not an empty repository."""
        (tmp_path / "file").touch()
        for name in ("absent", "file"):
            assert "not_found: there is no such directory" == kind_of(lambda path=tmp_path / name: open_source(path))  # type: ignore[misc]

    def test_a_registry_without_its_marker(self, store: Store, kind_of: Callable[..., str]) -> None:
        """It is not served as a repository whose models are called blobs and models."""
        (store.medium.root / "tidegate-registry.json").unlink()
        text = "damaged: the directory holds blobs of a registry, but tidegate-registry.json is missing"
        assert text == kind_of(lambda: open_source(store.medium.root))

    def test_another_layout(self, store: Store, kind_of: Callable[..., str]) -> None:
        """A registry of a later release is refused, not guessed at."""
        marker = store.medium.root / "tidegate-registry.json"
        content = marker.read_bytes()
        marker.unlink()
        marker.write_bytes(content.replace(b'"layout":2', b'"layout":3'))
        text = "unsupported: the registry has layout 3; this release reads layouts 1 and 2"
        assert text == kind_of(lambda: open_source(store.medium.root))
