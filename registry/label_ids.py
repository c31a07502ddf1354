"""Which labels there are already: for each id its digest and that of its content, in sorted files that are mapped, not read.

A cache of what the label files say. What came lately is in memory, at most `MAX_RECENT` ids; more become a file, and small files are
merged, so that there are few files and no more than `MAX_MERGED` ids are in memory at a time. Each file names the commits that it covers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from registry.directory import DirectoryMedium
from registry.errors import RegistryError

FOLDER = "_label_ids"
MAX_RECENT = 1 << 16
MAX_MERGED = 1 << 22
_NAME = re.compile(r"([0-9]{8,19})-([0-9]{8,19})\.ids")
_MAGIC = b"tidegate labels1"
_HEAD_BYTES = 24  # magic, and how many


class _File:
    """Sorted ids of commits `first` to `last`: high and low halves [n] of their digests, and digests of contents [n]."""

    def __init__(self, name: str, first: int, last: int, words: np.ndarray) -> None:
        self.name, self.first, self.last = name, first, last
        self.count = len(words) // 3
        self.high, self.low, self.contents = words.reshape(3, -1)

    def look(self, ids: np.ndarray, found: np.ndarray, contents: np.ndarray) -> None:
        """Mark those of `ids` [n, 2] that are here, and fill in their contents."""
        at = np.searchsorted(self.high, ids[:, 0])
        while True:
            inside = at < self.count
            same = inside.copy()
            same[inside] = self.high[at[inside]] == ids[inside, 0]
            if not same.any():
                return
            hits = np.flatnonzero(same)
            equal = self.low[at[hits]] == ids[hits, 1]
            found[hits[equal]] = True
            contents[hits[equal]] = self.contents[at[hits[equal]]]
            at = np.where(same, at + 1, self.count)  # two ids with one high half: hardly ever


class LabelIds:
    """The ids of one log. `covered` is the last commit whose labels are known."""

    def __init__(self, medium: DirectoryMedium, root: Path) -> None:
        self._medium, self._root = medium, root
        self._recent: dict[bytes, int] = {}
        self._since = 0  # the last commit that files cover
        self.covered = 0
        self._files: list[_File] = []
        self._open()

    def __len__(self) -> int:
        return len(self._recent) + sum(file.count for file in self._files)

    def known(self, digests: Sequence[bytes]) -> dict[bytes, int]:
        """Those of `digests` (`label.id_digest`) that are there, with the digests of their contents."""
        seen = {digest: self._recent[digest] for digest in digests if digest in self._recent}
        rest = [digest for digest in digests if digest not in seen]
        if not rest or not self._files:
            return seen
        ids = _halves(rest)
        found, contents = np.zeros(len(rest), bool), np.zeros(len(rest), np.uint64)
        for file in self._files:
            file.look(ids, found, contents)
        return seen | {rest[index]: int(contents[index]) for index in np.flatnonzero(found)}

    def add(self, seq: int, labels: Mapping[bytes, int]) -> None:
        """The labels of commit `seq`, which follows the last one. Raises `Kind.STORAGE` where too many are in memory."""
        self._recent.update(labels)
        self.covered = seq
        if len(self._recent) >= MAX_RECENT:
            try:
                self.flush()
            except RegistryError:
                if len(self._recent) >= 4 * MAX_RECENT:  # the labels themselves are stored, and the next flush may go well
                    raise

    def flush(self) -> None:
        """Write what is in memory. Raises `Kind.STORAGE`."""
        if self.covered == self._since:
            return
        ids = _halves(list(self._recent))
        words = np.concatenate([ids.T, np.fromiter(self._recent.values(), np.uint64, len(self._recent))[None]])
        self._write(self._since + 1, self.covered, words)
        self._recent, self._since = {}, self.covered
        while len(self._files) > 1 and self._may_merge(*self._files[-2:]):
            self._merge(*self._files[-2:])

    def _may_merge(self, before: _File, last: _File) -> bool:
        return before.count <= 2 * last.count and before.count + last.count <= MAX_MERGED

    def _merge(self, before: _File, last: _File) -> None:
        words = np.concatenate([np.stack([one.high, one.low, one.contents]) for one in (before, last)], axis=1)
        self._files = self._files[:-2]
        self._write(before.first, last.last, words)
        for one in (before, last):
            self._medium.remove(f"{FOLDER}/{one.name}")

    def _write(self, first: int, last: int, words: np.ndarray) -> None:
        """words: [3, n] halves of ids and contents, in any order."""
        words = np.ascontiguousarray(words[:, np.lexsort((words[1], words[0]))], "<u8")
        name = f"{first:08d}-{last:08d}.ids"
        head = _MAGIC + words.shape[1].to_bytes(8, "little")
        self._medium.make_directory(FOLDER)
        self._medium.replace(f"{FOLDER}/{name}", head + words.tobytes(), durable=True)
        file = self._mapped(name)
        assert file is not None
        self._files.append(file)

    def _open(self) -> None:
        """The fewest files that cover commits from the first without a gap. The rest is left over from a merge."""
        listed = [file for name in self._medium.names(FOLDER) if (file := self._mapped(name)) is not None]
        used = []
        while following := [file for file in listed if file.first <= self.covered + 1 and file.last > self.covered]:
            used.append(max(following, key=lambda file: file.last))
            self.covered = used[-1].last
        self._since, self._files = self.covered, used
        for file in listed:
            if file not in used and file.last <= self.covered:
                self._medium.remove(f"{FOLDER}/{file.name}")

    def _mapped(self, name: str) -> _File | None:
        """The file of that name; None for what is no such file, or not whole."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        path = self._root / FOLDER / name
        try:
            with path.open("rb") as file:
                head = file.read(_HEAD_BYTES)
            words = np.memmap(path, "<u8", mode="r", offset=_HEAD_BYTES) if path.stat().st_size > _HEAD_BYTES else np.zeros(0, "<u8")
        except (OSError, ValueError):
            return None
        count = int.from_bytes(head[len(_MAGIC) :], "little")
        if head[: len(_MAGIC)] != _MAGIC or len(words) != 3 * count:
            return None
        return _File(name, int(match[1]), int(match[2]), words)


def _halves(digests: Sequence[bytes]) -> np.ndarray:
    """[n, 2] of digests of 16 bytes."""
    return np.frombuffer(b"".join(digests), "<u8").reshape(-1, 2)
