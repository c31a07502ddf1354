"""The `tenants` settings: names that no principal can have, bursts of no rate, and what a reload takes over."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gateway.config import Config, ConfigError, Repository, load
from gateway.control.changes import differences, taken_over
from gateway.identity.settings import Auth
from gateway.identity.tenants import Tenant, metered
from gateway.typed_yaml import MisfitError

PLAIN = Config(repository=Repository(path=Path("models")))
AUTH = Auth(keys=Path("k"))

WRONG = [
    ("tenants: {billing: {}}", "tenants.billing: a tenant is `key NAME`"),
    ("tenants: {'key ': {}}", "a tenant is `key NAME`"),
    ("tenants: {'key billing': {}}", "nobody shows a credential: add `auth`, or say what `anonymous` may take"),
    ("tenants: {anonymous: {burst: 3}}", "burst: belongs to requests_per_s, which is not set"),
    ("default_tenant: {bytes_burst: 3, requests_per_s: 1}", "bytes_burst: belongs to bytes_per_s, which is not set"),
    ("default_tenant: {requests_per_s: 0}", "requests_per_s"),
    ("default_tenant: {requests_per_s: .nan}", "requests_per_s"),
    ("default_tenant: {requests_per_s: 1e10}", "requests_per_s"),
    ("default_tenant: {concurrency: 0}", "concurrency"),
    ("default_tenant: {concurrency: 1.5}", "concurrency"),
    ("default_tenant: {bytes_per_s: -1}", "bytes_per_s"),
    ("default_tenant: {bandwidth: 1}", "bandwidth"),
]


@pytest.mark.parametrize(("text", "complaint"), WRONG)
def test_quotas_that_mean_nothing_are_refused(tmp_path: Path, text: str, complaint: str) -> None:
    """With the setting that is wrong."""
    file = tmp_path / "tidegate.yaml"
    file.write_text(f"repository: {{path: models}}\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert complaint in str(caught.value)


def test_quotas_are_read_as_they_stand(tmp_path: Path) -> None:
    """Names with blanks and colons among them."""
    file = tmp_path / "tidegate.yaml"
    file.write_text(
        "repository: {path: models}\nauth: {keys: keys.yaml}\n"
        "tenants:\n  key billing: {requests_per_s: 0.5, burst: 9}\n  'certificate dns:a.example': {concurrency: 4}\n  anonymous: {}\n"
        "default_tenant: {bytes_per_s: 1000000}\n"
    )
    config = load(file)
    assert {"key billing": (0.5, 9), "certificate dns:a.example": (None, None), "anonymous": (None, None)} == {
        name: (tenant.requests_per_s, tenant.burst) for name, tenant in config.tenants.items()
    }
    assert (("key billing", "certificate dns:a.example", "anonymous"), True, False) == (
        metered(config.tenants, config.default_tenant), config.default_tenant.has_quota, config.tenants["anonymous"].has_quota,
    )  # fmt: skip
    assert metered(PLAIN.tenants, PLAIN.default_tenant) is None


def test_a_reload_takes_quotas_over() -> None:
    """All of them, and those of credentials only where credentials are asked for."""
    named = {"key billing": Tenant(concurrency=2)}
    before = msgspec.structs.replace(PLAIN, auth=AUTH, default_tenant=Tenant(concurrency=1))
    after = msgspec.structs.replace(PLAIN, auth=AUTH, tenants=named)
    taken, restart = differences(before, after)
    assert [] == restart
    assert {"default_tenant.concurrency: 1 -> unset", "tenants.key billing"} <= {line.partition(": unset")[0] for line in taken}
    assert (named, Tenant()) == (taken_over(before, after).tenants, taken_over(before, after).default_tenant)
    with pytest.raises(MisfitError, match="nobody shows a credential"):
        taken_over(PLAIN, after)
