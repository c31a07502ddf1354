"""What one worker has accepted for the log, and what it dropped and why: a small file in `_raw`, mapped into its memory.

A worker that is killed leaves the numbers behind in the file, as far as the kernel outlives it, and whoever comes after it can say how
many rows are missing. Its lock ends with the process, whatever ended that. All room is taken when the file is made: a full disk cannot
fail a write into it. Counters only grow, but for what is promised.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from pathlib import Path

from registry.errors import storage_errors
from registry.log_accounts import ARMS, DISK_FULL, IO_ERROR, QUEUE_FULL, TOO_LARGE
from registry.log_layout import LEDGER, TMP, raw_key
from registry.medium import FileCalls

MODELS = 512
# Words of an arm. `UNSYNCED`: rows in frames whose sync failed; `PROMISED`: of answers that are leaving, and not accepted yet.
ACCEPTED, QUEUE, DISK, IO, LARGE, UNSYNCED, PROMISED = range(7)
ARM_WORDS = 7
WORDS = len(ARMS) * ARM_WORDS
REASON_WORDS = {QUEUE_FULL: QUEUE, DISK_FULL: DISK, IO_ERROR: IO, TOO_LARGE: LARGE}
_MAGIC = int.from_bytes(b"tidelgr1", "little")
_NAME_BYTES, _SLOT_BYTES = 256, 1024
_HEAD_BYTES = mmap.PAGESIZE
SIZE = _HEAD_BYTES + MODELS * _SLOT_BYTES


class Ledger:
    """Of one worker, which alone writes it."""

    def __init__(self, path: Path, fd: int, memory: mmap.mmap) -> None:
        self.path = path
        self._fd, self._memory = fd, memory
        self._slots: dict[str, memoryview] = {}

    @classmethod
    def create(cls, root: Path, worker: str, *, calls: FileCalls = os) -> Ledger:
        """A new one, locked before it has its name. Raises `Kind.STORAGE`, also where the disk is full."""
        temporary, path = root / TMP / f"{worker}{LEDGER}", root / raw_key(worker, LEDGER)
        with storage_errors(f"write {path}"):
            fd = calls.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                calls.posix_fallocate(fd, 0, SIZE)
                memory = mmap.mmap(fd, SIZE)
                memory[:8] = _MAGIC.to_bytes(8, "little")
                calls.fsync(fd)
                calls.replace(temporary, path)
            except BaseException:
                os.close(fd)
                temporary.unlink(missing_ok=True)
                raise
        return cls(path, fd, memory)

    def words(self, model: str) -> memoryview | None:
        """int64 [WORDS] of a model: of each arm its words. None where there is no room for one more."""
        found = self._slots.get(model)
        name = model.encode()
        if found is None and len(self._slots) < MODELS and len(name) < _NAME_BYTES:
            start = _HEAD_BYTES + len(self._slots) * _SLOT_BYTES
            self._memory[start + 1 : start + 1 + len(name)] = name
            self._memory[start] = len(name)
            at = start + _NAME_BYTES
            found = self._slots[model] = memoryview(self._memory)[at : at + 8 * WORDS].cast("q")
        return found

    def sync(self) -> None:
        """Have what is counted outlive the machine, too. Raises `OSError`."""
        self._memory.flush()

    def close(self) -> None:
        """Let go of the lock: the worker has ended, and counts no more."""
        fcntl.flock(self._fd, fcntl.LOCK_UN)  # the map holds the file, too
        os.close(self._fd)


Numbers = dict[str, dict[str, list[int]]]  # by model and arm, its words


def read_ledger(path: Path) -> Numbers:
    """What a ledger holds now; nothing where it is none. Raises `Kind.STORAGE`."""
    with storage_errors(f"read {path}"):
        content = path.read_bytes()
    if len(content) != SIZE or int.from_bytes(content[:8], "little") != _MAGIC:
        return {}
    found: Numbers = {}
    for start in range(_HEAD_BYTES, SIZE, _SLOT_BYTES):
        length = content[start]
        if not length:
            break
        name = content[start + 1 : start + 1 + length].decode(errors="replace")
        words = memoryview(content)[start + _NAME_BYTES : start + _NAME_BYTES + 8 * WORDS].cast("q")
        found[name] = {arm: list(words[place * ARM_WORDS : (place + 1) * ARM_WORDS]) for place, arm in enumerate(ARMS)}
    return found
