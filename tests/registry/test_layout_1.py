"""A registry that a release with layout 1 left: opened, upgraded, used. The frozen one lies in layout_1/, with the script that made it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.discovery import open_source
from registry.errors import Kind, RegistryError
from registry.publish import publish
from registry.store import Store
from registry.verify import damages, verify

FROZEN = Path(__file__).with_name("layout_1") / "registry.json"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The frozen registry, as files."""
    for key, text in json.loads(FROZEN.read_text()).items():
        path = tmp_path / "registry" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(text[7:]) if text.startswith("base64:") else text.encode())
    (tmp_path / "registry/tmp").mkdir()
    (tmp_path / "registry/models/other/log").mkdir(exist_ok=True)
    return tmp_path / "registry"


def _opened(root: Path) -> list[tuple[str, int]]:
    refs = open_source(root).listing().versions
    for ref in refs:
        ref.open().close()
    return [(ref.model, ref.version) for ref in refs]


def test_it_is_upgraded_when_it_is_opened(old: Path) -> None:
    """Every version loads as before, the marker says 2 and keeps the identity, nothing else changes; twice is once."""
    identity = json.loads((old / "tidegate-registry.json").read_text())["id"]
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file() and path.name != "tidegate-registry.json"}
    store = Store.open(old)
    assert {"layout": 2, "id": identity}.items() < json.loads((old / "tidegate-registry.json").read_text()).items()
    assert [("other", 1), ("scale", 1), ("scale", 2)] == _opened(old)
    assert before == {path: path.read_bytes() for path in old.rglob("*") if path.is_file() and path.name != "tidegate-registry.json"}
    assert [] == damages(verify(store))
    assert store.id == Store.open(old).id


def test_what_is_new_follows_what_is_old(old: Path, tmp_path: Path) -> None:
    """Aliases and versions are appended to the old logs, the chain holds over the border, and old publish ids are known."""
    store = Store.open(old)
    act = {"actor": "bea", "reason": "", "now_s": 1.8e9}
    store.aliases("scale").move("champion", to=2, expected_from=None, **act)
    store.aliases("other").move("champion", to=1, expected_from=None, **act)
    (tmp_path / "any.onnx").write_bytes(store.read_blob(store.manifest("scale", 2).model.digest))
    again = publish(store, tmp_path / "any.onnx", name="scale", publisher="ann", now_s=1.8e9, publish_id="second")
    new = publish(store, tmp_path / "any.onnx", name="scale", publisher="ann", now_s=1.8e9)
    assert (2, False, 3, True) == (again.version, again.new, new.version, new.new)
    assert [1, 1, 2, 2] == [entry.format for entry in store.history("scale")]
    assert [] == verify(store)


def test_the_old_cache_bears_witness(old: Path) -> None:
    """A log that lost its end before the upgrade is not taken for whole."""
    (old / "models/scale/log/00000002.json").unlink()
    with pytest.raises(RegistryError, match=r"models/scale/log/00000002.json is missing: models/scale/head.json has seen it") as caught:
        Store.open(old).versions_of("scale").journal.read()
    assert Kind.DAMAGED == caught.value.kind


def test_where_nothing_can_be_written_it_is_read(old: Path, hooked: Callable[..., Any]) -> None:
    """A read-only mount."""

    def refuse(name: str, arguments: tuple[Any, ...]) -> None:
        raise OSError(30, "Read-only file system")

    store = Store.open(old, calls=hooked(refuse))
    assert {"scale": [1, 2], "other": [1]} == {model: store.versions(model) for model in store.models()}
    assert b'{"layout":1' == (old / "tidegate-registry.json").read_bytes()[:11]
