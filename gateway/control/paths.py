"""Names in paths. Raises `HttpRefusal`."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from gateway.wire.exchange import HttpRefusal


def not_found() -> HttpRefusal:
    """A path that leads nowhere."""
    return HttpRefusal(404, "Not Found")


def name_of(part: bytes) -> str:
    """A path segment, decoded once. What is not UTF-8 names nothing."""
    try:
        return unquote_to_bytes(part).decode()
    except UnicodeDecodeError:
        raise not_found() from None
