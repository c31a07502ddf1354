"""Server-side TLS: one context for the listener, whose certificate and client authorities can be read again while it serves.

Owns the protocol's settings: TLS 1.2 and up, forward secrecy and AEAD ciphers (RFC 9113 §9.2), ALPN for HTTP/2 and HTTP/1.1, no
renegotiation. Callers who must show a certificate get no session tickets: a resumed session would outlive a withdrawn authority.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from gateway.config import Tls
from gateway.identity.certificates import MAX_NAMES, Certificate

ALPN = ["h2", "http/1.1"]
ALPN_HTTP1 = ["http/1.1"]
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # for TLS 1.2; those of 1.3 are all good
_KINDS = {"DNS": "dns", "URI": "uri", "email": "email", "IP Address": "ip"}  # as the ssl module names them
_DEMAND = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


class TlsError(ValueError):
    """The TLS files cannot be used; the text names the file and what is wrong with it."""


class TlsContext:
    """What the listener shows its callers."""

    def __init__(self, settings: Tls, *, for_metrics: bool = False) -> None:
        """Read the files. Raises TlsError. The port of metrics speaks HTTP/1.1 only, and never demands a certificate: probes have none."""
        self._settings = settings
        self._for_metrics = for_metrics
        self.context = _context(settings, for_metrics=for_metrics)  # for every listener, for good
        self._current = self.context
        self.context.sni_callback = self._choose

    def reload(self) -> None:
        """Read the files again: later handshakes use them, open connections stay. Raises TlsError and changes nothing."""
        self._current = _context(self._settings, for_metrics=self._for_metrics)

    def _choose(self, connection: ssl.SSLObject, server_name: str | None, context: ssl.SSLContext) -> None:
        """Called by OpenSSL in every handshake, whether or not the caller names a server."""
        connection.context = self._current


def _context(settings: Tls, *, for_metrics: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(ALPN_HTTP1 if for_metrics else ALPN)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    _load_certificate(context, settings.certificate, settings.key)
    demand = settings.client_certificates
    context.verify_mode = _DEMAND["optional" if for_metrics and demand == "required" else demand]
    if demand != "none":
        assert settings.client_ca is not None, "the config demands it"
        _load_authorities(context, settings.client_ca, "client_ca")
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
    return context


def files_of(settings: Tls) -> tuple[Path, ...]:
    """All files that the settings name."""
    return tuple(path for path in (settings.certificate, settings.key, settings.client_ca) if path is not None)


def certificate_of(connection: ssl.SSLObject) -> Certificate | None:
    """What the caller has shown, checked against `client_ca`; None where it showed nothing."""
    shown: Any = connection.getpeercert()
    if not shown:
        return None
    names = [f"{_KINDS[kind]}:{name}" for kind, name in shown.get("subjectAltName", ()) if kind in _KINDS]
    names += [f"cn:{value}" for part in shown.get("subject", ()) for field, value in part if field == "commonName"]
    return Certificate(tuple(names[:MAX_NAMES]), float(ssl.cert_time_to_seconds(shown["notAfter"])))


def trusting(authorities: Path | None) -> ssl.SSLContext:
    """For our own calls to others: who is checked against these authorities, or the system's. Raises TlsError."""
    context = ssl.create_default_context()
    if authorities is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _load_authorities(context, authorities, "keys_ca")
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _load_certificate(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    _check_readable(certificate, "certificate")
    _check_readable(key, "key")
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except _EncryptedKeyError:
        raise TlsError(f"key {key} is encrypted; give a key without a password") from None
    except ssl.SSLError as error:
        raise TlsError(_certificate_trouble(certificate, key, error.reason or "")) from None


def _certificate_trouble(certificate: Path, key: Path, reason: str) -> str:
    if reason == "KEY_VALUES_MISMATCH":
        return f"key {key} does not belong to certificate {certificate}"
    return f"certificate {certificate} or key {key} is no PEM that OpenSSL reads ({reason.lower().replace('_', ' ') or 'unknown format'})"


def _load_authorities(context: ssl.SSLContext, authorities: Path, role: str) -> None:
    _check_readable(authorities, role)
    try:
        context.load_verify_locations(authorities)
    except ssl.SSLError:
        raise TlsError(f"{role} {authorities} is no PEM that OpenSSL reads") from None


def _check_readable(path: Path, role: str) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise TlsError(f"{role} {path} cannot be read: {error.strerror}") from None


class _EncryptedKeyError(Exception):
    """OpenSSL asked for a password."""


def _no_password() -> str:
    """Instead of OpenSSL's own question at the terminal, which would hang a server."""
    raise _EncryptedKeyError
