"""Which files of an inference log hold answers of a model: those that its commits name, without what was merged into others."""

from __future__ import annotations

from pathlib import Path

import msgspec

from registry.directory import DirectoryMedium
from registry.label_chain import Chain, Commit

COMMITS = "_commits"


class AnswerFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of answers; times are those of arrival, in microseconds since the Unix epoch."""

    path: str
    model: str
    rows: int
    min_ts: int
    max_ts: int


class AnswerCommit(Commit, frozen=True, kw_only=True):
    """What is read of a commit of answers."""

    files: tuple[AnswerFile, ...] = ()
    removed: tuple[str, ...] = ()


def answer_files(root: Path, model: str, *, since_us: int, until_us: int) -> list[Path]:
    """Those that may hold requests of since ≤ t < until. Raises `Kind.DAMAGED`, `Kind.STORAGE`."""
    named: dict[str, AnswerFile] = {}
    for commit in Chain(DirectoryMedium(root), COMMITS, AnswerCommit, what="a commit of answers").news():
        for path in commit.removed:
            named.pop(path, None)
        named |= {file.path: file for file in commit.files}
    return [root / file.path for file in named.values() if file.model == model and file.max_ts >= since_us and file.min_ts < until_us]


def new_files(root: Path, *, after: int) -> tuple[list[AnswerFile], int]:
    """Files of commits after `after` that count still, and the last commit. What was merged since is read from the merged file.

    Raises `Kind.DAMAGED`, `Kind.STORAGE`.
    """
    named: dict[str, AnswerFile] = {}
    chain = Chain(DirectoryMedium(root), COMMITS, AnswerCommit, what="a commit of answers")
    chain.skip_to(after)
    for commit in chain.news():
        if commit.removed and not set(commit.removed) <= set(named):
            continue  # of files that were read before
        for path in commit.removed:
            del named[path]
        named |= {file.path: file for file in commit.files}
    return list(named.values()), chain.seq
