"""Who is using a version at the moment: leases, which keep its files from being collected until they run out.

A lease is one state file, `leases/<id>.json`, renewed by replacing it. Its end is judged by the clock of whoever collects garbage, which
keeps everything for a grace period more, so clocks may differ by less than that.
"""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta

import msgspec

from registry.errors import Kind, RegistryError
from registry.formats import FORMAT, decode_checked, encode_checked
from registry.medium import Medium
from registry.names import check_label, check_model_name

_ID = re.compile(r"[0-9a-f]{32}")


class Lease(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One use of one version."""

    format: int = FORMAT
    id: str
    holder: str
    model: str
    version: int
    expires: datetime
    check: str = ""


class Leases:
    """The leases of one registry."""

    def __init__(self, medium: Medium) -> None:
        self._medium = medium

    def take(self, model: str, version: int, *, holder: str, now_s: float, ttl_s: float) -> Lease:
        """A lease of `ttl_s` seconds; the caller makes sure that the version exists once it holds it. Raises `Kind.STORAGE`."""
        lease = Lease(
            id=uuid.uuid4().hex,
            holder=check_label(holder, what="holder"),
            model=check_model_name(model),
            version=version,
            expires=_after(now_s, ttl_s),
        )
        self._write(lease)
        return lease

    def renew(self, lease: Lease, *, now_s: float, ttl_s: float) -> Lease:
        """The same lease, for `ttl_s` seconds from now. Raises `Kind.STORAGE`."""
        renewed = msgspec.structs.replace(lease, expires=_after(now_s, ttl_s))
        self._write(renewed)
        return renewed

    def release(self, lease_id: str) -> bool:
        """End a lease. False where there is none. Raises `Kind.INVALID_NAME`, `Kind.STORAGE`."""
        if _ID.fullmatch(lease_id) is None:
            raise RegistryError(Kind.INVALID_NAME, "a lease's id is 32 hexadecimal digits")
        return self._medium.remove(_key(lease_id))

    def all(self) -> list[Lease]:
        """Every lease, also those that ran out. Raises `Kind.DAMAGED`, `Kind.UNSUPPORTED`."""
        found = [self.read(name) for name in self.names()]
        return [lease for lease in found if lease is not None]

    def names(self) -> list[str]:
        """Of the files."""
        return [name for name in self._medium.names("leases") if name.endswith(".json")]

    def read(self, name: str) -> Lease | None:
        """One file, or None where it is gone. Raises `Kind.DAMAGED`, `Kind.UNSUPPORTED`."""
        content = self._medium.read(f"leases/{name}")
        return None if content is None else decode_checked(content, Lease, key=f"leases/{name}", what="a lease")

    def _write(self, lease: Lease) -> None:
        self._medium.make_directory("leases")
        self._medium.replace(_key(lease.id), encode_checked(lease), durable=True)


def _key(lease_id: str) -> str:
    return f"leases/{lease_id}.json"


def _after(now_s: float, ttl_s: float) -> datetime:
    return datetime.fromtimestamp(now_s, UTC) + timedelta(seconds=ttl_s)
