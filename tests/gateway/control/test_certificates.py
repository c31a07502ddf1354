"""The certificate of a server while its files change."""

from __future__ import annotations

import ssl
from pathlib import Path

import msgspec
import pytest
import trustme

from gateway.config import Tls
from gateway.control.certificates import Certificates
from gateway.wire.tls import TlsContext, TlsError, certificate_of
from tests.gateway.wire.test_tls import NAME, caller, connect, write


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def settings(tmp_path: Path, authority: trustme.CA) -> Tls:
    certificate, key = write(tmp_path, authority.issue_cert(NAME))
    return Tls(certificate=certificate, key=key)


def shown(context: ssl.SSLContext, authority: trustme.CA) -> bytes | None:
    return connect(context, caller(authority))[1].getpeercert(binary_form=True)


def test_new_files_are_taken_over_and_told_of(settings: Tls, authority: trustme.CA) -> None:
    """Once for each change; the port of metrics shows them at once."""
    told: list[str] = []
    kept = Certificates(settings, lambda: told.append("changed"))
    assert kept.metrics is not None
    first = shown(kept.metrics.context, authority)
    kept.look()
    assert [] == told
    write(settings.certificate.parent, authority.issue_cert(NAME))
    for _ in range(3):
        kept.look()
    assert ["changed"] == told
    assert first != shown(kept.metrics.context, authority)
    kept.look(again=True)
    assert 2 == len(told)


def test_bad_files_leave_the_certificate_as_it_is(settings: Tls, authority: trustme.CA, caplog: pytest.LogCaptureFixture) -> None:
    """A new certificate whose key has not come yet: an error in the log, once; the key comes, and both are taken."""
    told: list[str] = []
    kept = Certificates(settings, lambda: told.append("changed"))
    assert kept.metrics is not None
    first = shown(kept.metrics.context, authority)
    leaf = authority.issue_cert(NAME)
    settings.certificate.write_bytes(b"".join([blob.bytes() for blob in leaf.cert_chain_pems]))
    for _ in range(3):
        kept.look()
    assert ([], first) == (told, shown(kept.metrics.context, authority))
    assert 1 == sum("does not belong to certificate" in message and "stays as it is" in message for message in caplog.messages)
    settings.key.write_bytes(leaf.private_key_pem.bytes())
    kept.look()
    assert ["changed"] == told
    assert first != shown(kept.metrics.context, authority)


def test_a_server_without_tls_looks_at_nothing() -> None:
    """And the port of metrics may do without."""
    kept = Certificates(None, lambda: pytest.fail("told"))
    kept.look(again=True)
    assert kept.metrics is None


def test_a_server_does_not_start_with_files_that_it_cannot_use(settings: Tls) -> None:
    """The text names the file."""
    settings.key.write_text("half")
    with pytest.raises(TlsError, match="no PEM"):
        Certificates(settings, lambda: None)


def test_the_port_of_metrics_demands_no_certificate_and_speaks_http_1(settings: Tls, authority: trustme.CA, tmp_path: Path) -> None:
    """Probes have none; one that is shown is checked, and known by its names."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    demands = msgspec.structs.replace(settings, client_ca=tmp_path / "ca.pem", client_certificates="required")
    kept = Certificates(demands, lambda: None)
    assert kept.metrics is not None
    ours, _ = connect(kept.metrics.context, caller(authority))
    assert ("http/1.1", None) == (ours.selected_alpn_protocol(), certificate_of(ours))
    leaf = authority.issue_cert("probe.example", "a@b.example", common_name="probe")
    found = certificate_of(connect(kept.metrics.context, caller(authority, leaf))[0])
    assert found is not None
    assert {"dns:probe.example", "email:a@b.example", "cn:probe"} == set(found.names)
    assert found.expires_s > 1.7e9
    with pytest.raises(ssl.SSLError):
        connect(TlsContext(demands).context, caller(authority))
    assert Certificates(msgspec.structs.replace(settings, metrics=False), lambda: None).metrics is None
