"""The public keys of the tokens' issuer, from a file or from the issuer itself, while both change and go away. Blocks: used in a thread.

An issuer is asked every `refresh_s`, and sooner where a token names a key that it did not have, but never twice within `_ASK_S`. While it
is away its last keys hold, for `stale_s` more; after that no token is good.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from gateway.clock import Clock
from gateway.control.fetching import FetchError, fetch
from gateway.control.stamps import Stamp, stamp
from gateway.identity.jwks import MAX_BYTES, Jwks, JwksError
from gateway.identity.settings import Jwt

_log = logging.getLogger(__name__)
_ASK_S = 30.0
_NEVER = float("-inf")

Fetch = Callable[..., bytes]


class Issuer:
    """One issuer. `keys` is its key set as it came, good when it came; None while there is none that could be believed."""

    def __init__(self, settings: Jwt, clock: Clock, *, fetch: Fetch = fetch) -> None:
        self.keys: bytes | None = None
        self.asked = False  # somebody has a token whose key is not known
        self._settings = settings
        self._clock = clock
        self._fetch = fetch
        self._stamp: Stamp = ()
        self._came_at = self._tried_at = _NEVER
        self._said = ""  # the last complaint: said once

    def read(self) -> None:
        """The file, where the keys are in one, at the start of a server. Raises JwksError that names it."""
        if not self._settings.url:
            self._stamp = stamp([Path(self._settings.keys)])
            self.keys = self._from_file()

    def look(self, *, again: bool = False) -> None:
        """See whether there are other keys, or read them `again` in any case. What goes wrong leaves the keys, and is in the log."""
        try:
            if self._settings.url:
                self._look_at_url(again=again)
            else:
                self._look_at_file(again=again)
        except (FetchError, JwksError) as error:
            if str(error) != self._said:
                self._said = str(error)
                _log.error("auth.jwt.keys: %s; the keys stay as they are", error)

    def _look_at_file(self, *, again: bool) -> None:
        seen = stamp([Path(self._settings.keys)])
        if seen != self._stamp or again:
            self._stamp = seen
            self.keys, self._said = self._from_file(), ""

    def _look_at_url(self, *, again: bool) -> None:
        now, settings = self._clock.now(), self._settings
        patience_s = min(_ASK_S, settings.refresh_s) if self.asked or self._said else settings.refresh_s
        if again or now - self._tried_at >= patience_s:
            self._tried_at, self.asked = now, False
            self._let_go(now)
            self._take()
            self._came_at, self._said = now, ""

    def _let_go(self, now: float) -> None:
        age_s = now - self._came_at
        if self.keys is not None and age_s > self._settings.refresh_s + self._settings.stale_s:
            _log.error("auth.jwt.keys: not renewed for %.0f s: no token is good until the issuer is back", age_s)
            self.keys = None

    def _take(self) -> None:
        settings = self._settings
        content = self._fetch(
            settings.url, authorities=settings.keys_ca, timeout_s=settings.timeout_s, max_bytes=MAX_BYTES, now=self._clock.now
        )
        Jwks(content, settings.algorithms)
        self.keys = content

    def _from_file(self) -> bytes:
        path = Path(self._settings.keys)
        try:
            with path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
            Jwks(content, self._settings.algorithms)
        except OSError as error:
            raise JwksError(f"{path}: {error.strerror}") from None
        except JwksError as error:
            raise JwksError(f"{path}: {error}") from None
        return content
