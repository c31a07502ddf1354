"""What is held against a request before its body is read: names in its path, its method, the kind of its body. Raises `HttpRefusal`."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from gateway.wire.exchange import Headers, HttpRefusal

_ACCEPTED_TYPES = frozenset((b"", b"application/json", b"application/octet-stream", b"application/x-www-form-urlencoded", b"text/json"))


def not_found() -> HttpRefusal:
    """A path that leads nowhere."""
    return HttpRefusal(404, "Not Found")


def name_of(part: bytes) -> str:
    """A path segment, decoded once. What is not UTF-8 names nothing."""
    try:
        return unquote_to_bytes(part).decode()
    except UnicodeDecodeError:
        raise not_found() from None


def allow(method: str, *allowed: str) -> None:
    """Other methods get 405 and the list of these."""
    if method not in allowed:
        raise HttpRefusal(405, "Method Not Allowed", [(b"allow", ", ".join(allowed).encode())])


def check_type(headers: Headers) -> None:
    """JSON and binary bodies only; curl's default type passes, forms with parts and pickles do not (CVE-2024-47874, CVE-2024-2912)."""
    kind = next((value for name, value in headers if name == b"content-type"), b"")
    if kind.partition(b";")[0].strip().lower() not in _ACCEPTED_TYPES:
        raise HttpRefusal(415, "content-type is not supported; use application/json or application/octet-stream")
