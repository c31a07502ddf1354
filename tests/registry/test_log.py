"""What a reader of a log is told is new."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.errors import Kind, RegistryError
from registry.log import Log
from tests.retrain.served import commit_answers, request_id

T0 = 1_700_000_000_000_000


def commit(root: Path, *numbers: int, removed: tuple[str, ...] = ()) -> str:
    rows = [{"request_id": request_id(number, T0), "ts": T0 + number} for number in numbers]
    return commit_answers(root, rows, removed=removed).relative_to(root).as_posix()


def news(root: Path, after: int) -> tuple[list[str], int]:
    files, last = Log(root).news(after=after)
    return [file.path for file in files], last


def test_each_row_is_news_once_whatever_is_merged(tmp_path: Path) -> None:
    """What was merged meanwhile is read from the merged file, and what was read before is no news in another file."""
    first, second = commit(tmp_path, 1), commit(tmp_path, 2)
    assert ([first, second], 2) == news(tmp_path, 0)
    merged = commit(tmp_path, 1, 2, removed=(first, second))
    assert ([merged], 3) == news(tmp_path, 0)
    assert ([], 3) == news(tmp_path, 2)
    third, fourth = commit(tmp_path, 3), commit(tmp_path, 4)
    both = commit(tmp_path, 3, 4, removed=(third, fourth))
    assert ([both], 6) == news(tmp_path, 2)
    assert ([], 6) == news(tmp_path, 6)


def test_a_chain_that_does_not_go_on_is_damaged(tmp_path: Path) -> None:
    """Where the last commit that was read is gone, or is another one."""
    commit(tmp_path, 1)
    commit(tmp_path, 2)
    commit(tmp_path, 3)
    chain = tmp_path / "_commits"
    (chain / "00000002.json").write_bytes((chain / "00000001.json").read_bytes())
    for after in (1, 2, 7):
        with pytest.raises(RegistryError) as found:
            news(tmp_path, after)
        assert Kind.DAMAGED is found.value.kind
