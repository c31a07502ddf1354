"""Where documents wait: files of a directory, whose faults are said and stop nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.control.drift_shelf import Shelf
from registry.errors import Kind, RegistryError


def test_what_was_saved_last_comes_back(tmp_path: Path) -> None:
    """After a restart too."""
    shelf = Shelf(tmp_path)
    assert shelf.load("m") is None
    assert all(shelf.save("m", content) for content in (b"one", b"two"))
    assert b"two" == shelf.load("m") == Shelf(tmp_path).load("m")


def test_damage_is_said_and_is_no_reason_to_stop(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is known begins anew."""
    shelf = Shelf(tmp_path)
    shelf.save("m", b"content")
    (path,) = (tmp_path / "drift").iterdir()
    path.write_bytes(b"?")
    assert shelf.load("m") is None
    assert "drift of m begins anew" in caplog.text


def test_a_disk_that_is_full_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever saves knows that it is not kept."""

    def refuse(*_: object) -> None:
        raise RegistryError(Kind.STORAGE, "no space")

    monkeypatch.setattr("registry.drift_files.DriftFiles.save", refuse)
    assert not Shelf(tmp_path).save("m", b"x")
    assert "no space" in caplog.text
