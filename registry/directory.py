"""A medium in a directory, durable and atomic: the one place of the registry that writes files, but for the note in a lock.

Content is written without a name, synced, and then named by `link(2)`, which fails where the name exists. Knows no models.
"""

from __future__ import annotations

import errno
import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from registry.errors import damaged, storage_errors
from registry.limits import DEFAULT_LIMITS, RegistryLimits
from registry.medium import CHUNK_BYTES, FileCalls, Staged, Stat

_NO_TMPFILE = {errno.EOPNOTSUPP, errno.EISDIR}  # NFS and old overlayfs; kernels before 3.11


class DirectoryMedium:
    """A directory as a store of keys. Holds one open file per staged content; state files are read up to `max_state_bytes`."""

    def __init__(self, root: Path, *, calls: FileCalls = os, limits: RegistryLimits = DEFAULT_LIMITS) -> None:
        self.root = root
        self.limits = limits
        self._calls = calls
        self._durable_directories: set[str] = {""}  # made and synced into their parents by this object

    def read(self, key: str) -> bytes | None:
        """The whole content, or None where the key is absent. Raises `Kind.STORAGE`, and `Kind.DAMAGED` past `max_state_bytes`."""
        fd = self.open(key)
        if fd is None:
            return None
        with storage_errors(f"read {key}"), _closing(os, fd):
            if os.fstat(fd).st_size > self.limits.max_state_bytes:
                raise damaged(f"{key} is larger than {self.limits.max_state_bytes} bytes")
            return b"".join(iter(lambda: os.read(fd, CHUNK_BYTES), b""))

    def open(self, key: str) -> int | None:
        """A read-only descriptor that the caller closes, or None where the key is absent. Raises `Kind.STORAGE`."""
        with storage_errors(f"open {key}"):
            try:
                return os.open(self.root / key, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return None

    def forget(self, key: str) -> bool:
        """False: nothing is copied anywhere."""
        return False

    def keep_here(self, name: str, content: bytes) -> None:
        """The directory is on this machine."""

    def kept_here(self, name: str) -> bytes | None:
        """None."""
        return None

    def stat(self, key: str) -> Stat | None:
        """Size and time of the last write, or None where the key is absent. Raises `Kind.STORAGE`."""
        with storage_errors(f"look at {key}"):
            try:
                status = os.stat(self.root / key, follow_symlinks=False)
            except FileNotFoundError:
                return None
            return Stat(size_bytes=status.st_size, modified_s=status.st_mtime)

    def names(self, prefix: str, *, after: str = "") -> list[str]:
        """Names directly under `prefix` and past `after`, sorted; none where it does not exist. Raises `Kind.STORAGE`."""
        with storage_errors(f"list {prefix}"):
            try:
                return sorted(name for name in os.listdir(self.root / prefix) if name > after)
            except FileNotFoundError:
                return []

    @contextmanager
    def stage(self) -> Iterator[Staged]:
        """A place to write content to before it has a key. Nothing remains of it unless it was committed."""
        staged = self._unnamed()
        try:
            yield staged
        finally:
            with suppress(OSError):  # committed content was synced before it was named; other content is not wanted
                self._calls.close(staged.fd)
            if staged.path is not None:
                with suppress(OSError):
                    self._calls.unlink(staged.path)

    def commit(self, staged: Staged, key: str) -> bool:
        """Name the staged content `key`, durably. False where other content has that key, which then stays."""
        directory = key.rpartition("/")[0]
        with storage_errors(f"write {key}"):
            self._make_directory(directory)
            self._calls.fchmod(staged.fd, 0o444)
            self._calls.fsync(staged.fd)
            holds = self._link(staged, self.root / key)
            # Also where another writer was first: it may not have come to its own sync, and the caller builds on this key.
            self._sync(directory)
        return holds

    def create(self, key: str, content: bytes) -> bool:
        """Create-if-absent with full content. True where `key` now holds exactly `content`, whoever wrote it."""
        with self.stage() as staged:
            with storage_errors(f"write {key}"):
                staged.write(content)
            return self.commit(staged, key)

    def replace(self, key: str, content: bytes, *, durable: bool = False) -> None:
        """Swap the content atomically; without `durable` only for caches, whose readers can rebuild them."""
        temporary = self._temporary_name()
        with storage_errors(f"write {key}"):
            fd = self._calls.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            try:
                with _closing(self._calls, fd):
                    Staged(self._calls, fd, path=temporary).write(content)
                    if durable:
                        self._calls.fsync(fd)
                self._calls.replace(temporary, self.root / key)
            except OSError:
                with suppress(OSError):
                    self._calls.unlink(temporary)
                raise
            if durable:
                self._sync(key.rpartition("/")[0])

    def copy(self, key: str, to: str) -> bool:
        """A second name for the same file, durably. False where `key` is absent. Raises `Kind.STORAGE`."""
        directory = to.rpartition("/")[0]
        with storage_errors(f"link {to}"):
            self._make_directory(directory)
            try:
                self._calls.link(self.root / key, self.root / to)
            except FileExistsError:
                pass
            except FileNotFoundError:
                return False
            self._sync(directory)
        return True

    def remove(self, key: str) -> bool:
        """Take the name away, durably. False where it was absent. Raises `Kind.STORAGE`."""
        with storage_errors(f"remove {key}"):
            try:
                self._calls.unlink(self.root / key)
            except FileNotFoundError:
                return False
            self._sync(key.rpartition("/")[0])
        return True

    def remove_directory(self, prefix: str) -> None:
        """Take an empty directory away; any other stays."""
        self._durable_directories.discard(prefix)
        with suppress(OSError):
            self._calls.rmdir(self.root / prefix)

    def prepare(self) -> None:
        """Create the root itself and its parents, durably. Raises `Kind.STORAGE`."""
        with storage_errors("create the directory"):
            missing = [path for path in (self.root, *self.root.parents) if not path.exists()]
            for path in reversed(missing):
                path.mkdir(exist_ok=True)
                self._sync_path(path.parent)

    def make_directory(self, prefix: str) -> None:
        """Create a directory and its parents, each durable in its parent. Raises `Kind.STORAGE`."""
        with storage_errors(f"create {prefix}"):
            self._make_directory(prefix)

    def _make_directory(self, prefix: str) -> None:
        if prefix in self._durable_directories:
            return
        parent = prefix.rpartition("/")[0]
        self._make_directory(parent)
        with suppress(FileExistsError):
            self._calls.mkdir(self.root / prefix)
        self._sync(parent)
        self._durable_directories.add(prefix)

    def sync(self, prefix: str) -> None:
        """Make what is listed under `prefix` durable, whoever wrote it. Raises `Kind.STORAGE`."""
        with storage_errors(f"sync {prefix}"):
            self._sync(prefix)

    def _sync(self, prefix: str) -> None:
        self._sync_path(self.root / prefix)

    def _sync_path(self, directory: Path) -> None:
        fd = self._calls.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with _closing(self._calls, fd):
            self._calls.fsync(fd)

    def _unnamed(self) -> Staged:
        with storage_errors("stage a file"):
            try:
                fd = self._calls.open(self.root / "tmp", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
                return Staged(self._calls, fd, path=None)
            except OSError as error:
                if error.errno not in _NO_TMPFILE:
                    raise
            path = self._temporary_name()
            fd = self._calls.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            return Staged(self._calls, fd, path=path)

    def _temporary_name(self) -> Path:
        return self.root / "tmp" / uuid.uuid4().hex

    def _link(self, staged: Staged, target: Path) -> bool:
        """Give the content its name. False where the name stands for other content."""
        try:
            if staged.path is not None:
                self._calls.link(staged.path, target)
            else:
                # A directory descriptor makes Python use linkat(AT_SYMLINK_FOLLOW); the absolute source path ignores it.
                self._calls.link(f"/proc/self/fd/{staged.fd}", target, src_dir_fd=staged.fd, follow_symlinks=True)
        except FileExistsError:
            return _hash_of(target) == staged.digest
        except OSError:
            # NFS can report a failure for a link that it made (the acknowledgement was lost), so look before giving up.
            if not target.exists() or _hash_of(target) != staged.digest:
                raise
        return True


@contextmanager
def _closing(calls: FileCalls, fd: int) -> Iterator[None]:
    try:
        yield
    finally:
        calls.close(fd)


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
