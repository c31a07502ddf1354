"""What the supervisor and the process of the admin port tell each other. Pure data."""

from __future__ import annotations

import msgspec

from gateway.control.messages import Renew, UnknownKey
from gateway.identity.gate import Known


class AdministratorInheritance(msgspec.Struct, frozen=True, kw_only=True):
    """The one argument of the program: descriptors."""

    channel: int = -1
    socket: int  # that listens


class Administer(msgspec.Struct, frozen=True, tag=True):
    """By these settings, as `config.encode` writes them; again when they have changed."""

    config: str


class Finish(msgspec.Struct, frozen=True, tag=True):
    """Take no connections, finish what is open, end."""


ToAdministrator = Administer | Known | Renew | Finish
FromAdministrator = UnknownKey
