"""`tidegate delete`, `hold`, `release` and `gc`: the end of versions, and what prevents it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.commands import retire
from gateway.commands.output import Exit
from registry.store import Store
from tests.gateway.commands.conftest import NOW_S, model_blob
from tests.gateway.commands.console import done, failed, parsed


def aged(registry: Path) -> None:
    """Every file was written long ago."""
    for path in registry.rglob("*"):
        os.utime(path, (NOW_S, NOW_S))


def delete_long_ago(registry: Path) -> None:
    Store.open(registry).deletion("ages").delete(2, actor="cas", reason="", now_s=NOW_S)
    aged(registry)


def test_a_version_is_deleted_once(registry: Path) -> None:
    """Unless something needs it; the number stays taken."""
    assert "hold audit placed on ages version 2\n" == done("hold", "ages", 2, "audit", "-r", registry, "--reason", "why")
    assert "is needed by hold 'audit'" in failed(Exit.REGISTRY, "delete", "ages", 2, "-r", registry)
    assert "is needed by alias 'champion'" in failed(Exit.REGISTRY, "delete", "ages", "champion", "-r", registry)
    assert "hold audit of ages released\n" == done("release", "ages", "audit", "-r", registry)
    entry = parsed("delete", "ages", 2, "-r", registry, "--operation-id", "d", "--actor", "cas")
    assert ("version.deleted", "cas", True) == (entry["op"], entry["actor"], entry["new"])
    assert done("delete", "ages", 2, "-r", registry, "--operation-id", "d", "--actor", "cas").endswith("grace period, as before\n")
    assert [1] == Store.open(registry).versions("ages")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["delete", "ages", "2"], "not_found: model 'ages' has no version 2"),
        (["delete", "nope", "1"], "not_found: model 'nope' has no version 1"),
        (["delete", "nope", "champion"], "not_found: the registry has no model 'nope'"),
        (["hold", "ages", "2", "h"], "not_found: model 'ages' has no version 2"),
        (["hold", "ages", "1", ""], "invalid_name: hold must be 1 to 256"),
        (["hold", "ages", "1", "there"], "conflict: hold 'there' of model 'ages' exists, on version 1"),
        (["release", "ages", "h"], "not_found: model 'ages' has no hold 'h'"),
    ],
)
def test_refusals(registry: Path, arguments: list[str], text: str) -> None:
    """Exit code 5."""
    done("hold", "ages", 1, "there", "-r", registry)
    done("delete", "ages", 2, "-r", registry)
    assert text in failed(Exit.REGISTRY, *arguments, "-r", registry)


def test_gc_changes_nothing_unless_it_is_told_to(registry: Path) -> None:
    """A dry run says what would go, with its size in all."""
    delete_long_ago(registry)
    blob = model_blob(registry, 2)
    (registry / "tmp" / "left").write_bytes(b"")
    aged(registry)
    text = done("gc", "-r", registry)
    assert f"to the trash  {blob.name[:12]}  126 B\n" in text
    assert "remove        tmp/left\n" in text
    assert "to the trash: 2 blobs, " in text
    assert text.endswith("nothing was changed; --collect does it\n")
    assert blob.exists()
    found = parsed("gc", "-r", registry, "--collect")
    assert (False, 2, 0, ["left"]) == (found["dry_run"], len(found["trashed"]), found["deleted_bytes"], found["leftovers"])
    assert found["trashed_bytes"] == sum(item["size_bytes"] for item in found["trashed"]) > 126
    assert not blob.exists()
    assert "deleted: 0 blobs, 0 B\nin the trash: 0 blobs, 0 B\n" == done("gc", "-r", registry, "--collect")


def test_gc_shows_the_first_blobs_of_many(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the sum of all."""
    monkeypatch.setattr(retire, "SHOWN_BLOBS", 1)
    delete_long_ago(registry)
    assert "… 1 more; --json lists all\ndelete: 0 blobs, 0 B\nto the trash: 2 blobs, " in done("gc", "-r", registry)


def test_gc_leaves_a_registry_that_cannot_be_read(registry: Path) -> None:
    """And needs an hour of grace."""
    assert "--grace" in failed(Exit.USAGE, "gc", "-r", registry, "--grace", "0.01")
    path = registry / "models" / "ages" / "versions" / "00000001.json"
    path.chmod(0o644)
    path.write_text("{")
    assert "damaged: models/ages/versions/00000001.json" in failed(Exit.REGISTRY, "gc", "-r", registry, "--collect")
