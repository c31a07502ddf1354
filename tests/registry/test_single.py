"""The directory of one model: which versions it has, under which name, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import ModelProto

from registry.discovery import open_source
from registry.names import digest_of
from registry.store import Store

Gemm = Callable[..., ModelProto]


def _put(root: Path, key: str, content: bytes = b"onnx bytes") -> None:
    path = root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _listed(root: Path) -> list[tuple[str, int]]:
    return [(ref.model, ref.version) for ref in open_source(root, model="iris").listing().versions]


def test_a_file_is_version_1(tmp_path: Path) -> None:
    """What lies beside it is no version."""
    _put(tmp_path, "model.onnx")
    _put(tmp_path, "README.md")
    source = open_source(tmp_path, model="iris")
    (ref,) = source.listing().versions
    assert ("iris", 1, ()) == (ref.model, ref.version, source.listing().problems)
    with ref.open() as model:
        assert digest_of(b"onnx bytes") == model.digest


def test_numbered_directories_are_versions(tmp_path: Path) -> None:
    """By the rules of a repository."""
    for key in ("2/model.onnx", "10/model.onnx", "007/model.onnx", "notes/model.onnx"):
        _put(tmp_path, key)
    assert [("iris", 2), ("iris", 10)] == _listed(tmp_path)
    with open_source(tmp_path, model="iris").ref("iris", 10).open() as model:
        assert 10 == model.version


def test_the_file_wins_over_directories_and_says_so(tmp_path: Path) -> None:
    """Somebody meant something else with one of them."""
    _put(tmp_path, "model.onnx")
    _put(tmp_path, "3/model.onnx")
    listing = open_source(tmp_path, model="iris").listing()
    assert [1] == [ref.version for ref in listing.versions]
    assert ("1 numbered directories are passed over: model.onnx lies beside them",) == listing.problems


@pytest.mark.parametrize("nested", [False, True], ids=["file", "directory"])
def test_external_data_lies_beside_the_file(tmp_path: Path, gemm: Gemm, nested: bool) -> None:
    """`model.onnx` may be the directory of them all, as in a repository."""
    home = tmp_path / "model.onnx" if nested else tmp_path
    home.mkdir(exist_ok=True)
    onnx.save(gemm(2.0), home / "model.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    (ref,) = open_source(tmp_path, model="iris").listing().versions
    with ref.open() as model:
        assert ["w.bin"] == list(model.external_data)


def test_files_that_change_are_another_content(tmp_path: Path) -> None:
    """So that a reload loads them."""
    _put(tmp_path, "model.onnx")
    source = open_source(tmp_path, model="iris")
    before = source.ref("iris", 1).content
    _put(tmp_path, "model.onnx", b"other bytes, and more")
    assert before != source.ref("iris", 1).content


def test_its_configuration_lies_at_the_root(tmp_path: Path) -> None:
    """Where Triton has it, beside the versions."""
    _put(tmp_path, "model.onnx")
    source = open_source(tmp_path, model="iris")
    assert source.config_text("iris") is None
    _put(tmp_path, "config.pbtxt", b"max_batch_size: 8\n")
    assert "max_batch_size: 8\n" == source.config_text("iris")


def test_what_is_no_model_s_directory_is_refused(tmp_path: Path, kind_of: Callable[..., str]) -> None:
    """A folder of models, an empty one, a bad name, a registry, keys that could check nothing."""
    text = "not_found: the directory of model 'iris' has neither model.onnx nor a numbered version"
    assert text == kind_of(lambda: open_source(tmp_path, model="iris").listing())
    _put(tmp_path, "iris/1/model.onnx")
    assert text == kind_of(lambda: open_source(tmp_path, model="iris").listing())
    assert kind_of(lambda: open_source(tmp_path, model="a/b")).startswith("invalid_name: ")
    assert kind_of(lambda: open_source(tmp_path, model="iris", signers=lambda medium, manifest, content: ())).startswith("unsupported: ")
    Store.create(tmp_path / "registry")
    text = "unsupported: the directory is a registry, whose models have their names already"
    assert text == kind_of(lambda: open_source(tmp_path / "registry", model="iris"))


def test_a_directory_that_is_gone_can_come_back(tmp_path: Path, kind_of: Callable[..., str]) -> None:
    """It is asked for again, as any storage that cannot be reached."""
    home = tmp_path / "models"
    _put(home, "model.onnx")
    source = open_source(home, model="iris")
    home.rename(tmp_path / "away")
    assert kind_of(source.listing).startswith("storage: cannot list the directory of model 'iris': ")
