"""TLS contexts: files that cannot be used, what is negotiated, who is let in, and reading the files again. Handshakes run in memory."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from gateway.config import Tls
from gateway.wire.tls import TlsContext, TlsError

NAME = "gateway.example"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who signs the server's certificates."""
    return trustme.CA()


@pytest.fixture(scope="module")
def callers() -> trustme.CA:
    """Who signs the callers' certificates."""
    return trustme.CA()


def write(folder: Path, leaf: trustme.LeafCert, name: str = "server") -> tuple[Path, Path]:
    """Certificate chain and key as PEM files."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    certificate.write_bytes(b"".join([blob.bytes() for blob in leaf.cert_chain_pems]))
    key.write_bytes(leaf.private_key_pem.bytes())
    return certificate, key


@pytest.fixture
def settings(tmp_path: Path, authority: trustme.CA) -> Tls:
    """A server certificate, no client certificates."""
    certificate, key = write(tmp_path, authority.issue_cert(NAME))
    return Tls(certificate=certificate, key=key)


def caller(authority: trustme.CA, leaf: trustme.LeafCert | None = None) -> ssl.SSLContext:
    """A caller that trusts the authority and may show a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    if leaf is not None:
        leaf.configure_cert(context)
    return context


def connect(server: ssl.SSLContext, client: ssl.SSLContext, name: str | None = NAME) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both ends after a handshake and one byte each way. Raises ssl.SSLError where either end refuses."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, server_hostname=name)
    done: set[ssl.SSLObject] = set()
    for end in [theirs, ours] * 4:
        try:
            end.do_handshake()
            done.add(end)
        except ssl.SSLWantReadError:
            pass
    assert {ours, theirs} == done
    ours.write(b"x")
    theirs.write(b"y")
    assert (b"x", b"y") == (theirs.read(1), ours.read(1))
    return ours, theirs


def test_a_caller_negotiates_http_2_over_tls_1_3(settings: Tls, authority: trustme.CA) -> None:
    """Both ends prefer HTTP/2; the newest version wins."""
    ours, _ = connect(TlsContext(settings).context, caller(authority))
    assert ("h2", "TLSv1.3") == (ours.selected_alpn_protocol(), ours.version())


def test_http_1_1_is_negotiated_where_that_is_all_a_caller_speaks(settings: Tls, authority: trustme.CA) -> None:
    """And without ALPN there is simply no choice made."""
    client = caller(authority)
    client.set_alpn_protocols(["http/1.1"])
    assert "http/1.1" == connect(TlsContext(settings).context, client)[0].selected_alpn_protocol()


def test_case_89_tls_1_2_is_served_with_good_ciphers_and_older_versions_are_not(settings: Tls, authority: trustme.CA) -> None:
    """Forward secrecy and AEAD, as RFC 9113 demands of TLS 1.2; TLS 1.1 ends in an alert."""
    context = TlsContext(settings).context
    client = caller(authority)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    cipher = connect(context, client)[0].cipher()
    assert cipher is not None
    assert cipher[0].startswith("ECDHE")
    assert "GCM" in cipher[0] or "POLY1305" in cipher[0]
    assert ssl.TLSVersion.TLSv1_2 == context.minimum_version


def test_case_89_plaintext_on_a_tls_port_is_refused(settings: Tls) -> None:
    """An HTTP request where a ClientHello should be ends the handshake at once."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = TlsContext(settings).context.wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    with pytest.raises(ssl.SSLError):
        connection.do_handshake()


def test_case_89_a_caller_without_the_demanded_certificate_is_refused(
    settings: Tls, authority: trustme.CA, callers: trustme.CA, tmp_path: Path
) -> None:
    """Required: none or a stranger's is refused, the right one is let in and known by its name."""
    callers.cert_pem.write_to_path(tmp_path / "callers.pem")
    demands = Tls(certificate=settings.certificate, key=settings.key, client_ca=tmp_path / "callers.pem", client_certificates="required")
    context = TlsContext(demands).context
    for stranger in (None, authority.issue_cert("stranger")):
        with pytest.raises(ssl.SSLError):
            connect(context, caller(authority, stranger))
    ours, _ = connect(context, caller(authority, callers.issue_cert("caller.example")))
    shown = ours.getpeercert()
    assert shown is not None
    assert (("DNS", "caller.example"),) == shown["subjectAltName"]


def test_an_optional_certificate_may_be_missing_but_not_wrong(
    settings: Tls, authority: trustme.CA, callers: trustme.CA, tmp_path: Path
) -> None:
    """Optional: none is fine, a stranger's is refused."""
    callers.cert_pem.write_to_path(tmp_path / "callers.pem")
    asks = Tls(certificate=settings.certificate, key=settings.key, client_ca=tmp_path / "callers.pem", client_certificates="optional")
    context = TlsContext(asks).context
    assert not connect(context, caller(authority))[0].getpeercert()
    assert connect(context, caller(authority, callers.issue_cert("caller.example")))[0].getpeercert()
    with pytest.raises(ssl.SSLError):
        connect(context, caller(authority, authority.issue_cert("stranger")))


def test_a_new_certificate_is_shown_after_a_reload(settings: Tls, authority: trustme.CA) -> None:
    """The listener's context stays the same object, also for callers who name no server."""
    tls = TlsContext(settings)
    client = caller(authority)
    client.check_hostname = False
    for name in (NAME, None):
        before = connect(tls.context, client, name)[1].getpeercert(binary_form=True)
        write(settings.certificate.parent, authority.issue_cert(NAME))
        tls.reload()
        after = connect(tls.context, client, name)[1].getpeercert(binary_form=True)
        assert before != after


def test_a_withdrawn_authority_is_forgotten_after_a_reload(
    settings: Tls, authority: trustme.CA, callers: trustme.CA, tmp_path: Path
) -> None:
    """A reload replaces the set of authorities, it does not add to it."""
    trusted = tmp_path / "callers.pem"
    callers.cert_pem.write_to_path(trusted)
    tls = TlsContext(Tls(certificate=settings.certificate, key=settings.key, client_ca=trusted, client_certificates="required"))
    client = caller(authority, callers.issue_cert("caller.example"))
    connect(tls.context, client)
    trustme.CA().cert_pem.write_to_path(trusted)
    tls.reload()
    with pytest.raises(ssl.SSLError):
        connect(tls.context, client)


def test_a_failed_reload_changes_nothing(settings: Tls, authority: trustme.CA) -> None:
    """Half-written files are an error for the operator, not for the callers."""
    tls = TlsContext(settings)
    settings.key.write_text("half")
    with pytest.raises(TlsError, match="no PEM"):
        tls.reload()
    connect(tls.context, caller(authority))


def test_files_that_cannot_be_used_are_named(settings: Tls, authority: trustme.CA, tmp_path: Path) -> None:
    """Missing, not PEM, a key that belongs elsewhere, an authority that is none: the text names the file."""
    other_certificate, other_key = write(tmp_path, authority.issue_cert("other"), "other")
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("nothing of use")
    certificate, key = settings.certificate, settings.key
    troubles = [
        (Tls(certificate=tmp_path / "none.pem", key=key), "certificate .*none.pem cannot be read: No such file"),
        (Tls(certificate=certificate, key=tmp_path / "none.key"), "key .*none.key cannot be read: No such file"),
        (Tls(certificate=certificate, key=tmp_path), "key .* cannot be read: Is a directory"),
        (Tls(certificate=garbage, key=key), "certificate .*garbage.pem or key .* no PEM"),
        (Tls(certificate=other_certificate, key=key), "key .*server.key does not belong to certificate .*other.pem"),
        (Tls(certificate=certificate, key=other_key), "key .*other.key does not belong to certificate .*server.pem"),
        (Tls(certificate=certificate, key=key, client_ca=garbage, client_certificates="required"), "client_ca .*garbage.pem"),
        (Tls(certificate=certificate, key=key, client_ca=tmp_path / "none", client_certificates="optional"), "client_ca .* cannot be read"),
    ]
    for wrong, text in troubles:
        with pytest.raises(TlsError, match=text):
            TlsContext(wrong)


def test_an_encrypted_key_is_refused_without_asking_the_terminal(settings: Tls) -> None:
    """A server that waited for a password would hang at its start."""
    key = serialization.load_pem_private_key(settings.key.read_bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    )
    settings.key.write_bytes(locked)
    with pytest.raises(TlsError, match="encrypted"):
        TlsContext(settings)
