"""One POST to a URL that somebody else chose: where it may lead, and whatever may be answered."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import SystemClock
from gateway.rollout.posting import Poster, PostError, actual
from tests.gateway.rollout.receiver import Receiver

HERE = ("127.0.0.0/8",)


def poster(networks: tuple[str, ...] = HERE, *, timeout_s: float = 5.0, resolve: Any = socket.getaddrinfo) -> Poster:
    return Poster(networks=networks, timeout_s=timeout_s, now=SystemClock().now, resolve=resolve)


def resolving(*addresses: str) -> Any:
    """A resolver that knows one name, and fails the test where it is asked twice."""
    asked: list[str] = []

    def resolve(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        asked.append(host)
        assert 1 == len(asked)
        return [(socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in addresses]

    return resolve


def test_a_message_arrives_as_it_was_given() -> None:
    """With its own headers, a length, and the host that the URL names."""
    with Receiver() as receiver:
        poster().post(receiver.url, {"content-type": "a/b", "webhook-id": "x"}, b'{"a": 1}')
    (got,) = receiver.received
    assert ("POST /hook?a=b HTTP/1.1", b'{"a": 1}') == (got.line, got.body)
    assert ("a/b", "x", f"127.0.0.1:{receiver.port}", "close") == tuple(
        got.headers[name] for name in ("content-type", "webhook-id", "host", "connection")
    )


def test_what_comes_before_the_answer_is_passed_over() -> None:
    """103 and 100, in one piece with it."""
    with Receiver([b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"]) as receiver:
        poster().post(receiver.url, {}, b"")
    assert 1 == len(receiver.received)


@pytest.mark.parametrize(
    ("answer", "text", "gone", "wait_s"),
    [
        (b"HTTP/1.1 500 Oops\r\n\r\nsecret", "answered with status 500", False, 0.0),
        (b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\n\r\n", "answered with status 302", False, 0.0),
        (b"HTTP/1.1 410 Gone\r\n\r\n", "answered with status 410", True, 0.0),
        (b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 120\r\n\r\n", "answered with status 429", False, 120.0),
        (b"HTTP/1.1 503 \r\nretry-after: Wed, 21 Oct 2015 07:28:00 GMT\r\n\r\n", "answered with status 503", False, 0.0),
        (b"HTTP/1.1 503\r\nretry-after: 999999999\r\n\r\n", "answered with status 503", False, 86_400.0),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "the answer is no HTTP/1.1", False, 0.0),
        (b"HTTP/1.1 200 OK\r\n", "the connection ended before an answer", False, 0.0),
        (None, "the connection ended before an answer", False, 0.0),
        (b"x" * 40_000, "answered with a head of more than 16384 bytes", False, 0.0),
    ],
)
def test_anything_but_success_is_said_without_what_came(answer: bytes | None, text: str, gone: bool, wait_s: float) -> None:
    """A redirect is a status like others."""
    with Receiver([answer]) as receiver, pytest.raises(PostError) as raised:
        poster().post(receiver.url, {}, b"")
    assert (text, gone, wait_s) == (str(raised.value), raised.value.gone, raised.value.wait_s)


def test_a_receiver_that_dawdles_is_given_up_in_time() -> None:
    """The limit is of everything together, however often something comes."""
    times = iter([0.0, 0.0, 1.0, 11.0])
    with Receiver([b"HTTP/1.1 "]) as receiver, pytest.raises(PostError, match="no answer within 10 s"):
        Poster(networks=HERE, timeout_s=10.0, now=lambda: next(times)).post(receiver.url, {}, b"")


def test_a_silent_receiver_is_given_up() -> None:
    """It takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening, pytest.raises(PostError, match=r"no answer within 0\.05 s"):
        poster(timeout_s=0.05).post(f"http://127.0.0.1:{listening.getsockname()[1]}/", {}, b"")


PRIVATE = [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1",
    "192.0.2.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::1", "2001:db8::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public_is_not_sent_to(address: str) -> None:
    """By name or written out, also inside an address of another form; the cloud's metadata service is one of them."""
    with pytest.raises(PostError, match="leads to an address that is not public"):
        poster((), resolve=resolving(address)).post("https://hook.example/", {}, b"")
    with pytest.raises(PostError, match="leads to an address that is not public"):
        poster((), resolve=resolving("93.184.216.34", address)).post("https://hook.example/", {}, b"")


def test_the_name_is_asked_for_once_and_connected_to_as_it_was_judged() -> None:
    """What it means a moment later changes nothing (DNS rebinding)."""
    with Receiver() as receiver:
        poster(resolve=resolving("127.0.0.1")).post(f"http://hook.example:{receiver.port}/", {}, b"")
    assert f"hook.example:{receiver.port}" == receiver.received[0].headers["host"]


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://hook.example/", "must begin with https://"),
        ("ftp://hook.example/", "must begin with https:// and name a host"),
        ("file:///etc/passwd", "must begin with https:// and name a host"),
        ("https:///path", "must begin with https:// and name a host"),
        ("", "must begin with https:// and name a host"),
        ("https://hook.example/ HTTP/1.1\r\nX: y", "must begin with https:// and name a host"),
        ("https://hook.example/ü", "must begin with https:// and name a host"),
        ("https://hook.example/" + "x" * 3_000, "must begin with https:// and name a host"),
        ("https://user:secret@hook.example/", "must have no user, password or fragment"),
        ("https://hook.example/#x", "must have no user, password or fragment"),
        ("https://hook.example:99999/", "the URL is none"),
        ("https://[::1/", "the URL is none"),
    ],
)
def test_a_url_that_is_none_is_refused(url: str, text: str) -> None:
    """Before anything is asked, but for plain http, where the address decides."""
    with pytest.raises(PostError, match=text):
        poster((), resolve=resolving("93.184.216.34")).post(url, {}, b"")


def test_a_name_that_nobody_knows_is_unreachable() -> None:
    """Also one that no resolver takes."""

    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(PostError, match="cannot be reached: Name or service not known"):
        poster(resolve=unknown).post("https://hook.example/", {}, b"")
    with pytest.raises(PostError, match="cannot be reached"):
        poster().post("https://" + "a" * 70 + ".example/", {}, b"")
    with pytest.raises(PostError, match="has no address"):
        poster(resolve=resolving()).post("https://hook.example/", {}, b"")


def test_a_refused_connection_is_said() -> None:
    """Nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(PostError, match="cannot be reached: Connection refused"):
        poster().post(f"http://127.0.0.1:{port}/", {}, b"")


@given(st.ip_addresses(v=4))
def test_an_address_inside_another_form_is_judged_as_what_it_is(address: Any) -> None:
    """Mapped, 6to4 and NAT64."""
    number = int(address)
    forms = [f"::ffff:{address}", f"64:ff9b::{number >> 16:x}:{number & 0xFFFF:x}", f"2002:{number >> 16:x}:{number & 0xFFFF:x}::"]
    assert {address} == {actual(ipaddress.ip_address(form)) for form in forms}
    assert address == actual(address)
