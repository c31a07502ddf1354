"""The certificate of a server while its files change: seen in the supervisor, tried there, and then shown by every process."""

from __future__ import annotations

import logging
from collections.abc import Callable

from gateway.config import Tls
from gateway.control.stamps import Stamp, stamp
from gateway.wire.tls import TlsContext, TlsError, files_of

_log = logging.getLogger(__name__)


class Certificates:
    """`metrics` is what the port of metrics shows, None where it speaks no TLS. `changed` is called when new files are there and good."""

    def __init__(self, settings: Tls | None, changed: Callable[[], None]) -> None:
        """Raises TlsError for files with which no server should start."""
        self.metrics: TlsContext | None = None
        self._settings = settings
        self._changed = changed
        self._stamp: Stamp = ()
        if settings is not None:
            self._stamp = stamp(files_of(settings))
            TlsContext(settings)
            self.metrics = TlsContext(settings, for_metrics=True) if settings.metrics else None

    def look(self, *, again: bool = False) -> None:
        """See whether the files have changed. Bad ones leave the certificate as it is, and are looked at again when they change again."""
        settings = self._settings
        if settings is None:
            return
        seen = stamp(files_of(settings))
        if seen == self._stamp and not again:
            return
        self._stamp = seen
        try:
            TlsContext(settings)
            if self.metrics is not None:
                self.metrics.reload()
        except TlsError as error:
            _log.error("tls: %s; the certificate stays as it is", error)
            return
        _log.info("tls: the files were read again; new connections get what is in them now")
        self._changed()
