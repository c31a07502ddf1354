"""The files that somebody wants published, copied to where nobody else can change them before anything looks inside.

Only regular files with one name are taken, opened without following links, and only from the model's own directory.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from registry.errors import refused, storage_errors
from registry.manifest import MODEL_FILE, PART_TITLES
from registry.medium import CHUNK_BYTES, Progress, Staged, unseen
from registry.store import Store

_ELF = b"\x7fELF"  # how programs and libraries begin


@dataclass(slots=True)
class Submission:
    """Staged copies. `data` fills as external data is found to be needed."""

    store: Store
    stack: ExitStack
    directory_fd: int  # of the model file
    model: Staged
    progress: Progress
    data: dict[str, Staged] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """Of all files so far."""
        return self.model.size_bytes + sum(staged.size_bytes for staged in self.data.values())

    def content(self) -> bytes:
        """The ONNX file's staged bytes."""
        return os.pread(self.model.fd, self.model.size_bytes, 0)

    def add_data(self, name: str, *, needed_bytes: int) -> None:
        """Stage one file from the model's directory. Raises `Kind.INVALID_MODEL` where it is no plain file, too large or too short."""
        limits = self.store.medium.limits
        if name == MODEL_FILE or name in PART_TITLES:
            raise refused(f"external data cannot be named {name}")
        if len(self.data) + 2 > limits.max_files:
            raise refused(f"the model has more than {limits.max_files} files")
        room = limits.max_data_bytes - (self.size_bytes - self.model.size_bytes)
        staged = _stage(self.store, self.stack, name, directory_fd=self.directory_fd, max_bytes=room, progress=self.progress)
        if staged.size_bytes < max(needed_bytes, 1):
            raise refused(f"external data '{name}' has {staged.size_bytes} bytes where the model refers to {max(needed_bytes, 1)}")
        if os.pread(staged.fd, len(_ELF), 0) == _ELF:
            raise refused(f"external data '{name}' is a program library")
        self.data[name] = staged


@contextmanager
def submitted(store: Store, path: Path, *, progress: Progress = unseen) -> Iterator[Submission]:
    """Stage the ONNX file at `path`, telling `progress` the bytes; it disappears at the end unless it was committed.

    Raises `Kind.INVALID_MODEL`.
    """
    with ExitStack() as stack:
        with storage_errors(f"open the directory of {path.name}"):
            directory_fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, directory_fd)
        max_bytes = store.medium.limits.max_model_bytes
        model = _stage(store, stack, path.name, directory_fd=directory_fd, max_bytes=max_bytes, progress=progress)
        yield Submission(store=store, stack=stack, directory_fd=directory_fd, model=model, progress=progress)


def read_plain(path: Path, *, max_bytes: int) -> bytes:
    """A small file that is neither a link nor a pipe. Raises `Kind.INVALID_MODEL`."""
    with storage_errors(f"open the directory of {path.name}"):
        directory_fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with os.fdopen(_open_plain(path.name, directory_fd), "rb") as file, storage_errors(f"read {path.name}"):
            content = file.read(max_bytes + 1)
    finally:
        os.close(directory_fd)
    if len(content) > max_bytes:
        raise refused(f"'{path.name}' has more than the {max_bytes} bytes that are allowed")
    return content


def _stage(store: Store, stack: ExitStack, name: str, *, directory_fd: int, max_bytes: int, progress: Progress) -> Staged:
    fd = _open_plain(name, directory_fd)
    try:
        staged = stack.enter_context(store.stage())
        with storage_errors(f"copy {name}"):
            while chunk := os.read(fd, CHUNK_BYTES):
                if staged.size_bytes + len(chunk) > max_bytes:
                    raise refused(f"'{name}' has more than the {max_bytes} bytes that are allowed")
                staged.write(chunk)
                progress(len(chunk))
        return staged
    finally:
        os.close(fd)


def _open_plain(name: str, directory_fd: int) -> int:
    """A descriptor of a regular file with one name. Never waits, also not on a pipe."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory_fd)
    except OSError as error:
        reason = "is a symbolic link" if _is_link(name, directory_fd) else f"cannot be read: {error.strerror}"
        raise refused(f"'{name}' {reason}") from error
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
        return fd
    os.close(fd)
    raise refused(f"'{name}' has several names (hard links)" if stat.S_ISREG(status.st_mode) else f"'{name}' is not a regular file")


def _is_link(name: str, directory_fd: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=directory_fd, follow_symlinks=False).st_mode)
    except OSError:
        return False
