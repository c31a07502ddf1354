"""One bounded POST to a URL that somebody else chose: only to addresses that it may lead to, without redirects, proxies or credentials.

The name is resolved once, every address that it has is judged, and the connection goes to one of those: a name that means something else a
moment later changes nothing. Knows HTTP/1.1 as far as one answer's head. Blocks.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gateway.wire.tls import TlsError, trusting

MAX_URL_BYTES = 2_048
_MAX_HEAD_BYTES = 16_384
_URL = re.compile(r"[!-~]+")  # what needs no escape in a request line
_DAY_S = 86_400.0
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[..., list[tuple[Any, ...]]]


class PostError(Exception):
    """It did not arrive; the text says why and repeats nothing of the answer but its status.

    `gone`: the receiver wants no more of it. `wait_s`: it asked not to be tried sooner. `status`: what it answered with,
    0 where it did not.
    """

    def __init__(self, message: str, *, gone: bool = False, wait_s: float = 0.0, status: int = 0) -> None:
        super().__init__(message)
        self.gone = gone
        self.wait_s = wait_s
        self.status = status


class UrlError(PostError):
    """The URL is none, or leads where nothing may be sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a URL leads, once its name is resolved."""

    secure: bool
    host: str
    authority: str  # as the Host field has it
    target: str  # path and query
    family: int
    address: tuple[Any, ...]


class Poster:
    """How messages leave. One for all receivers; keeps no connection."""

    def __init__(
        self,
        *,
        networks: Sequence[str] = (),
        authorities: Path | None = None,
        timeout_s: float,
        now: Callable[[], float],
        resolve: Resolve = socket.getaddrinfo,
    ) -> None:
        """`networks` are those beyond the public ones that may be sent to; http is for them alone."""
        self._networks = [ipaddress.ip_network(network) for network in networks]
        self._authorities = authorities
        self._timeout_s = timeout_s
        self._now = now
        self._resolve = resolve

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> None:
        """Send, and have it accepted with a status from 200 to 299 within the time limit. Raises PostError."""
        until = self._now() + self._timeout_s
        try:
            place = self._place(url)
            with socket.socket(place.family, socket.SOCK_STREAM) as plain:
                plain.settimeout(self._left(until))
                plain.connect(place.address)
                with self._secured(plain, place) as sock:
                    sock.sendall(_request(place, headers, body))
                    head = self._head(sock, until)
        except TimeoutError:
            raise PostError(f"no answer within {self._timeout_s:g} s") from None
        except (OSError, TlsError, UnicodeError) as error:  # the last for a name that no resolver takes
            raise PostError(f"cannot be reached: {getattr(error, 'strerror', None) or error}") from None
        _check(head)

    def _place(self, url: str) -> _Place:
        """Raises UrlError for a URL that is none, or leads where it may not; OSError where nobody knows its name."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise UrlError("the URL is none") from None
        if parts.scheme not in ("http", "https") or not host or not _URL.fullmatch(url) or len(url) > MAX_URL_BYTES:
            raise UrlError("the URL must begin with https:// and name a host")
        if "@" in parts.netloc or parts.fragment:
            raise UrlError("the URL must have no user, password or fragment")
        secure = parts.scheme == "https"
        found = self._resolve(host, port or (443 if secure else 80), type=socket.SOCK_STREAM)
        for *_, address in found:
            self._judge(str(address[0]), secure=secure)
        if not found:
            raise UrlError("the URL's host has no address")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return _Place(secure=secure, host=host, authority=parts.netloc, target=target, family=found[0][0], address=found[0][4])

    def _judge(self, text: str, *, secure: bool) -> None:
        """Of several addresses of a name, one that may not be sent to is one too many."""
        address = actual(ipaddress.ip_address(text.partition("%")[0]))
        if any(address in network for network in self._networks if network.version == address.version):
            return
        if not address.is_global or address.is_multicast or getattr(address, "is_site_local", False):
            raise UrlError("the URL leads to an address that is not public, and webhooks.networks does not name it")
        if not secure:
            raise UrlError("the URL must begin with https://")

    def _secured(self, sock: socket.socket, place: _Place) -> socket.socket:
        return trusting(self._authorities).wrap_socket(sock, server_hostname=place.host) if place.secure else sock

    def _head(self, sock: socket.socket, until: float) -> bytes:
        """The head of the final answer; what is said before it (1xx) is passed over."""
        received = b""
        while True:
            head, end, rest = received.partition(b"\r\n\r\n")
            if end and head[9:10] != b"1":
                return head
            if end:
                received = rest
                continue
            if len(received) > _MAX_HEAD_BYTES:
                raise PostError(f"answered with a head of more than {_MAX_HEAD_BYTES} bytes")
            sock.settimeout(self._left(until))
            piece = sock.recv(4_096)
            if not piece:
                raise PostError("the connection ended before an answer")
            received += piece

    def _left(self, until: float) -> float:
        left = until - self._now()
        if left <= 0:
            raise TimeoutError
        return left


def actual(address: Address) -> Address:
    """What an address stands for: the IPv4 one inside an IPv6 one that is only a way to write or to reach it."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None) or address


def _request(place: _Place, headers: Mapping[str, str], body: bytes) -> bytes:
    fields = {"host": place.authority, "connection": "close", "user-agent": "tidegate", "content-length": str(len(body)), **headers}
    lines = [f"POST {place.target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body


def _check(head: bytes) -> None:
    """Raises PostError for an answer that is no success."""
    first, *fields = head.decode("latin-1").split("\r\n")
    found = re.fullmatch(r"HTTP/1\.[01] ([2-5][0-9][0-9])( .*)?", first)
    if found is None:
        raise PostError("the answer is no HTTP/1.1")
    status = int(found[1])
    if not 200 <= status < 300:
        raise PostError(f"answered with status {status}", gone=status == 410, wait_s=_wait_s(fields), status=status)


def _wait_s(fields: Sequence[str]) -> float:
    """Retry-After in seconds, at most a day; dates are not understood."""
    values = [value.strip() for name, _, value in (field.partition(":") for field in fields) if name.lower() == "retry-after"]
    seconds = next((value for value in values if re.fullmatch(r"[0-9]{1,9}", value)), "0")
    return min(float(seconds), _DAY_S)
