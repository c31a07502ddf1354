"""A real S3 server on loopback, and a proxy before it that loses answers."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from registry.objects import ObjectMedium, object_medium
from tests.integration.proxy import Proxy

ACCESS, SECRET, BUCKET = "tidegate", "tidegate-secret", "registry"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an S3 server with one empty bucket."""
    data = tmp_path_factory.mktemp("s3")
    (data / BUCKET).mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    environment = {"ROOT_ACCESS_KEY": ACCESS, "ROOT_SECRET_KEY": SECRET, "PATH": os.environ["PATH"], "HOME": str(data)}
    command = [os.environ["TIDEGATE_S3_SERVER"], "--quiet", "--port", f"127.0.0.1:{port}", "posix", str(data)]
    with (data.parent / "s3.log").open("wb") as log:
        child = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        _until_open(port, child)
        yield port
    finally:
        child.terminate()
        child.wait(30)


def _until_open(port: int, child: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        assert child.poll() is None, "the server ended"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            threading.Event().wait(0.1)
        else:
            return
    raise AssertionError("the server does not listen")


def options(port: int) -> dict[str, str]:
    """What obstore needs for it."""
    return {
        "aws_endpoint": f"http://127.0.0.1:{port}",
        "aws_access_key_id": ACCESS,
        "aws_secret_access_key": SECRET,
        "aws_region": "us-east-1",
    }


@pytest.fixture
def url(request: pytest.FixtureRequest) -> str:
    """A prefix of its own for each test."""
    return f"s3://{BUCKET}/{request.node.name.replace('[', '-').replace(']', '')}"


@pytest.fixture
def medium(server: int, url: str) -> ObjectMedium:
    """That prefix, without copies on this machine."""
    return object_medium(url, options=options(server))


@pytest.fixture
def proxied(server: int, url: str, tmp_path: Path) -> Iterator[Callable[[], tuple[Proxy, ObjectMedium]]]:
    """The prefix by way of a proxy."""
    with Proxy(server) as proxy:
        yield lambda: (proxy, object_medium(url, options=options(proxy.port), cache=tmp_path / "cache"))
