"""What a server knows of its versions' traffic, one state file each, replaced whole; and the profiles that it learned.

Content is bytes whose digest stands before them: nothing else vouches for it. What cannot be read is set aside under another name, never
overwritten and never a reason not to serve. Knows not what is in the files. The directory is held by the server whose it is.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from registry.directory import DirectoryMedium
from registry.errors import RegistryError

_FOLDER = "drift"
_DIGEST_BYTES = 32


class DriftFiles:
    """The files of one state directory."""

    def __init__(self, root: Path) -> None:
        self._medium = DirectoryMedium(root)
        self._medium.make_directory("tmp")
        self._medium.make_directory(_FOLDER)

    def save(self, name: str, content: bytes) -> None:
        """Replace what is known under a name, durably. Raises `Kind.STORAGE`."""
        self._medium.replace(_key(name), hashlib.sha256(content).digest() + content, durable=True)

    def load(self, name: str) -> tuple[bytes | None, str]:
        """What was saved last, if anything, and what was wrong with it: "" for nothing. Raises nothing for what is in the file."""
        try:
            content = self._medium.read(_key(name))
        except RegistryError as error:
            return None, error.message
        if content is None:
            return None, ""
        if hashlib.sha256(content[_DIGEST_BYTES:]).digest() != content[:_DIGEST_BYTES]:
            return None, self.set_aside(name, "it does not match its own digest")
        return content[_DIGEST_BYTES:], ""

    def set_aside(self, name: str, problem: str) -> str:
        """Keep the file under another name. Returns `problem` and where the file is."""
        key = _key(name)
        try:
            taken = {found for found in self._medium.names(_FOLDER) if found.startswith("set-aside-")}
            aside = f"{_FOLDER}/set-aside-{1 + len(taken)}-{key.rpartition('/')[2]}"
            self._medium.copy(key, aside)
            self._medium.remove(key)
        except RegistryError as error:
            return f"{problem}; it is in the way of what comes: {error.message}"
        return f"{problem}; set aside as {self._medium.root / aside}"


def write_learned(path: Path, content: bytes) -> None:
    """A profile that was learned, durably. Raises `Kind.STORAGE`."""
    medium = DirectoryMedium(path.parent)
    medium.prepare()
    medium.make_directory("tmp")
    medium.replace(path.name, content, durable=True)


def _key(name: str) -> str:
    """Names of models are no names of files."""
    return f"{_FOLDER}/{hashlib.sha256(name.encode()).hexdigest()[:32]}"
