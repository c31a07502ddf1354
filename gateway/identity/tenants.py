"""The `tenants` section of the settings: what each tenant may take of a server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from gateway.typed_yaml import MisfitError

ANONYMOUS = "anonymous"
KINDS = ("key ", "certificate ", "token of ")  # how the names of principals begin that have shown something
MAX_NAME_CHARACTERS = 512

Rate = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1 << 40)]


class Tenant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one tenant may take, over all workers and transports. A tenant is a principal: `key NAME` of the file of keys,
    `certificate NAME`, `token of SUBJECT`, or `anonymous`, all callers together that show nothing. Inference requests count, and each
    message of a stream; health and metadata do not. What is not set has no bound. `default_tenant` is for those that are not named."""

    weight: Annotated[float, msgspec.Meta(ge=0.001, le=1000)] = 1.0  # its share of a queue that others wait in too, against theirs
    requests_per_s: Rate | None = None  # in the long run
    burst: Count | None = None  # requests at once after a rest; unset: those of one second
    concurrency: Count | None = None  # requests that are not answered yet
    bytes_per_s: Count | None = None  # of requests, in the long run
    bytes_burst: Count | None = None  # at once after a rest, and so the largest request; unset: those of one second

    def __post_init__(self) -> None:
        for burst, rate in (("burst", "requests_per_s"), ("bytes_burst", "bytes_per_s")):
            if getattr(self, burst) is not None and getattr(self, rate) is None:
                raise MisfitError(burst, f"belongs to {rate}, which is not set")

    @property
    def has_quota(self) -> bool:
        """Whether anything is bounded."""
        return not (self.requests_per_s is None and self.concurrency is None and self.bytes_per_s is None)


class Weights:
    """The weights of tenants by the settings of now."""

    __slots__ = ("_default", "_named")

    def __init__(self, tenants: Mapping[str, Tenant], default: Tenant) -> None:
        self.configure(tenants, default)

    def configure(self, tenants: Mapping[str, Tenant], default: Tenant) -> None:
        """Other settings; requests that wait already are weighed by them too."""
        self._named = {name: tenant.weight for name, tenant in tenants.items()}
        self._default = default.weight

    def of(self, tenant: str) -> float:
        """Above 0."""
        return self._named.get(tenant, self._default)


def check_names(names: list[str], *, with_credentials: bool) -> None:
    """Raises MisfitError for a name that no principal can have."""
    for name in names:
        if name != ANONYMOUS and (not name.startswith(KINDS) or name in KINDS or len(name) > MAX_NAME_CHARACTERS):
            raise MisfitError(f"tenants.{name[:64]}", "a tenant is `key NAME`, `certificate NAME`, `token of SUBJECT` or `anonymous`")
        if name != ANONYMOUS and not with_credentials:
            raise MisfitError(f"tenants.{name[:64]}", "nobody shows a credential: add `auth`, or say what `anonymous` may take")


def metered(tenants: Mapping[str, Tenant], default: Tenant) -> tuple[str, ...] | None:
    """The tenants that are named, where anybody has a quota."""
    return tuple(tenants) if any(tenant.has_quota for tenant in (*tenants.values(), default)) else None
