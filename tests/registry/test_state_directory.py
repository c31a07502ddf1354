"""A state directory has one holder, who is named to whoever comes second; the lock ends with the process, however it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from registry.errors import Kind, RegistryError
from registry.state_directory import StateDirectory

NOW_S = 1_700_000_000.0
_HOLDER = """
import pathlib, subprocess, sys
from registry.state_directory import StateDirectory
held = StateDirectory.hold(pathlib.Path(sys.argv[1]), now_s=1.7e9)
subprocess.run([sys.executable, "-c", "print(flush=True); input()"])
"""


def refusal(root: Path) -> RegistryError:
    with pytest.raises(RegistryError) as caught:
        StateDirectory.hold(root, now_s=NOW_S)
    return caught.value


def test_a_second_holder_is_told_who_the_first_is(tmp_path: Path) -> None:
    """And may come when that one has left."""
    root = tmp_path / "new" / "state"
    held = StateDirectory.hold(root, now_s=NOW_S)
    error = refusal(root)
    assert Kind.CONFLICT is error.kind
    assert f"is held by process {os.getpid()} on {os.uname().nodename} since 2023-11-14T22:13:20+00:00" in error.message
    held.close()
    StateDirectory.hold(root, now_s=NOW_S).close()


def test_a_holder_that_is_killed_holds_nothing_any_more(tmp_path: Path) -> None:
    """Not through its children either, which inherit descriptors that are passed to them and no others."""
    holder = subprocess.Popen([sys.executable, "-c", _HOLDER, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin
    assert holder.stdout
    assert b"\n" == holder.stdout.readline()
    (tmp_path / "tmp" / "half").write_bytes(b"written by a holder that did not come to the end")
    assert f"process {holder.pid} " in refusal(tmp_path).message
    holder.kill()
    holder.wait()
    StateDirectory.hold(tmp_path, now_s=NOW_S).close()
    assert [] == os.listdir(tmp_path / "tmp")
    holder.communicate(b"\n")  # the child of the holder lived until now


def test_who_lets_go_lets_go_for_copies_of_its_descriptor_too(tmp_path: Path) -> None:
    """A child has them from its start until it begins its program."""
    held = StateDirectory.hold(tmp_path, now_s=NOW_S)
    copy = os.dup(held._lock_fd)
    held.close()
    StateDirectory.hold(tmp_path, now_s=NOW_S).close()
    os.close(copy)


def test_control_characters_of_a_lock_file_are_not_shown(tmp_path: Path) -> None:
    """Somebody else may have written it; an empty one names nobody."""
    held = StateDirectory.hold(tmp_path, now_s=NOW_S)
    (tmp_path / "lock").write_bytes(b"\x1b[2Jme\n\xff")
    assert refusal(tmp_path).message.endswith("is held by [2Jme\ufffd")
    (tmp_path / "lock").write_bytes(b"")
    assert refusal(tmp_path).message.endswith("is held by another process")
    held.close()


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file stands where it should be."""
    (tmp_path / "file").write_bytes(b"")
    assert Kind.STORAGE is refusal(tmp_path / "file" / "state").kind
