"""Where things are in an inference log, and what they are called. Makes and opens its root; knows nothing of what rows hold.

tidegate-log.json                                             {"layout": 1, "id": …}
model=<m>/date=YYYY-MM-DD/hour=HH/<node>-<segment>[-<k>].parquet   sealed rows
_commits/<8 digits>.json                                      which of these files count: a chain
_raw/<segment>.seg, _raw/<worker>.ledger                      what workers write, until it is sealed
_private/key                                                  of keyed hashes; stays on this machine
tmp/                                                          what has no name yet
"""

from __future__ import annotations

import os
import re
import urllib.parse
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from registry.errors import Kind, RegistryError, damaged, storage_errors
from registry.medium import Medium

LAYOUT = 1
ROOT, COMMITS, RAW, TMP, PRIVATE = "tidegate-log.json", "_commits", "_raw", "tmp", "_private"
KEY = f"{PRIVATE}/key"
SEGMENT, LEDGER = ".seg", ".ledger"
KEY_BYTES = 32
MIN_KEY_BYTES = 16
_ID = re.compile(r"[0-9a-f]{16,64}")
_NODE = re.compile(r"[^A-Za-z0-9_.]+")


class Root(msgspec.Struct, frozen=True, kw_only=True):
    """What `tidegate-log.json` says."""

    layout: int
    id: str


def make_log(medium: Medium, identity: str) -> Root:
    """Open the log, or make one called `identity`. Raises as `open_log`, and `Kind.STORAGE`."""
    medium.prepare()
    for prefix in (TMP, RAW, COMMITS):
        medium.make_directory(prefix)
    medium.create(ROOT, msgspec.json.encode(Root(layout=LAYOUT, id=identity)))  # False: there is one already
    return open_log(medium)


def open_log(medium: Medium) -> Root:
    """What says that a log is here. Raises `Kind.NOT_FOUND` where there is none, `Kind.UNSUPPORTED` for another layout, `Kind.DAMAGED`,
    `Kind.STORAGE`."""
    content = medium.read(ROOT)
    if content is None:
        raise RegistryError(Kind.NOT_FOUND, f"there is no inference log at {medium.root}")
    try:
        root = msgspec.json.decode(content, type=Root)
    except msgspec.DecodeError as error:
        raise damaged(f"{ROOT}: {error}") from error
    if root.layout != LAYOUT:
        raise RegistryError(Kind.UNSUPPORTED, f"the log at {medium.root} has layout {root.layout}; this release reads {LAYOUT}")
    return root


def read_key(path: Path) -> bytes:
    """The key of keyed hashes in a file. Raises `Kind.STORAGE`, and `Kind.DAMAGED` for one that is too short."""
    with storage_errors(f"read {path}"):
        key = path.read_bytes().strip()
    if len(key) < MIN_KEY_BYTES:
        raise damaged(f"{path}: a key has at least {MIN_KEY_BYTES} bytes")
    return key


def make_key(root: Path, key: bytes) -> bytes:
    """The key in the log's own directory, which becomes `key` where there is none; its user's alone. Raises as `read_key`."""
    path = root / KEY
    with storage_errors(f"write {path}"):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        temporary = root / TMP / f"key-{os.getpid()}"
        with suppress(FileNotFoundError):
            temporary.unlink()
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, key.hex().encode())
            os.fsync(fd)
            with suppress(FileExistsError):
                os.link(temporary, path)
        finally:
            os.close(fd)
            temporary.unlink()
    return read_key(path)


def directory_of(model: str, hour: int) -> str:
    """Of sealed rows of a model; `hour`: hours since the Unix epoch, UTC."""
    when = datetime.fromtimestamp(hour * 3600, UTC)
    return f"model={urllib.parse.quote(model, safe='')}/date={when:%Y-%m-%d}/hour={when:%H}"


def sealed_name(node: str, segment: str, number: int) -> str:
    """Of the file of a segment's rows; `number` tells apart those that share a directory."""
    return f"{node}-{segment}{f'-{number}' if number else ''}.parquet"


def node_name(text: str) -> str:
    """A host's name as part of a file's."""
    return _NODE.sub("_", text)[:64] or "node"


def is_id(text: str) -> bool:
    """Whether it can be the id of a segment or a worker."""
    return _ID.fullmatch(text) is not None


def segment_id(worker: str, number: int) -> str:
    """Of a worker's segments, the one with this number."""
    return f"{worker}{number:08x}"


def worker_of(segment: str) -> str:
    """Who wrote a segment."""
    return segment[:-8]


def ids_of(medium: Medium, suffix: str) -> list[str]:
    """Of the segments, or ledgers, that lie in `_raw`, oldest first. Raises `Kind.STORAGE`."""
    names = [name.removesuffix(suffix) for name in medium.names(RAW) if name.endswith(suffix)]
    return [name for name in names if is_id(name)]


def raw_key(identity: str, suffix: str) -> str:
    """Of a segment or ledger."""
    return f"{RAW}/{identity}{suffix}"
