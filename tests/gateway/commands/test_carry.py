"""`tidegate verify`, `export`, `pull`, `backup` and `sign`: whole, elsewhere, and vouched for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.commands.output import Exit
from registry import signatures
from registry.signatures import PrivateKey
from registry.store import Store
from tests.gateway.commands.conftest import model_blob
from tests.gateway.commands.console import done, failed, parsed, run

# verify


def test_a_whole_registry_is_said_to_be_whole(registry: Path) -> None:
    """What an interrupted publish leaves is a notice."""
    assert "all is as it was published\n" == done("verify", "-r", registry)
    (registry / "tmp" / "left").write_bytes(b"")
    assert "notice    tmp/left: left by an interrupted publish\nall is as it was published\n" == done("verify", "-r", registry)
    assert {"whole": True, "findings": [{"severity": "notice", "key": "tmp/left", "message": "left by an interrupted publish"}]} == parsed(
        "verify", "-r", registry
    )


def test_damage_fails_the_command(registry: Path, damage: Callable[[int], None]) -> None:
    """Each finding once, and every version that it hits."""
    damage(2)
    result = run("verify", "-r", registry)
    assert Exit.FAILED == result.exit_code
    first, second, last = result.stdout.splitlines()
    assert first.endswith(": the content has another digest than its name")
    assert second.startswith("damage    models/ages/versions/00000002.json: blobs/sha256/")
    assert "2 problems" == last
    assert 2 == len(json.loads(run("verify", "-r", registry, "--json").stdout)["findings"])


def test_one_version_is_verified(registry: Path, damage: Callable[[int], None], keys: dict[str, Path]) -> None:
    """With its signatures, where keys are given."""
    damage(2)
    assert "all is as it was published\n" == done("verify", "-r", registry, "--model", "ages", "--version", "champion")
    result = run("verify", "-r", registry, "--model", "ages", "--version", 2)
    assert (Exit.FAILED, "1 problem") == (result.exit_code, result.stdout.splitlines()[-1])
    assert "damage    models/ages/versions/00000002.json: model.onnx of version 2 of model 'ages' is damaged" in result.stdout
    done("sign", "ages", 1, "-r", registry, "--key", keys["private"])
    one = ["verify", "-r", registry, "--model", "ages", "--version", 1]
    assert parsed(*one, "--key", keys["public"])["whole"]
    result = run(*one, "--key", keys["public"], "--key", keys["stranger"])
    assert (Exit.FAILED, "unsigned") == (result.exit_code, result.stdout.split()[0])
    (envelope,) = (registry / "signatures").rglob("*.json")
    envelope.chmod(0o644)
    envelope.write_bytes(b"{}")
    result = run(*one)
    assert (Exit.FAILED, True) == (result.exit_code, "signatures/" in result.stdout)


def test_a_missing_file_of_one_version_is_damage(registry: Path) -> None:
    """Not only a changed one."""
    model_blob(registry, 1).unlink()
    result = run("verify", "-r", registry, "--model", "ages", "--version", 1, "--json")
    assert (Exit.FAILED, "damage") == (result.exit_code, json.loads(result.stdout)["findings"][0]["severity"])


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--model", "ages"], Exit.USAGE, "--model and --version go together"),
        (["--key", "k"], Exit.USAGE, "--key: signatures are checked of one version"),
        (["--model", "ages", "--version", "9"], Exit.REGISTRY, "not_found: model 'ages' has no version 9"),
        (["--model", "nope", "--version", "9"], Exit.REGISTRY, "not_found: the registry has no model 'nope'"),
        (["--model", "ages", "--version", "1", "--key", "none.pem"], Exit.USAGE, "--key: cannot read the key in none.pem: No such file"),
    ],
)
def test_verify_refusals(registry: Path, arguments: list[str], code: Exit, text: str) -> None:
    """Wrong arguments are told from what is not there."""
    assert text in failed(code, "verify", "-r", registry, *arguments)


# export, pull


def test_versions_travel_in_a_bundle(registry: Path, tmp_path: Path, put: Callable[..., int]) -> None:
    """All of a model, or those that are named; each direction may be repeated."""
    put(3.0, name="seas")
    bundle, other = tmp_path / "bundle", tmp_path / "other"
    assert f"ages version 1\n1 version exported; {bundle} holds 1\n" == done("export", "ages@champion", "-r", registry, "--to", bundle)
    done("export", "ages", "seas@1", "ages@1", "-r", registry, "--to", bundle)
    listed = [(entry["model"], entry["version"]) for entry in parsed("export", "ages", "-r", registry, "--to", bundle)["versions"]]
    assert [("ages", 1), ("ages", 2), ("seas", 1)] == listed
    assert "model  there  here\nseas       1     1  new\n1 new, 1 in all\n" == done("pull", bundle, "-r", other, "--model", "seas")
    pulled = parsed("pull", bundle, "-r", other)
    assert [("ages", 1, 1, True), ("ages", 2, 2, True), ("seas", 1, 1, False)] == [
        (row["model"], row["source_version"], row["version"], row["new"]) for row in pulled
    ]
    assert done("pull", bundle, "-r", other).endswith("0 new, 3 in all\n")
    assert "all is as it was published\n" == done("verify", "-r", other)


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("nope", "not_found: the registry has no model 'nope'"),
        ("ages@9", "not_found: model 'ages' has no version 9"),
        ("ages@challenger", "not_found: model 'ages' has no alias 'challenger'"),
        ("ages@", "invalid_name: alias ''"),
    ],
)
def test_export_refusals(registry: Path, tmp_path: Path, argument: str, text: str) -> None:
    """Before anything is written."""
    assert text in failed(Exit.REGISTRY, "export", "ages@1", argument, "-r", registry, "--to", tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_damage_does_not_travel(registry: Path, tmp_path: Path, damage: Callable[[int], None]) -> None:
    """Neither out of a registry nor out of a bundle."""
    done("export", "ages", "-r", registry, "--to", tmp_path / "b")
    damage(2)
    assert "damaged: blobs/sha256/" in failed(Exit.REGISTRY, "export", "ages", "-r", registry, "--to", tmp_path / "b2")
    blob = tmp_path / "b" / model_blob(registry, 1).relative_to(registry)
    blob.chmod(0o644)
    blob.write_bytes(b"x")
    assert "damaged: blobs/sha256/" in failed(Exit.REGISTRY, "pull", tmp_path / "b", "-r", tmp_path / "other")


def test_a_bundle_is_a_place_of_its_own(registry: Path, tmp_path: Path) -> None:
    """Not a registry, and there before a registry is made for it."""
    assert "conflict: the directory is a registry" in failed(Exit.REGISTRY, "export", "ages", "-r", registry, "--to", registry)
    assert f"{tmp_path} is no bundle: there is no tidegate-bundle.json" in failed(Exit.USAGE, "pull", tmp_path, "-r", tmp_path / "other")
    assert not (tmp_path / "other").exists()


# backup


def test_a_backup_is_brought_up_to_date_and_back(registry: Path, tmp_path: Path, put: Callable[..., int]) -> None:
    """With log, aliases and identity."""
    copy = tmp_path / "copy"
    assert f"{copy} holds 1 models, 2 versions, 3 log entries, " in done("backup", "-r", registry, "--to", copy)
    put(3.0)
    assert {"models": 1, "versions": 3, "entries": 4}.items() <= parsed("backup", "-r", registry, "--to", copy).items()
    done("backup", "-r", copy, "--to", tmp_path / "restored")
    assert Store.open(registry).id == Store.open(tmp_path / "restored").id
    assert parsed("log", "ages", "-r", registry) == parsed("log", "ages", "-r", tmp_path / "restored")


def test_a_backup_never_overwrites_something_else(registry: Path, tmp_path: Path) -> None:
    """Another registry, or files of other kinds."""
    Store.create(tmp_path / "other")
    assert "conflict: another registry is there" in failed(Exit.REGISTRY, "backup", "-r", registry, "--to", tmp_path / "other")
    assert "which no registry left" in failed(Exit.REGISTRY, "backup", "-r", registry, "--to", tmp_path)
    assert "storage: cannot" in failed(Exit.REGISTRY, "backup", "-r", registry, "--to", "/proc/none")
    assert "--option: " in failed(Exit.USAGE, "backup", "-r", registry, "--to", tmp_path / "c", "--to-option", "a=b")


# sign


def test_an_envelope_of_another_tool_is_attached(registry: Path, tmp_path: Path, signer: PrivateKey) -> None:
    """If it is over this very manifest."""
    store = Store.open(registry)
    path = tmp_path / "envelope.json"
    path.write_bytes(signatures.sign(store.read_blob(store.record("ages", 2).manifest), signer))
    assert f"tidegate: {path}: the signature is of other content" in failed(Exit.USAGE, "sign", "ages", 1, "-r", registry, "--attach", path)
    assert "ages version 2 signed\n" in done("sign", "ages", 2, "-r", registry, "--attach", path)
    assert {"claimed": [signer.public.key_id]}.items() <= parsed("inspect", "ages", 2, "-r", registry)["signatures"].items()
    path.write_bytes(b"{")
    assert f"tidegate: {path}: this is no signature" in failed(Exit.USAGE, "sign", "ages", 1, "-r", registry, "--attach", path)


def test_a_signature_needs_one_key(registry: Path, keys: dict[str, Path]) -> None:
    """The version does not change."""
    digest = Store.open(registry).record("ages", 1).manifest
    assert "give one of --key and --attach" in failed(Exit.USAGE, "sign", "ages", 1, "-r", registry)
    assert "this is no private key" in failed(Exit.USAGE, "sign", "ages", 1, "-r", registry, "--key", keys["public"])
    assert "not_found: model 'ages' has no version 9" in failed(Exit.REGISTRY, "sign", "ages", 9, "-r", registry, "--key", keys["private"])
    text = done("sign", "ages", "champion", "-r", registry, "--key", keys["encrypted"], "--password-file", keys["password"])
    assert "ages version 1 signed by key sha256:" in text
    assert f"  manifest  {digest}\n  signature signatures/{digest[7:]}/" in text
