"""A medium in an object store: S3, Google Cloud Storage, Azure. The only owner of obstore.

Create-if-absent is a conditional put (`If-None-Match: *` on S3), proven once by a probe before anything is written. An attempt whose answer
was lost is found by reading back: a refusal because our own content is there already is success. Pauses and chance are passed in.

What was read of immutable keys is kept in a directory of this machine (`copies`). Blobs are taken from there first, because their readers
check them and `forget` a copy that is wrong; everything else only where the store cannot be reached.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
import obstore
from obstore import exceptions
from obstore.store import from_url

from registry.copies import Copies
from registry.errors import Kind, RegistryError, damaged, storage_errors
from registry.limits import DEFAULT_LIMITS, RegistryLimits
from registry.medium import Staged, Stat
from registry.names import digest_of, is_immutable
from registry.patience import Patience

SINGLE_PUT_BYTES = 64 << 20  # past this a blob goes in parts, which no store can make conditional; its name is its digest, so twice is once
_LAST_SEEN = {"policy.yaml"}  # may change, and loading needs it
_LISTED = re.compile(r"signatures/[0-9a-f]{64}")  # listings that loading needs
_LISTING = ".names"
_REFUSALS = {
    exceptions.UnauthenticatedError: "it did not accept the credentials",
    exceptions.PermissionDeniedError: "it does not permit this",
    exceptions.NotSupportedError: "it does not support this",
    exceptions.UnknownConfigurationKeyError: "an option is unknown",
    exceptions.InvalidPathError: "the name is not allowed there",
}
_Answer = TypeVar("_Answer")


class ObjectCalls(Protocol):
    """The calls to a store. `obstore` is the implementation; tests lose, refuse or count each one."""

    put: Any
    get: Any
    head: Any
    list: Any
    list_with_delimiter: Any
    copy: Any
    delete: Any


class ObjectMedium:
    """A prefix of a bucket as a store of keys. Not for many threads at once."""

    def __init__(
        self,
        store: Any,
        *,
        shown: str,
        cache: Path | None,
        calls: ObjectCalls = obstore,  # type: ignore[assignment]  # a module keeps a protocol of `Any`s
        limits: RegistryLimits = DEFAULT_LIMITS,
        patience: Patience = Patience(),  # noqa: B008 - immutable
    ) -> None:
        self.root = shown
        self.limits = limits
        self.copies = Copies(cache, max_blob_bytes=limits.max_cache_bytes)
        self._store = store
        self._calls = calls
        self._patience = patience
        self._conditional = False  # proven by the probe

    def prepare(self) -> None:
        """Prove once that a second create of one key fails. Raises `Kind.UNSUPPORTED`."""
        if self._conditional:
            return
        key = f"tmp/probe-{uuid.uuid4().hex}"
        try:
            first, second = self._create(key, b"first"), self._create(key, b"second")
        except RegistryError as error:
            raise (_unconditional() if isinstance(error.__cause__, exceptions.NotSupportedError) else error) from error
        finally:
            with suppress(RegistryError):
                self.remove(key)
        if (first, second) != (True, False):
            raise _unconditional()
        self._conditional = True

    def read(self, key: str) -> bytes | None:
        """The whole content; where the store cannot be reached, what was last seen of a kept key. Raises `Kind.STORAGE`, `Kind.DAMAGED`."""
        try:
            content = self._read(key)
        except RegistryError as error:
            kept = self.copies.read(key)
            if error.kind is not Kind.STORAGE or (kept is None and not self.copies.saw_nothing(key)):
                raise
            return kept
        if key in _LAST_SEEN or (content is not None and is_immutable(key)):
            self.copies.see(key, content)
        return content

    def open(self, key: str) -> int | None:
        """A descriptor of a copy on this machine, whole but unchecked, or None where the key is absent. Raises `Kind.STORAGE`."""
        kept = self.copies.open(key)
        if kept is not None:
            return kept
        with storage_errors(f"copy {key}"), tempfile.TemporaryFile(dir=self.copies.room()) as file:
            if not self._download(key, file):
                return None
            if is_immutable(key):
                file.seek(0)
                self.copies.keep(key, iter(lambda: file.read(1 << 20), b""))
            file.seek(0)
            return os.dup(file.fileno())

    def forget(self, key: str) -> bool:
        """Drop the kept copy of `key`. False where there is none."""
        return self.copies.forget(key)

    def keep_here(self, name: str, content: bytes) -> None:
        """Keep a note beside the copies."""
        self.copies.keep(name, [content])

    def kept_here(self, name: str) -> bytes | None:
        """A note beside the copies, or None."""
        return self.copies.read(name)

    def stat(self, key: str) -> Stat | None:
        """Size and time of the object, or None where the key is absent. Raises `Kind.STORAGE`."""
        with suppress(FileNotFoundError):
            meta = self._repeat(f"look at {key}", lambda: self._calls.head(self._store, key))
            return Stat(size_bytes=meta["size"], modified_s=meta["last_modified"].timestamp())
        return None

    def names(self, prefix: str, *, after: str = "") -> list[str]:
        """Names directly under `prefix` and past `after`, sorted. Raises `Kind.STORAGE`.

        Where the store cannot be reached, the names of signatures are those that were last seen.
        """
        if after or _LISTED.fullmatch(prefix) is None:
            return self._names(prefix, after)
        listing = f"{prefix}/{_LISTING}"
        try:
            found = self._names(prefix, "")
        except RegistryError:
            with suppress(msgspec.DecodeError):  # none is kept, or it was cut
                return msgspec.json.decode(self.copies.read(listing) or b"", type=list[str])
            raise
        self.copies.see(listing, msgspec.json.encode(found))
        return found

    @contextmanager
    def stage(self) -> Iterator[Staged]:
        """A file without a name on this machine. Raises `Kind.STORAGE`."""
        with storage_errors("stage a file"), tempfile.TemporaryFile(dir=self.copies.room()) as file:
            yield Staged(os, file.fileno(), path=None)

    def commit(self, staged: Staged, key: str) -> bool:
        """Upload the staged content as `key`. False where other content has that key, which then stays. Raises `Kind.STORAGE`."""
        self.prepare()
        if staged.size_bytes <= SINGLE_PUT_BYTES:
            return self._create(key, os.pread(staged.fd, staged.size_bytes, 0))
        if self.stat(key) is None:
            self._repeat(f"write {key}", lambda: self._put_in_parts(key, staged))
        return self._digest(key) == staged.digest

    def create(self, key: str, content: bytes) -> bool:
        """Create-if-absent. True where `key` now holds exactly `content`. Raises `Kind.STORAGE`; then it may or may not be there."""
        self.prepare()
        return self._create(key, content)

    def replace(self, key: str, content: bytes, *, durable: bool = False) -> None:
        """Swap the content; what a store has acknowledged is durable. Raises `Kind.STORAGE`."""
        self._repeat(f"write {key}", lambda: self._calls.put(self._store, key, content, mode="overwrite", use_multipart=False))

    def copy(self, key: str, to: str) -> bool:
        """Copy inside the store. False where `key` is absent. Raises `Kind.STORAGE`."""
        with suppress(FileNotFoundError):
            self._repeat(f"copy {key}", lambda: self._calls.copy(self._store, key, to, overwrite=True))
            return True
        return False

    def remove(self, key: str) -> bool:
        """Delete the object and the kept copy. False where it was absent. Raises `Kind.STORAGE`."""
        self.forget(key)
        if self.stat(key) is None:
            return False
        with suppress(FileNotFoundError):
            self._repeat(f"remove {key}", lambda: self._calls.delete(self._store, key))
        return True

    def remove_directory(self, prefix: str) -> None:
        """There are no directories."""

    def make_directory(self, prefix: str) -> None:
        """There are no directories."""

    def sync(self, prefix: str) -> None:
        """What is listed is durable."""

    def uncached(self) -> ObjectMedium:
        """The same objects without kept copies: for reading what is really there."""
        return ObjectMedium(self._store, shown=self.root, cache=None, calls=self._calls, limits=self.limits, patience=self._patience)

    def _create(self, key: str, content: bytes) -> bool:
        """Every answer but a plain success is settled by what the key holds: the refusal may be of our own earlier attempt."""
        failure: exceptions.BaseError | None = None
        for last in self._patience.tries():
            try:
                self._calls.put(self._store, key, content, mode="create", use_multipart=False)
                return True
            except exceptions.AlreadyExistsError as error:
                failure = error  # where nothing is there, the conflict was with a writer that then failed
            except exceptions.BaseError as error:
                if type(error) in _REFUSALS:
                    raise _storage(f"write {key}", error) from error
                failure = error
                if not last:
                    continue
            found = self._digest(key)
            if found is not None:
                return found == digest_of(content)
        raise _storage(f"write {key}", failure) from failure

    def _repeat(self, deed: str, call: Callable[[], _Answer]) -> _Answer:
        """The answer of an idempotent call. Raises `FileNotFoundError`, `Kind.STORAGE` when patience ends."""
        for last in self._patience.tries():
            try:
                return call()
            except exceptions.BaseError as error:
                if last or type(error) in _REFUSALS:
                    raise _storage(deed, error) from error
        raise AssertionError("patience has at least one attempt")

    def _names(self, prefix: str, after: str) -> list[str]:
        if after:  # the store skips what is before; only for prefixes that hold nothing deeper
            listed = self._repeat(f"list {prefix}", lambda: self._calls.list(self._store, prefix, offset=f"{prefix}/{after}").collect())
            return sorted(meta["path"].rpartition("/")[2] for meta in listed)
        found = self._repeat(f"list {prefix}", lambda: self._calls.list_with_delimiter(self._store, prefix or None))
        return sorted(path.rpartition("/")[2] for path in [*found["common_prefixes"], *(meta["path"] for meta in found["objects"])])

    def _read(self, key: str) -> bytes | None:
        def call() -> bytes:
            result = self._calls.get(self._store, key)
            if result.meta["size"] > self.limits.max_state_bytes:
                raise damaged(f"{key} is larger than {self.limits.max_state_bytes} bytes")
            return bytes(result.bytes())

        with suppress(FileNotFoundError):
            return self._repeat(f"read {key}", call)
        return None

    def _download(self, key: str, file: Any) -> bool:
        def call() -> None:
            file.seek(0)
            file.truncate()
            for chunk in self._calls.get(self._store, key).stream():
                file.write(chunk)
            file.flush()

        with suppress(FileNotFoundError):
            self._repeat(f"read {key}", call)
            return True
        return False

    def _put_in_parts(self, key: str, staged: Staged) -> None:
        with os.fdopen(os.dup(staged.fd), "rb") as file:
            file.seek(0)
            self._calls.put(self._store, key, file, use_multipart=True, chunk_size=16 << 20, max_concurrency=4)

    def _digest(self, key: str) -> str | None:
        """Of what the store holds, read back."""

        def call() -> str:
            found = hashlib.sha256()
            for chunk in self._calls.get(self._store, key).stream():
                found.update(chunk)
            return "sha256:" + found.hexdigest()

        with suppress(FileNotFoundError):
            return self._repeat(f"read {key}", call)
        return None


def object_medium(
    url: str,
    *,
    options: Mapping[str, str] | None = None,
    cache: Path | None = None,
    limits: RegistryLimits = DEFAULT_LIMITS,
    patience: Patience = Patience(),  # noqa: B008 - immutable
) -> ObjectMedium:
    """The medium at `s3://bucket/prefix`, `gs://…` or `az://…`.

    `options` are obstore's (`aws_endpoint`, `aws_region`, …); credentials that are not among them come from where the cloud's own tools
    look for them. Plain HTTP only for an `aws_endpoint` that says so. Raises `Kind.UNSUPPORTED` for another URL or option.
    """
    plain = (options or {}).get("aws_endpoint", "").startswith("http://")
    client = {"allow_http": plain, "timeout": timedelta(seconds=60), "connect_timeout": timedelta(seconds=5)}
    try:
        store = from_url(url, config=dict(options or {}), client_options=client, retry_config={"max_retries": 0})  # type: ignore[call-overload]
    except (exceptions.BaseError, ValueError) as error:
        raise RegistryError(Kind.UNSUPPORTED, "the address or an option of the object store is not understood") from error
    return ObjectMedium(store, shown=url.partition("?")[0], cache=cache, limits=limits, patience=patience)


def _storage(deed: str, error: BaseException | None) -> RegistryError:
    """The store's own text may hold addresses and identities, so it goes no further than `__cause__`."""
    reason = next((text for refusal, text in _REFUSALS.items() if isinstance(error, refusal)), "it cannot be reached, or fails")
    return RegistryError(Kind.STORAGE, f"cannot {deed}, says the object store: {reason}")


def _unconditional() -> RegistryError:
    text = "the object store does not support conditional writes (If-None-Match): two publishers could overwrite each other"
    return RegistryError(Kind.UNSUPPORTED, text)
