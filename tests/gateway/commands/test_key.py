"""`tidegate key new`: a key that is shown once, and a file that a server can use."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.commands.output import Exit
from gateway.identity import key_file
from gateway.identity.keys import FORM, KeyTable
from tests.gateway.commands.console import done, failed, parsed


def test_a_key_and_the_line_for_the_file_are_printed(tmp_path: Path) -> None:
    """The line is the file; the key is found by it."""
    secret, empty, *rest = done("key", "new", "app", "--scope", "infer:iris", "-s", "meta", "--expires", "2099-01-31").splitlines()
    assert (True, "") == (FORM.fullmatch(secret.encode()) is not None, empty)
    path = tmp_path / "keys.yaml"
    path.write_text("\n".join(rest))
    path.chmod(0o600)
    found = KeyTable(key_file.read(path)).find(secret.encode())
    assert found is not None
    assert ("app", ("infer:iris", "meta"), key_file.moment("2099-01-31")) == (found.name, found.scopes, found.expires_s)


def test_a_key_is_added_to_a_file_without_being_in_it(tmp_path: Path) -> None:
    """A new file is its owner's alone; what was in it stays, with its mode."""
    path = tmp_path / "keys.yaml"
    first = parsed("key", "new", "a", "-s", "meta", "--file", path)
    assert 0o600 == path.stat().st_mode & 0o777
    path.chmod(0o440)
    second = parsed("key", "new", "b", "-s", "infer:*", "--file", path)
    assert 0o440 == path.stat().st_mode & 0o777
    table = KeyTable(key_file.read(path))
    assert ["a", "b"] == [table.find(made["key"].encode()).name for made in (first, second)]  # type: ignore[union-attr]
    assert not any(made["key"] in path.read_text() for made in (first, second))
    assert [path] == list(tmp_path.iterdir())
    assert f"added to {path}" in done("key", "new", "c", "-s", "meta", "-f", path)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["a b", "-s", "meta"], "a name is 1 to 64 letters"), (["a"], "a key without one is good for nothing"),
        (["a", "-s", "root"], "unknown scope"),
        (["a", "-s", "meta", "--expires", "soon"], "expected a date or a time"), (["a", "-s", "infer"], "write infer:MODEL"),
    ],
)  # fmt: skip
def test_what_the_file_could_not_hold_is_refused(arguments: list[str], text: str) -> None:
    """Before a key is made."""
    assert text in failed(Exit.USAGE, "key", "new", *arguments)


def test_a_file_that_cannot_be_added_to_stays_as_it_is(tmp_path: Path) -> None:
    """The same name twice, a file that others can change, one in another form, a folder that is not there."""
    path = tmp_path / "keys.yaml"
    parsed("key", "new", "a", "-s", "meta", "-f", path)
    before = path.read_text()
    assert "there is a key a already" in failed(Exit.USAGE, "key", "new", "a", "-s", "meta", "-f", path)
    path.chmod(0o666)
    assert "other users can read or change it" in failed(Exit.USAGE, "key", "new", "b", "-s", "meta", "-f", path)
    path.chmod(0o600)
    assert before == path.read_text()
    path.write_text("keys: {}\n")
    assert "keys.yaml" in failed(Exit.USAGE, "key", "new", "b", "-s", "meta", "-f", path)
    assert ("keys: {}\n", [path]) == (path.read_text(), list(tmp_path.iterdir()))
    assert "No such file" in failed(Exit.FAILED, "key", "new", "b", "-s", "meta", "-f", tmp_path / "none" / "keys.yaml")
