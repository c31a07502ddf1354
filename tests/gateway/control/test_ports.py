"""Sockets of a server: bound or refused with the reason, and free ones found."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.config import Config, Repository, Server
from gateway.control import ports, supervisor
from gateway.control.sockets import addresses, bind
from gateway.observe import logs


@pytest.fixture
def taken() -> Iterator[int]:
    """A loopback port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()[1]


def test_a_port_that_is_taken_is_named_and_nothing_is_served(
    taken: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The exit status is 1; no second server on one port, which SO_REUSEPORT would allow."""
    monkeypatch.setattr(logs, "configure", lambda settings: None)
    server = Server(http_port=0, grpc_port=taken, metrics_port=0)
    with caplog.at_level(logging.ERROR):
        assert 1 == supervisor.run(Config(server=server, repository=Repository(path=Path("nowhere"))))
    assert [f"cannot listen: 127.0.0.1:{taken}: Address already in use"] == caplog.messages


def test_sockets_listen_from_the_moment_they_are_bound() -> None:
    """A caller who comes before any worker waits in the queue of the socket."""
    bound = bind(Server(http_port=0, grpc_port=0, metrics_port=0))
    for name, address in addresses(bound).items():
        host, _, port = address.rpartition(":")
        socket.create_connection((host, int(port)), timeout=1).close()
        bound[name].close()


def test_ports_that_are_taken_are_replaced_by_free_ones(taken: int) -> None:
    """The others stay as they are; all are different."""
    chosen = ports.choose("127.0.0.1", [taken, 0, taken])
    assert (0, 3) == (chosen[1], len(set(chosen)))
    assert [False, True, True] == [ports.is_free("127.0.0.1", port) for port in (taken, chosen[0], chosen[2])]


def test_a_host_of_another_machine_is_an_error_not_a_taken_port() -> None:
    """192.0.2.0/24 is nobody's (RFC 5737)."""
    with pytest.raises(OSError, match="assign"):
        ports.is_free("192.0.2.1", 0)


def test_a_port_that_may_not_be_bound_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below 1024, for those without the right."""

    def refuse(self: socket.socket, address: object) -> None:
        raise PermissionError

    monkeypatch.setattr(ports.socket, "socket", type("Refusing", (socket.socket,), {"bind": refuse}))
    assert not ports.is_free("127.0.0.1", 80)
