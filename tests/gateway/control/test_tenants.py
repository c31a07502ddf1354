"""Who shares a server as whom: a principal is a tenant on every transport, whatever was learned of messages and header blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gateway.config import ConfigError, load
from gateway.control.changes import differences, taken_over
from gateway.identity.tenants import ANONYMOUS, Tenant, Weights
from tests.gateway.control.desk import INFER, ROWS, STREAM, Desk, body, infer
from tests.gateway.control.test_guard import Crowd
from tests.gateway.wire import http1_wire

X = np.array([[1.0, 2.0]], np.float32)
HTTP_INFER = f"/v2/models/{ROWS}/infer"


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch):
    """`queued(desk)` is the list of tenants of all requests that the desk queues from now on."""

    def watch(desk: Desk) -> list[str]:
        found: list[str] = []
        submit = desk.batcher.submit
        monkeypatch.setattr(desk.batcher, "submit", lambda lane, item: (found.append(item.tenant), submit(lane, item))[1])
        return found

    return watch


def test_a_key_is_a_tenant_on_every_transport(queued) -> None:
    """By turns of two callers, so that each finds what the other has taught the server: unary, streamed, over both versions of HTTP, v1."""
    crowd = Crowd({"ann": ("infer:*",), "bob": ("infer:*",)})
    found = queued(crowd.desk)
    for name in ("ann", "bob", "ann", "bob", "ann"):
        assert 0 == crowd.call(name)
        assert (0, [True, True]) == crowd.streamed(name, infer(ROWS, X), infer(ROWS, X))
        assert 200 == crowd.post(name) == crowd.get(name, HTTP_INFER, sent=body([[1.0, 2.0]]))
        assert (
            200 == crowd.desk.http.ask("POST", f"/v1/models/{ROWS}:predict", b'{"instances": [[1.0]]}', *crowd_fields(crowd, name)).status
        )
        assert [f"key {name}"] * 6 == found
        found.clear()


def crowd_fields(crowd: Crowd, name: str) -> list[str]:
    return [f"{key}: {value}" for key, value in crowd.fields(name)]


def test_without_credentials_all_are_one(queued) -> None:
    """There is nothing to tell them apart by."""
    desk = Desk()
    found = queued(desk)
    desk.call(INFER, infer(ROWS, X))
    desk.open(STREAM, infer(ROWS, X))
    desk.http.send(http1_wire.post(HTTP_INFER, body([[1.0]])))
    assert [ANONYMOUS] * 3 == found


def test_weights_are_those_of_the_settings(tmp_path: Path) -> None:
    """By name, or the default; a reload takes them over."""
    old, new = (written(tmp_path, f"tenants: {{key ann: {{weight: {weight}}}}}\ndefault_tenant: {{weight: 0.5}}") for weight in (3, 4))
    weights = Weights(old.tenants, old.default_tenant)
    assert (3.0, 0.5) == (weights.of("key ann"), weights.of(ANONYMOUS))
    assert (["tenants.key ann.weight: 3.0 -> 4.0"], []) == differences(old, new)
    taken = taken_over(old, new)
    weights.configure(taken.tenants, taken.default_tenant)
    assert 4.0 == weights.of("key ann")
    assert Tenant() == written(tmp_path, "").default_tenant


def written(folder: Path, text: str):
    path = folder / "tidegate.yaml"
    path.write_text("repository: {path: m}\nauth: {keys: keys.yaml}\n" + text)
    return load(path)


@pytest.mark.parametrize("weight", ["0", "-1", "1001", "high"])
def test_a_weight_is_above_0(tmp_path: Path, weight: str) -> None:
    """Who is to have nothing should have no credential."""
    with pytest.raises(ConfigError, match=r"tenants\.key ann\.weight: expected a number from 0\.001 to 1000"):
        written(tmp_path, f"tenants: {{key ann: {{weight: {weight}}}}}")
