"""Many small files of labels made into few: one commit names the merged file and says which files it stands for.

A file that was merged stays for `GRACE_S`, for readers that listed it before. What nobody committed is never touched.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

from registry.directory import DirectoryMedium
from registry.errors import storage_errors
from registry.label_files import encoded, table_of
from registry.labels import LabelFile, LabelLog, Labels

MIN_FILES = 16  # of one day: fewer are not worth a commit
MAX_ROWS = 1 << 20  # of a merged file
GRACE_S = 3_600.0


def merge(labels: Labels, now_us: int, *, min_files: int = MIN_FILES) -> int:
    """Merge the small files of each day that has at least `min_files` of them. Returns how many files are fewer.

    Raises `Kind.STORAGE`, `Kind.DAMAGED`; then nothing changed.
    """
    fewer = 0
    for group in list(_groups(LabelLog(labels.root).files(), min_files)):
        labels.catch_up()
        with storage_errors(f"read {group[0].path}"):
            content = encoded(table_of([labels.root / file.path for file in group]))
        rows, date = sum(file.rows for file in group), _day(group[0])
        arrivals = min(file.min_ts for file in group), max(file.max_ts for file in group)
        merged = labels.store(date, content, rows=rows, arrivals=arrivals)
        if labels.commit([merged], now_us, removed=tuple(file.path for file in group)):
            labels.catch_up()
            fewer += len(group) - 1
    return fewer


def discard(root: Path, now_us: int) -> int:
    """Remove files that were merged long enough ago. Returns how many. Raises `Kind.STORAGE`, `Kind.DAMAGED`."""
    medium, before = DirectoryMedium(root), now_us - int(GRACE_S * 1e6)
    old = (commit for commit in LabelLog(root).commits() if commit.removed and commit.created < before)
    return sum(medium.remove(path) for commit in old for path in commit.removed)


def _groups(files: Iterable[LabelFile], min_files: int) -> Iterator[list[LabelFile]]:
    """Files of one day each, in the order of commits, each group of at most `MAX_ROWS`."""
    small = sorted((file for file in files if file.rows <= MAX_ROWS // 2), key=_day)
    for _, of_day in itertools.groupby(small, key=_day):
        group: list[LabelFile] = []
        for file in of_day:
            if sum(one.rows for one in group) + file.rows > MAX_ROWS:
                yield from [group] if len(group) >= min_files else []
                group = []
            group.append(file)
        yield from [group] if len(group) >= min_files else []


def _day(file: LabelFile) -> str:
    return file.path.split("/")[1].removeprefix("date=")
