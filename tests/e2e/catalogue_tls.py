"""Case 89: what may go wrong before the first byte of a request, against a server that asks for client certificates."""

from __future__ import annotations

import datetime
import socket
import ssl
import warnings
from pathlib import Path

import trustme

from tests.e2e.desk import Desk
from tests.e2e.peer_http1 import TIMEOUT_S, request
from tests.e2e.peer_http2 import PREFACE

HANDSHAKE_S = 1
_LIVE = request("GET", "/v2/health/live", headers={"connection": "close"})


class Authorities:
    """Who signs for the server and its callers, and one whom nobody trusts."""

    def __init__(self, folder: Path) -> None:
        self.known, stranger = trustme.CA(), trustme.CA()
        server = self.known.issue_cert("127.0.0.1", "localhost")
        server.private_key_pem.write_to_path(folder / "server.key")
        (folder / "server.pem").write_bytes(b"".join(blob.bytes() for blob in server.cert_chain_pems))
        self.known.cert_pem.write_to_path(folder / "ca.pem")
        past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
        self.good = self.known.issue_cert("caller@tests")
        self.expired = self.known.issue_cert("caller@tests", not_after=past)
        self.foreign = stranger.issue_cert("caller@tests")

    def caller(self, leaf: trustme.LeafCert | None) -> ssl.SSLContext:
        """A caller that trusts the server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.known.configure_trust(context)
        if leaf is not None:
            leaf.configure_cert(context)
        return context


def settings(folder: Path) -> str:
    """What such a server needs, but for its ports."""
    files = f"certificate: {folder}/server.pem, key: {folder}/server.key, client_ca: {folder}/ca.pem"
    return f"""
tls: {{{files}, client_certificates: required, metrics: false}}
limits: {{wire: {{handshake_timeout_s: {HANDSHAKE_S}}}}}
"""


def bad_tls(desk: Desk) -> None:
    """Each bad caller gets an alert or a closed connection and no answer; after each, a good one is served, and the plain server too."""
    secure, authorities = desk.secure()
    port = secure.grpc_port
    descriptors, plain = secure.descriptors(), desk.http2()
    for deed in (plaintext, http2_plaintext, garbage, stalled, old_version, no_certificate, expired, foreign, wrong_name):
        deed(port, authorities)
        assert b"200 OK" in _served(port, authorities.caller(authorities.good)), deed.__name__
        desk.golden(plain)
    assert secure.settles(descriptors=descriptors)
    assert [] == secure.faults()


def plaintext(port: int, authorities: Authorities) -> None:
    assert b"HTTP/1.1 200" not in _raw(port, _LIVE)


def http2_plaintext(port: int, authorities: Authorities) -> None:
    assert not _raw(port, PREFACE).startswith(b"\0\0")


def garbage(port: int, authorities: Authorities) -> None:
    """Half a hello, and records of no known type."""
    _raw(port, b"\x16\x03\x01\x02\x00" + b"\xff" * 600)
    _raw(port, b"\x99" * 100)


def stalled(port: int, authorities: Authorities) -> None:
    """Two that begin and fall silent: closed by the server, within its limit and not the caller's patience."""
    _raw(port, b"\x16")
    _raw(port, b"")


def old_version(port: int, authorities: Authorities) -> None:
    """TLS 1.1, with every cipher that OpenSSL still has."""
    context = authorities.caller(authorities.good)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    _refused(port, context)


def no_certificate(port: int, authorities: Authorities) -> None:
    _refused(port, authorities.caller(None))


def expired(port: int, authorities: Authorities) -> None:
    _refused(port, authorities.caller(authorities.expired))


def foreign(port: int, authorities: Authorities) -> None:
    _refused(port, authorities.caller(authorities.foreign))


def wrong_name(port: int, authorities: Authorities) -> None:
    """A name that the server's certificate does not have is refused by the caller."""
    try:
        _served(port, authorities.caller(authorities.good), "elsewhere.example")
    except ssl.SSLCertVerificationError:
        return
    raise AssertionError("the name was accepted")


def _raw(port: int, data: bytes) -> bytes:
    """All that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as peer:
        peer.sendall(data)
        return _rest(peer)


def _rest(peer: socket.socket) -> bytes:
    found = bytearray()
    try:
        while data := peer.recv(65_536):
            found += data
    except (ConnectionError, ssl.SSLError):
        pass
    return bytes(found)


def _served(port: int, context: ssl.SSLContext, name: str = "localhost") -> bytes:
    """The answer to one request."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as peer,
        context.wrap_socket(peer, server_hostname=name) as secure,
    ):
        secure.sendall(_LIVE)
        return _rest(secure)


def _refused(port: int, context: ssl.SSLContext) -> None:
    """In the handshake, or by TLS 1.3 just behind it, before any answer."""
    try:
        answer = _served(port, context)
    except (ssl.SSLError, ConnectionError):
        return
    assert b"" == answer
