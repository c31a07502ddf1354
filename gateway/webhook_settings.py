"""The `webhooks` section of the settings: to whom a server may send the events of rollouts, and where the secrets lie."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated

import msgspec

from gateway.typed_yaml import MisfitError


class Webhooks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Events of rollouts as signed messages over HTTPS, to the URLs that plans name. Whoever may start a rollout names URLs, so they lead
    to public addresses only, unless `networks` says otherwise."""

    secrets: Path | None = None  # the directory of the files that plans name as secretFile; without it nothing can be signed, or sent
    networks: tuple[str, ...] = ()  # addresses that are not public and may be sent to, e.g. 10.1.0.0/16; to these http is allowed too
    ca: Path | None = None  # PEM: the authorities that receivers' certificates are checked against, instead of the system's
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=60)] = 10.0  # of one attempt, all together

    def __post_init__(self) -> None:
        for network in self.networks:
            try:
                ipaddress.ip_network(network)
            except ValueError:
                raise MisfitError("networks", f"{network[:80]!r} is no network such as 10.1.0.0/16 or fd00:1::/32") from None
