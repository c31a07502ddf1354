"""A log's commits and their files, copied to another place: an object store, or a directory. The copy is a log in itself.

A commit is there only after all files that it names, so a reader of the copy never misses one. Files that were removed here meanwhile are
passed over: a later commit takes them back. The copy says how far it is, so nothing is remembered here.
"""

from __future__ import annotations

import os

import msgspec

from registry.errors import damaged, storage_errors
from registry.log_commits import File, LogChain
from registry.log_layout import COMMITS, ROOT, TMP, open_log
from registry.medium import CHUNK_BYTES, Medium


class Uploader:
    """From one medium to another. Not for many threads at once."""

    def __init__(self, source: Medium, target: Medium) -> None:
        self._source, self._target = source, target
        self._from, self._to = LogChain(source), LogChain(target)
        self._at: int | None = None  # the last commit that the target has

    @property
    def at(self) -> int:
        """The last commit that is known to be there."""
        return self._at or 0

    def step(self) -> bool:
        """Copy the next commit. False where there is none. Raises `Kind.STORAGE` where either place fails, `Kind.DAMAGED` where the target
        is the copy of another log, `Kind.UNSUPPORTED` where it has no conditional writes."""
        at = self._begin() if self._at is None else self._at
        content = self._from.content(at + 1)
        if content is None:
            return False
        for file in self._from.decoded(content, at + 1).files:
            self._copy(file)
        if not self._target.create(self._to.key(at + 1), content):
            raise damaged(f"{self._target.root} has another commit {at + 1}: it is the copy of another log")
        self._at = at + 1
        self._forget(content, at + 1)
        return True

    def _begin(self) -> int:
        self._target.prepare()
        for prefix in (TMP, COMMITS):
            self._target.make_directory(prefix)
        root = open_log(self._source)
        if not self._target.create(ROOT, msgspec.json.encode(root)):
            raise damaged(f"{self._target.root} is the copy of another log")
        self._at = self._to.last()
        content = self._to.content(self._at)
        if content is not None:  # who died after the commit had not forgotten yet
            self._forget(content, self._at)
        return self._at

    def _forget(self, content: bytes, number: int) -> None:
        """Remove files whose payloads were erased: there, nobody sweeps."""
        commit = self._to.decoded(content, number)
        for path in commit.removed if commit.erased else ():
            self._target.remove(path)

    def _copy(self, file: File) -> None:
        fd = self._source.open(file.path)
        if fd is None:
            return  # removed since
        try:
            with self._target.stage() as staged, storage_errors(f"copy {file.path}"):
                while content := os.read(fd, CHUNK_BYTES):
                    staged.write(content)
                if staged.digest != f"sha256:{file.sha256}":
                    raise damaged(f"{file.path} is not what its commit says")
                if not self._target.commit(staged, file.path):
                    raise damaged(f"{self._target.root} has another {file.path}")
        finally:
            os.close(fd)


def lag(source: Medium, target: Medium) -> int:
    """Commits that the target does not have. Raises `RegistryError`."""
    return max(LogChain(source).last() - LogChain(target).last(), 0)
