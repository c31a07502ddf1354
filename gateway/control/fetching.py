"""Asking a URL of the settings: one bounded question over HTTP, without redirects, proxies or credentials. Blocks."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

from gateway.wire.tls import TlsError, trusting

_PIECE_BYTES = 64 << 10


class FetchError(Exception):
    """No answer of use; the text says why, and no more of what came than its status."""


def fetch(url: str, *, authorities: Path | None, timeout_s: float, max_bytes: int, now: Callable[[], float]) -> bytes:
    """What lies at a URL, at most twice `timeout_s` later. Raises FetchError."""
    try:
        opener = _opener(authorities)
        request = urllib.request.Request(url, headers={"accept": "application/json"})  # noqa: S310 - https, or this machine
        with opener.open(request, timeout=timeout_s) as answer:
            return _content(answer, max_bytes, now, until=now() + timeout_s)
    except urllib.error.HTTPError as error:
        error.close()
        raise FetchError(f"answered with status {error.code}") from None
    except TimeoutError:
        raise FetchError(f"no answer within {timeout_s:g} s") from None
    except (OSError, HTTPException, ValueError, TlsError) as error:
        raise FetchError(f"cannot be asked: {getattr(error, 'reason', error)}") from None


def _opener(authorities: Path | None) -> urllib.request.OpenerDirector:
    """Nothing but the two protocols: a redirect is a status like others, and the environment names no proxy."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=trusting(authorities)),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _content(answer: Any, max_bytes: int, now: Callable[[], float], *, until: float) -> bytes:
    pieces, size = [], 0
    while piece := answer.read1(_PIECE_BYTES):
        pieces.append(piece)
        size += len(piece)
        if size > max_bytes:
            raise FetchError(f"answered with more than {max_bytes} bytes")
        if now() > until:
            raise FetchError("takes too long to answer")
    return b"".join(pieces)
