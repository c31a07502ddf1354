"""A server's models from a registry on a real S3 server: by URL, with options, and from the cache while the store is away."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gateway.client import Client
from gateway.clock import SystemClock
from gateway.config import Config, Repository
from gateway.serving.loading import Loader, open_repository
from registry.errors import RegistryError
from registry.store import Store
from tests.e2e.server import starting
from tests.gateway.serving import graphs
from tests.integration.conftest import SECRET, options
from tests.integration.proxy import Proxy


def fill(server: int, url: str, folder: Path) -> None:
    """Two versions of `m`, the first of which is the champion."""
    from registry.publish import publish

    store = Store.create(url, options=options(server))
    for weight in (2.0, 3.0):
        path = graphs.saved(folder / f"{weight}.onnx", graphs.twice(weight=weight))
        publish(store, path, name="m", publisher="ann", now_s=1e9)
    store.aliases("m").move("champion", to=1, expected_from=None, actor="ann", reason="", now_s=1e9)


def test_a_server_of_a_url(server: int, url: str, tmp_path: Path) -> None:
    """The whole process: the champion answers, and the log repeats no secret."""
    fill(server, url, tmp_path)
    more = f"repository:\n  path: {url}\n  options: {json.dumps(options(server))}\n  cache: cache\n"
    with starting(tmp_path, Path("unused"), more) as running:
        running.wait_ready()
        with Client(f"127.0.0.1:{running.grpc_port}") as client:
            answer = client.infer("m", {"x": [[1.0, 2.0]]}, version="champion")
        assert ("1", [[2.0, 4.0]]) == (answer.version, answer.outputs["y"].tolist())
        assert SECRET not in running.log.read_text()
    assert list((tmp_path / "cache").iterdir())


def test_the_cache_serves_while_the_store_is_away(server: int, url: str, tmp_path: Path) -> None:
    """Versions, aliases and what versions say of themselves; without a cache the reason is said."""
    fill(server, url, tmp_path)
    with Proxy(server) as proxy:
        near = Repository(path=url, options=options(proxy.port), cache=tmp_path / "cache")
        far = Repository(path=url, options=options(proxy.port))
        for down in (False, True):
            proxy.down = down
            loader = Loader(Config(repository=near), lambda version, item, code: None, SystemClock().now)
            version = loader.load(open_repository(near)).resolve("m", "champion")
            assert [[4.0]] == version.model.run([np.array([[2.0, 0.0]], np.float32)])[0][:, :1].tolist()
        with pytest.raises(RegistryError, match=r"says the object store: it cannot be reached"):
            open_repository(far)
