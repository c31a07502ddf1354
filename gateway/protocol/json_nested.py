"""Nested lists that come without a shape beside them: the shape that they have, and where they are ragged. Knows no datatypes.

Read off the structure of a text, which is its brackets and commas outside strings: linear in it, and nothing is made for each list.
"""

from __future__ import annotations

import re

import numpy as np

_NOT_STRUCTURE = bytes(c for c in range(256) if c not in b"[],")
_FIRST_IS_EMPTY = re.compile(rb"[\[ \t\r\n]*+\]")
_EMPTY_LIST = re.compile(rb"\[[ \t\r\n]*+\]")
_ELEMENT = re.compile(rb"[^\[\], \t\r\n]")
_BLANKS, _LISTS = b" \t\r\n", b"[], \t\r\n"
_OPEN, _CLOSE, _COMMA = b"[],"
_MAX_SHOWN = 8  # indices of a path, each of which costs a look at the whole text


class RaggedError(Exception):
    """Lists of one level have different lengths, or stand beside what is none. `path` leads there: `[1][0]`."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


def structure_of(text: bytes) -> bytes:
    """Brackets and commas of a text without strings."""
    return text.translate(None, _NOT_STRUCTURE)


def rank_of(structure: bytes) -> int:
    """How deep the first element lies."""
    return len(structure) - len(structure.lstrip(b"["))


def shape_of(text: bytes, structure: bytes) -> tuple[int, ...]:
    """The shape of the lists of `text`, a valid JSON value whose brackets and commas are `structure`; () for one that is no list.

    Strings in `text` have been replaced by something without brackets and commas. An empty list ends the shape: nothing says what its
    elements would be. Raises RaggedError.
    """
    if not text.startswith(b"["):
        return ()
    rank = rank_of(structure)
    sizes: list[int] = []
    element = b""  # the structure of each element of a level, if the first one is as they all are
    for depth in range(1, rank + 1):
        end = structure.find(b"]" * depth)  # of the first list of this depth, counted from within
        length = (end if end >= 0 else len(structure)) + depth - (rank - depth)
        size = 0 if depth == 1 and _FIRST_IS_EMPTY.match(text) else -(-(length - 1) // (len(element) + 1))
        element = b"[" + ((element + b",") * size)[:-1] + b"]"
        sizes.append(size)
    if element != structure:
        raise RaggedError(_departure(structure, element))
    _check_alike(text, sizes[0])
    return tuple(reversed(sizes))


def _check_alike(text: bytes, size: int) -> None:
    """`[]` and `[1]` have the same structure: refuse the one among the others."""
    odd = None
    if size == 1 and b"[]" in text.translate(None, _BLANKS):
        odd = _EMPTY_LIST.search(text)
    elif not size and text.translate(None, _LISTS):
        odd = _ELEMENT.search(text)
    if odd is not None:
        indices = _indices_behind(structure_of(text[: odd.start()]))
        raise RaggedError(_path(indices if size else indices[:-1]))


def path_behind(prefix: bytes) -> str:
    """The indices of what follows `prefix`, the beginning of a structure: `[1][0]`. Not more than 8 of them; empty outside of lists."""
    return _path(_indices_behind(prefix))


def _indices_behind(prefix: bytes) -> list[int]:
    octets = np.frombuffer(prefix, np.uint8)
    depths = np.cumsum((octets == _OPEN).view(np.int8) - (octets == _CLOSE).view(np.int8), dtype=np.int16)
    indices, start = [], 0
    for depth in range(1, min(int(depths[-1]) if prefix else 0, _MAX_SHOWN) + 1):
        shallower = depths < depth  # the last of them stands before the list of this depth that is still open
        start = len(prefix) - int(shallower[::-1].argmax()) if shallower.any() else 0
        indices.append(int(((octets[start:] == _COMMA) & (depths[start:] == depth)).sum()))
    return indices


def _departure(structure: bytes, expected: bytes) -> str:
    """The list in which `structure` departs from what its first elements promise, or the element where that list is the outermost."""
    size = min(len(structure), len(expected))
    at = int((np.frombuffer(structure, np.uint8, size) != np.frombuffer(expected, np.uint8, size)).argmax())
    indices = _indices_behind(structure[:at])
    return _path(indices[:-1] or indices)


def _path(indices: list[int]) -> str:
    return "".join([f"[{index}]" for index in indices])
