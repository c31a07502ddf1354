"""`tidegate models` and `inspect`: what is there, for people and for scripts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from gateway.commands import models
from gateway.commands.output import Exit
from registry import manifest as manifests
from registry.store import Store
from tests.gateway.commands.conftest import NOW_S
from tests.gateway.commands.console import done, failed, parsed

HOSTILE = "\x1b[2J\x9b31m\u202e"


@pytest.fixture
def hostile(registry: Path) -> Path:
    """A registry in which another program has published a card, a publisher's name and ports that would control a terminal."""
    store = Store.open(registry)
    manifest = store.manifest("ages", 1)
    blobs = {layer.title: layer for layer in manifest.layers}
    contract = store.read_blob(manifest.config.digest).replace(b'"x"', json.dumps(HOSTILE).encode())
    schema = store.read_blob(blobs["schema.json"].digest).replace(b'"the age"', json.dumps(HOSTILE).encode())
    contents = {"card.md": f"# A{HOSTILE}\nB".encode(), "schema.json": schema}
    layers = [
        manifests.file_layer(title=title, media_type=blobs[title].media_type, digest=digest, size=size)
        for title, (digest, size) in ((title, store.put_blob(content)) for title, content in contents.items())
    ]
    digest, size = store.put_blob(contract)
    config = msgspec.structs.replace(manifest.config, digest=digest, size=size)
    changed = manifests.manifest_of(config, [layer for layer in manifest.layers if layer.title not in contents] + layers)
    store.add_version("ages", changed, publish_id="h", publisher="mallory", now_s=NOW_S)
    return registry


# models


def test_models_lists_versions_with_all_that_a_registry_knows(registry: Path) -> None:
    """Aliases, inputs, outputs, digest and day."""
    digest = Store.open(registry).record("ages", 1).manifest
    lines = [
        "model  version  aliases   inputs   outputs  digest        created",
        f"ages         1  champion  x float  y float  {digest[7:19]}  2023-11-14",
    ]
    assert lines == done("models", "-r", registry).splitlines()[:2]
    row = parsed("models", "--registry", registry)["models"][0]
    assert (1, digest, ["champion"], "2023-11-14T22:13:20+00:00") == (row["version"], row["digest"], row["aliases"], row["created"])
    assert [{"name": "x", "type": "tensor(float)", "shape": ["batch", 2]}] == row["inputs"]


def test_a_narrow_terminal_keeps_numbers_and_digests_whole(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other columns are broken."""
    monkeypatch.setenv("COLUMNS", "60")
    text = done("models", "-r", registry)
    assert max(map(len, text.splitlines())) <= 60
    assert Store.open(registry).record("ages", 2).manifest[7:19] in text


def test_many_versions_are_one_line_per_model(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No contract is read for it; `--all` and `--json` give every version."""
    monkeypatch.setattr(models, "LISTED_VERSIONS", 1)
    for path in (registry / "blobs").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            path.write_bytes(b"")
    text = done("models", "-r", registry)
    assert ["ages          2       2  2023-11-14  champion 1", "2 versions of 1 models; --all lists each"] == text.splitlines()[1:]
    assert "problem: ages version 1: blobs/sha256/" in done("models", "-r", registry, "--all")
    assert ["problem" in row for row in parsed("models", "-r", registry)["models"]] == [True, True]


def test_a_triton_repository_is_listed(tmp_path: Path, onnx_file: Callable[..., Path]) -> None:
    """With what was passed over."""
    onnx_file(1, tmp_path / "repository" / "m" / "3" / "model.onnx")
    (tmp_path / "repository" / "bad name" / "1").mkdir(parents=True)
    text = done("models", "--repository", tmp_path / "repository")
    assert "m            3" in text
    assert "problem: 'bad name' is passed over" in text
    assert "no models in" in done("models", "-r", tmp_path / "repository" / "m")
    assert [{"model": "m", "version": 3, "digest": None, "created": None, "aliases": [], "inputs": None, "outputs": None}] == parsed(
        "models", "-r", tmp_path / "repository"
    )["models"]
    assert "is a directory, which has no options" in failed(Exit.USAGE, "models", "-r", tmp_path / "repository", "--option", "a=b")


# inspect


def test_inspect_shows_a_model(registry: Path) -> None:
    """Its versions with what points at them, and which are gone."""
    store = Store.open(registry)
    store.deletion("ages").hold("audit", 1, actor="cas", reason="", now_s=NOW_S)
    store.deletion("ages").delete(2, actor="cas", reason="", now_s=NOW_S)
    store.lease("ages", 1, holder="gateway-1", now_s=NOW_S, ttl_s=60)
    text = done("inspect", "ages", "-r", registry)
    assert "      1  champion, hold audit  " in text
    assert text.endswith("deleted: 2\nlease of version 1 by gateway-1, until 2023-11-14 22:14:20Z\n")
    found = parsed("inspect", "ages", "-r", registry)
    assert ([1], [2], {"champion": 1}, {"audit": 1}, "gateway-1", 5) == (
        [row["version"] for row in found["versions"]], found["deleted"], found["aliases"], found["holds"], found["leases"][0]["holder"],
        found["log_entries"],
    )  # fmt: skip


def test_inspect_shows_a_version(registry: Path) -> None:
    """By its number or an alias, with every part of it and everybody's word about it."""
    store = Store.open(registry)
    store.aliases("ages").reject("challenger", 1, actor="dan", reason="", now_s=NOW_S)
    store.deletion("ages").hold("audit", 1, actor="cas", reason="", now_s=NOW_S)
    text = done("inspect", "ages", "champion", "-r", registry)
    assert "ages version 1\n  manifest   sha256:" in text
    for line in (
        "  published  2023-11-14 22:13:20Z by bea, publish id p1",
        "  aliases    champion",
        "  holds      audit",
        "  format     ONNX IR 8, operators ai.onnx 17, made by tests",
        "model.onnx     126 B  ",
        "x     tensor(float)  [batch, 2]  never missing; from 0 to 130; years; the age",
        "y     tensor(float)  [batch, 3]  from 0 to ∞",
        "golden requests: 1, equal within 1e-05 + 0.0001 of the value",
        "  metrics: all auc 0.678",
        "  max_batch_size: 64",
        "reference profile: 10 rows (training), 2 numeric and 0 categorical features, ",
        "  # Ages",
        "dan rejects it as challenger",
    ):
        assert f"\n{line}" in text
    found = parsed("inspect", "ages", 1, "-r", registry)
    assert (["champion"], ["audit"], "# Ages\n\nA model.\n") == (found["aliases"], found["holds"], found["card"])
    assert [{"alias": "challenger", "version": 1, "actor": "dan", "approved": False}] == found["opinions"]
    assert {"contract", "model.onnx", "card.md", "golden.json", "profile.json", "schema.json", "serving.json", "training.json"} == {
        file["name"] for file in found["files"]
    }


def test_a_version_without_parts_shows_its_graph(registry: Path) -> None:
    """What the graph says, and nothing else."""
    text = done("inspect", "ages", 2, "-r", registry)
    assert text.endswith("name  type           shape       what it means\ny     tensor(float)  [batch, 3]\n")
    assert "tensor(float)" == parsed("inspect", "ages", 2, "-r", registry)["outputs"][0]["type"]


def test_inspect_says_whose_signatures_were_verified(registry: Path, keys: dict[str, Path]) -> None:
    """Without keys only who claims to have signed."""
    key = parsed("sign", "ages", 1, "-r", registry, "--key", keys["private"])["key_id"]
    assert f"  signed     not checked without --key: by {key}\n" in done("inspect", "ages", 1, "-r", registry)
    text = done("inspect", "ages", 1, "-r", registry, "--key", keys["stranger"], "--key", keys["public"])
    assert f"  signed     by key {key}\n" in text
    assert "  NOT signed by key sha256:" in text
    found = parsed("inspect", "ages", 1, "-r", registry, "--key", keys["public"])["signatures"]
    assert {"claimed": [key], "verified": [key], "checked_with": [key]} == found


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nope"], "not_found: the registry has no model 'nope'"),
        (["../x"], "invalid_name: model name '../x'"),
        (["ages", "9"], "not_found: model 'ages' has no version 9"),
        (["ages", "challenger"], "not_found: model 'ages' has no alias 'challenger'"),
        (["ages", "latest"], "invalid_name: 'latest' cannot be an alias"),
    ],
)
def test_inspect_refuses_what_is_not_there(registry: Path, arguments: list[str], text: str) -> None:
    """Exit code 5."""
    assert text in failed(Exit.REGISTRY, "inspect", *arguments, "-r", registry)


def test_a_damaged_part_is_named(registry: Path) -> None:
    """Parts are read whole, so a changed byte in one is seen at once."""
    digest = next(part.digest for part in Store.open(registry).manifest("ages", 1).parts if part.title == "card.md")[7:]
    path = registry / "blobs" / "sha256" / digest[:2] / digest
    path.chmod(0o644)
    path.write_text("# Other")
    assert f"damaged: blobs/sha256/{digest[:2]}/{digest} does not hold" in failed(Exit.REGISTRY, "inspect", "ages", 1, "-r", registry)


def test_what_others_wrote_does_not_control_the_terminal(hostile: Path) -> None:
    """Not in a table, not in a card, not in JSON."""
    for command in (["inspect", "ages", 3], ["models"]):
        for text in (done(*command, "-r", hostile), done(*command, "-r", hostile, "--json")):
            assert not {letter for letter in text if not letter.isprintable() and letter != "\n"}
    assert "  # A\\x1b[2J\\x9b31m\\u202e\n  B\n" in done("inspect", "ages", 3, "-r", hostile)
    found = parsed("inspect", "ages", 3, "-r", hostile)
    assert (f"# A{HOSTILE}\nB", HOSTILE) == (found["card"], found["inputs"][0]["description"])
    assert HOSTILE == parsed("models", "-r", hostile)["models"][2]["inputs"][0]["name"]
    assert "\\x1b[2J" in failed(Exit.REGISTRY, "inspect", "ages", "\x1b[2J", "-r", hostile)
