"""JSON text without its strings, or with numbers for the tokens among them. Linear in the text, and in memory bounded by it.

`re.sub` keeps an object of each match and each gap until it joins them, 160 bytes for a string of 3: so a long text is turned over in
runs of at most `_RUN_LENGTH` matches. The text may be no JSON at all; what follows a string that does not end is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

SMALL_BYTES = 65_536  # of text that is turned over at once: 3 MiB if all of it is empty strings
_RUN_LENGTH = 4_096
_TEXT = rb'"(?:[^"\\]|\\.)*+"'
_STRING = re.compile(_TEXT)
_STRING_OR_TOKEN = re.compile(_TEXT + rb"|NaN|Infinity")
_RUN = re.compile(rb'(?:[^"NI]*+(?:%b|NaN|Infinity|[NI])){1,%d}+' % (_TEXT, _RUN_LENGTH))


def without_strings(text: bytes, most: int | None = None, *, mark: bytes = b"") -> tuple[bytes, int]:
    """The text with `mark` in place of every string, and how many there were; past `most` of them the rest is not looked at."""
    pieces, count = [], 0
    for run in _runs(text):
        piece, found = _STRING.subn(mark, run)
        pieces.append(piece)
        count += found
        if most is not None and count > most:
            break
    return b"".join(pieces), count


def tokens_as_numbers(text: bytes, nan: bytes = b"1.0", infinity: bytes = b"1.000000") -> bytes:
    """The text with these numbers in place of NaN and Infinity, but for those within strings."""

    def number(match: re.Match[bytes]) -> bytes:
        found = match[0]
        return found if found[:1] == b'"' else nan if found == b"NaN" else infinity

    return b"".join([_STRING_OR_TOKEN.sub(number, run) for run in _runs(text)])


def _runs(text: bytes) -> Iterator[bytes]:
    """The text in pieces that cut no string and no token."""
    at = 0
    while len(text) - at > SMALL_BYTES:
        run = _RUN.match(text, at)
        if run is None:
            break
        yield text[at : run.end()]
        at = run.end()
    yield text[at:]
