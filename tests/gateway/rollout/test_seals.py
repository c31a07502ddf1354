"""Signatures of webhooks against the specification's own example, and files of secrets that are none."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from gateway.rollout.seals import SecretError, Secrets, headers, signature

# From the test vectors of the Standard Webhooks libraries.
SECRET = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
ID, TIMESTAMP_S, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}'


def test_a_signature_is_the_one_of_the_standard() -> None:
    """HMAC-SHA256 over id, timestamp and body."""
    assert "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" == signature(SECRET, ID, TIMESTAMP_S, BODY)


def test_every_secret_of_a_file_signs(tmp_path: Path) -> None:
    """During a change a receiver may know either."""
    other = base64.b64encode(b"x" * 32)
    (tmp_path / "two").write_bytes(b"whsec_" + base64.b64encode(SECRET) + b"\n" + other + b"\n")
    found = headers(Secrets(tmp_path).read("two"), ID, TIMESTAMP_S, BODY)
    assert (ID, str(TIMESTAMP_S)) == (found["webhook-id"], found["webhook-timestamp"])
    assert [signature(SECRET, ID, TIMESTAMP_S, BODY), signature(b"x" * 32, ID, TIMESTAMP_S, BODY)] == found["webhook-signature"].split(" ")


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"whsec_", b"whsec_!!!!", b"short", base64.b64encode(b"x" * 23), base64.b64encode(b"x" * 65), b"\xff" * 40,
                b"\n".join([base64.b64encode(b"x" * 32)] * 5), base64.b64encode(b"x" * 32) + b" " * 5_000],
)  # fmt: skip
def test_a_file_that_has_no_secrets_is_refused_without_showing_it(tmp_path: Path, content: bytes) -> None:
    """Empty, not base64, too short, too long, too many."""
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(SecretError) as raised:
        Secrets(tmp_path).read("f")
    assert "'f'" in str(raised.value)
    assert not content.strip() or content.decode("latin-1").strip() not in str(raised.value).replace("whsec_ and base64", "")


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "..", ".", "", "link", "sub/../../outside"])
def test_a_plan_names_no_file_elsewhere(tmp_path: Path, name: str) -> None:
    """Whoever may start a rollout must not have the server read what it can."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    (tmp_path / "outside").write_bytes(base64.b64encode(SECRET))
    (folder / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(SecretError, match=r"is not in the directory of webhooks\.secrets"):
        Secrets(folder).read(name)


def test_an_absolute_path_may_lead_into_the_directory(tmp_path: Path) -> None:
    """As plans are written."""
    (tmp_path / "f").write_bytes(base64.b64encode(SECRET))
    assert (SECRET,) == Secrets(tmp_path).read(str(tmp_path / "f"))
    with pytest.raises(SecretError, match="cannot be read: No such file"):
        Secrets(tmp_path).read("absent")
    with pytest.raises(SecretError, match=r"webhooks\.secrets is not set"):
        Secrets(None).read("f")
