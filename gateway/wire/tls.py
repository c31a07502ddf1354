"""Server-side TLS: one context for the listener, whose certificate and client authorities can be read again while it serves.

Owns the protocol's settings: TLS 1.2 and up, forward secrecy and AEAD ciphers (RFC 9113 §9.2), ALPN for HTTP/2 and HTTP/1.1, no
renegotiation. Callers who must show a certificate get no session tickets: a resumed session would outlive a withdrawn authority.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from gateway.config import Tls

ALPN = ["h2", "http/1.1"]
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # for TLS 1.2; those of 1.3 are all good
_DEMAND = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


class TlsError(ValueError):
    """The TLS files cannot be used; the text names the file and what is wrong with it."""


class TlsContext:
    """What the listener shows its callers."""

    def __init__(self, settings: Tls) -> None:
        """Read the files. Raises TlsError."""
        self._settings = settings
        self.context = _context(settings)  # for every listener, for good
        self._current = self.context
        self.context.sni_callback = self._choose

    def reload(self) -> None:
        """Read the files again: later handshakes use them, open connections stay. Raises TlsError and changes nothing."""
        self._current = _context(self._settings)

    def _choose(self, connection: ssl.SSLObject, server_name: str | None, context: ssl.SSLContext) -> None:
        """Called by OpenSSL in every handshake, whether or not the caller names a server."""
        connection.context = self._current


def _context(settings: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(ALPN)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    _load_certificate(context, settings.certificate, settings.key)
    context.verify_mode = _DEMAND[settings.client_certificates]
    if settings.client_certificates != "none":
        assert settings.client_ca is not None, "the config demands it"
        _load_authorities(context, settings.client_ca)
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
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


def _load_authorities(context: ssl.SSLContext, client_ca: Path) -> None:
    _check_readable(client_ca, "client_ca")
    try:
        context.load_verify_locations(client_ca)
    except ssl.SSLError:
        raise TlsError(f"client_ca {client_ca} is no PEM that OpenSSL reads") from None


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
