"""JSON objects that have one value for each of the same names, one object or a list of them, turned into one text for each name.

An object with another name, or without one of them, is refused with its place. A value costs some 90 bytes until its column is joined,
and with its name no less than six of text: a body may have as many of them as it can hold.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from operator import attrgetter, itemgetter
from typing import Any

import msgspec
from msgspec import Raw

from gateway.errors import TidegateError, invalid, too_large
from gateway.limits import RequestLimits
from gateway.protocol.json_strings import without_strings
from gateway.protocol.tensors import shown

_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`", re.DOTALL)
_INDEX = re.compile(r"\$\[(\d+)\]")
_ESCAPED = re.compile(r'["\\\x00-\x1f]')  # what JSON writes otherwise; a struct's field cannot be called so
_TWICE = "the JSON of the request has the same key twice in one object"
_JOINED_AT_ONCE = 4_096  # values, each of which costs 80 bytes while it is joined


def columns(text: bytes, names: tuple[str, ...], *, many: bool, model: str, limits: RequestLimits) -> list[bytes]:
    """The text of the value under each name; with `many`, `text` is a list of objects, and so is that of each name a list of values.

    `text` is valid JSON. Raises INVALID_ARGUMENT for objects that have not exactly these names, each once; TOO_LARGE where names have
    characters that JSON escapes and the text is larger than `max_envelope_bytes`.
    """
    reader = _reader(names)
    if reader.large and len(text) > limits.max_envelope_bytes:
        raise too_large(f"the objects by input name are larger than {limits.max_envelope_bytes} bytes")
    try:
        objects = reader.read_many(text) if many else [reader.read_one(text)]
        reader.check(objects)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _misfit(str(error), many=many, model=model) from None
    found = [_joined(list(map(getter, objects))) for getter in reader.getters]
    if reader.marks(text) != sum(map(reader.marks, found)) + reader.marks_of_name * len(names) * len(objects):
        raise invalid(_TWICE)  # each name is there and no other, so what is more is there twice
    return [b"[%b]" % column for column in found] if many else found


class _Reader:
    """Reads objects with these names into structs of texts."""

    large = False  # costs so much that the text must be short
    marks_of_name = 2

    def __init__(self, names: tuple[str, ...]) -> None:
        fields = {f"value_{index}": name for index, name in enumerate(names)}
        row = msgspec.defstruct("Row", [(field, Raw) for field in fields], rename=fields, forbid_unknown_fields=True, gc=False)
        self.read_one: Callable[[bytes], Any] = msgspec.json.Decoder(row).decode
        self.read_many: Callable[[bytes], list[Any]] = msgspec.json.Decoder(list[row]).decode  # type: ignore[valid-type]
        self.getters: list[Callable[[Any], Raw]] = [attrgetter(field) for field in fields]

    def check(self, objects: Sequence[Any]) -> None:
        """Raise msgspec.ValidationError where the names are others: the parser has done so."""

    def marks(self, text: bytes) -> int:
        """What a name adds to a text, counted: quotes."""
        return text.count(b'"')


class _AnyReader(_Reader):
    """The same for names of any characters, into dictionaries; counts whole strings, whatever they hold."""

    large = True
    marks_of_name = 1

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self.read_one = msgspec.json.Decoder(dict[str, Raw]).decode
        self.read_many = msgspec.json.Decoder(list[dict[str, Raw]]).decode
        self.getters = [itemgetter(name) for name in names]

    def check(self, objects: Sequence[Any]) -> None:
        """Raise msgspec.ValidationError where the names are others, in the parser's words."""
        for index, one in enumerate(objects):
            for name in self._names:
                if name not in one:
                    raise msgspec.ValidationError(f"Object missing required field `{name}` - at `$[{index}]`")
            for name in one:
                if name not in self._names:
                    raise msgspec.ValidationError(f"Object contains unknown field `{name}` - at `$[{index}]`")

    def marks(self, text: bytes) -> int:
        return without_strings(text)[1]


@functools.lru_cache(maxsize=256)
def _reader(names: tuple[str, ...]) -> _Reader:
    return _AnyReader(names) if any(_ESCAPED.search(name) for name in names) else _Reader(names)


def _joined(values: list[Raw]) -> bytes:
    """The values between commas."""
    if len(values) <= _JOINED_AT_ONCE:
        return b",".join(values)
    runs = [values[at : at + _JOINED_AT_ONCE] for at in range(0, len(values), _JOINED_AT_ONCE)]
    return b",".join([b",".join(run) for run in runs])


def _misfit(reason: str, *, many: bool, model: str) -> TidegateError:
    """Which object does not have the names, and which of them."""
    before, at, path = reason.rpartition(" - at `")
    what = before if at else reason
    place = _INDEX.match(path) if at and many else None
    where = f" in instance {place[1]}" if place else ""
    if unknown := _UNKNOWN.match(what):
        return invalid(f"unexpected inference input '{shown(unknown[1])}' for model '{shown(model)}'{where}")
    if missing := _MISSING.match(what):
        return invalid(f"missing required input '{shown(missing[1])}' for model '{shown(model)}'{where}")
    return invalid(f"an object with a value for each input of model '{shown(model)}' is expected{where}: {what}")
