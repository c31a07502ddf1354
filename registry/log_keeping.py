"""What happens to sealed files later: small ones of an hour become one, old ones go. Each is a commit; files go some time after it, for
those who are reading them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from registry.log_commits import File
from registry.log_parquet import joined
from registry.log_sealing import Sealer

_log = logging.getLogger(__name__)
SMALL_BYTES = 16 << 20  # of a file that is joined with others
JOINED_BYTES = 64 << 20  # of what is joined at once
LEAST_FILES = 4  # that are worth it
QUIET_S = 60.0  # after the end of an hour until its files are joined


@dataclass(frozen=True, slots=True)
class Keeping:
    """For how long."""

    max_age_s: float | None = None  # since the last arrival in a file
    max_bytes: int | None = None  # of all files
    grace_s: float = 600.0  # from a commit that takes a file back until it is removed


class Keeper:
    """Of one log, beside its sealer. Every method is called within `Sealer.working`, and may raise `Kind.STORAGE`, `Kind.DAMAGED`."""

    def __init__(self, sealer: Sealer, keeping: Keeping, *, wall: Callable[[], float]) -> None:
        self._sealer, self._keeping, self._wall = sealer, keeping, wall

    def compact(self) -> int:
        """Join small files of hours that are over. The number of files that were."""
        done = 0
        for files in groups_of(self._sealer.state.files.values(), self._wall()):
            done += self._join(files)
        return done

    def _join(self, files: Sequence[File]) -> int:
        by_schema: dict[str, list[tuple[File, Any]]] = {}
        for file in files:
            table = self._sealer.table(file)
            by_schema.setdefault(str(table.schema), []).append((file, table))
        done = 0
        for alike in by_schema.values():
            if len(alike) > 1:
                old = tuple([file.path for file, _ in alike])
                payload = any(file.payload for file, _ in alike)
                whole = joined([table for _, table in alike])
                new = self._sealer.write(joined_path(old), alike[0][0].model, whole, payload=payload)
                self._sealer.replace([new], old)
                done += len(alike)
        return done

    def retire(self) -> int:
        """Take back what is too old, and the oldest of what is too much. The number of files."""
        gone = surplus(list(self._sealer.state.files.values()), self._keeping, self._wall())
        if gone:
            self._sealer.replace([], tuple([file.path for file in gone]))
        return len(gone)

    def sweep(self) -> int:
        """Remove the files that were taken back a while ago. Their number."""
        state, until = self._sealer.state, int((self._wall() - self._keeping.grace_s) * 1e6)
        due = [path for path, since in state.removed.items() if since <= until]
        for path in due:
            self._sealer.medium.remove(path)
            directory = path.rpartition("/")[0]
            while directory:
                with suppress(OSError):
                    self._sealer.medium.remove_directory(directory)
                directory = directory.rpartition("/")[0]
            del state.removed[path]
        return len(due)


def groups_of(files: Sequence[File] | Any, now_s: float) -> list[list[File]]:
    """Small files that can be joined: of one directory, whose hour is over, at most so many bytes at once."""
    by_directory: dict[str, list[File]] = {}
    for file in sorted(files, key=lambda file: file.path):
        hour_end_s = (file.max_ts // 3_600_000_000 + 1) * 3600
        if file.bytes < SMALL_BYTES and now_s >= hour_end_s + QUIET_S:
            by_directory.setdefault(file.path.rpartition("/")[0], []).append(file)
    found = []
    for alike in by_directory.values():
        group: list[File] = []
        for file in alike:
            if sum(other.bytes for other in group) + file.bytes > JOINED_BYTES:
                found.append(group)
                group = []
            group.append(file)
        found.append(group)
    return [group for group in found if len(group) >= LEAST_FILES]


def joined_path(paths: Sequence[str]) -> str:
    """The name follows from what is joined, so that who does it again writes the same file."""
    directory, _, first = paths[0].rpartition("/")
    node = first.partition("-")[0]
    return f"{directory}/{node}-j{hashlib.sha256(' '.join(paths).encode()).hexdigest()[:24]}.parquet"


def surplus(files: Sequence[File], keeping: Keeping, now_s: float) -> list[File]:
    """What goes: the too old, then the oldest until the rest is small enough."""
    newest_first = sorted(files, key=lambda file: (file.max_ts, file.path), reverse=True)
    gone, total = [], 0
    for file in newest_first:
        old = keeping.max_age_s is not None and file.max_ts < (now_s - keeping.max_age_s) * 1e6
        total += file.bytes
        if old or (keeping.max_bytes is not None and total > keeping.max_bytes):
            gone.append(file)
    return gone
