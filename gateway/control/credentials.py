"""What the workers of a server hold credentials against, kept fresh in one place: the file of API keys, and the keys of the tokens' issuer.

What cannot be read leaves what was known before, with a line in the log. Workers get the whole of it each time that it has changed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.clock import Clock
from gateway.control.stamps import Stamp, stamp
from gateway.identity import key_file
from gateway.identity.gate import Known
from gateway.identity.key_file import KeyFileError
from gateway.identity.keys import ApiKey
from gateway.identity.settings import Auth, Jwt

if TYPE_CHECKING:  # what tokens need is imported where tokens are wanted only
    from gateway.control.issuer import Issuer

_log = logging.getLogger(__name__)


class CredentialsError(Exception):
    """A server cannot start with these files; the text names one and what is wrong with it."""


class Credentials:
    """`known` is what holds now; `tell` gets it whenever it has changed, on the event loop."""

    def __init__(self, auth: Auth | None, clock: Clock, tell: Callable[[Known], None]) -> None:
        self.known = Known()
        self._auth = auth
        self._clock = clock
        self._tell = tell
        self._keys: tuple[ApiKey, ...] = ()
        self._stamp: Stamp = ()
        self._issuer: Issuer | None = None
        self._looking = asyncio.Lock()

    def read(self) -> None:
        """The files, at the start. Raises CredentialsError."""
        auth = self._auth
        if auth is None:
            return
        try:
            if auth.keys:
                self._stamp = stamp([auth.keys])
                self._keys = key_file.read(auth.keys)
            self._follow(auth.jwt)
            if self._issuer is not None:
                self._issuer.read()
        except ValueError as error:  # of the file of keys, or of the issuer's
            raise CredentialsError(str(error)) from None
        self.known = self._found()

    def configure(self, auth: Auth | None) -> None:
        """Other settings; `look(again=True)` reads what they name."""
        if auth is not None and self._auth is not None and auth.jwt != self._auth.jwt:
            self._follow(auth.jwt)
        self._auth = auth

    def ask(self) -> None:
        """Somebody has a token whose key is not known: the next look asks the issuer, unless that was asked a moment ago."""
        if self._issuer is not None:
            self._issuer.asked = True

    async def look(self, *, again: bool = False) -> None:
        """See what has changed, or read everything `again`."""
        if self._auth is None:
            return
        async with self._looking:
            await asyncio.to_thread(self._look, self._auth, again)
            found = self._found()
            if found != self.known:
                self.known = found
                self._tell(found)

    def _look(self, auth: Auth, again: bool) -> None:
        self._look_at_keys(auth, again)
        issuer = self._issuer
        if issuer is not None:
            issuer.look(again=again)

    def _look_at_keys(self, auth: Auth, again: bool) -> None:
        if auth.keys is None:
            self._keys = ()
            return
        seen = stamp([auth.keys])
        if seen == self._stamp and not again:
            return
        self._stamp = seen
        try:
            self._keys = key_file.read(auth.keys)
            _log.info("auth.keys: %d keys", len(self._keys))
        except KeyFileError as error:
            _log.error("auth.keys: %s; the keys stay as they are", error)

    def _follow(self, settings: Jwt | None) -> None:
        """Another issuer, of which nothing is known yet, or none."""
        self._issuer = None
        if settings is not None:
            from gateway.control.issuer import Issuer

            self._issuer = Issuer(settings, self._clock)

    def _found(self) -> Known:
        return Known(keys=self._keys, jwks=None if self._issuer is None else self._issuer.keys)
