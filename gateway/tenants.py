"""Tenants: who shares the server with others. A tenant is a principal by its name; callers who showed nothing are one together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

ANONYMOUS = "anonymous"


class Tenant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a tenant may have of the server, under the name of its principal: `key NAME`, `certificate NAME`, `token of SUBJECT`,
    `anonymous`. `default_tenant` is for those that are not named."""

    weight: Annotated[float, msgspec.Meta(ge=0.001, le=1000)] = 1.0  # its share of a queue that others wait in too, against theirs


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
