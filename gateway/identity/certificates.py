"""Client certificates as callers: the names in one, as the settings write them. Knows no TLS: who does, says the names."""

from __future__ import annotations

import msgspec

KINDS = ("dns", "uri", "email", "ip", "cn")  # the first four are subject alternative names, the last is the subject's common name
ANY = "*"
MAX_NAMES = 64  # of one certificate that are looked at


class Certificate(msgspec.Struct, frozen=True):
    """What a caller has shown and TLS has checked: names as `kind:name`, and until when it is good, in seconds since the Unix epoch."""

    names: tuple[str, ...]
    expires_s: float


def problem_of_name(name: str) -> str:
    """What is wrong with a name as the settings write it; "" for nothing."""
    kind, colon, rest = name.partition(":")
    if name == ANY or (colon and kind in KINDS and rest):
        return ""
    return f"expected {', '.join([f'{kind}:NAME' for kind in KINDS])} or {ANY}"
