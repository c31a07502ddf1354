"""Tensors as frames between a worker and the process of a model: a fixed header, descriptions, data. Refuses to know sockets.

What is read comes from a process that may be broken: every length is bounded before anything is made of it, and every tensor has
exactly the bytes that its shape asks for.

A frame: the header; for each tensor its datatype, rank, place, offset and bytes, and its dimensions; then the inline data. Data of
larger tensors is in the writer's region instead.
"""

from __future__ import annotations

import enum
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from gateway.protocol.tensors import DATATYPES, Datatype

INLINE_BYTES = 16 << 10  # of one tensor: a larger one goes through the region, which is never slower (measured from 4 KiB on)
MAX_TENSORS = 256
MAX_RANK = 32
_MAX_DIMENSION = 1 << 40
MAX_TEXT_BYTES = 4 << 20
_ALIGN = 64
_HEADER = struct.Struct("<4sBBHQIId")  # magic, kind, flags, tensors, number, bytes of descriptions, inline bytes, seconds
_TENSOR = struct.Struct("<BBB5xQQ")  # datatype, rank, place, offset, bytes
_MAGIC = b"TgF1"
_LAST, _REGION = 1, 2  # flags
_INLINE, _SHARED = 0, 1  # places
_DIMENSIONS = tuple(struct.Struct(f"<{rank}Q") for rank in range(MAX_RANK + 1))
_TYPES = tuple(DATATYPES.values())
_NUMBERS = {kind.name: number for number, kind in enumerate(_TYPES)}
_MAX_DESCRIPTIONS = MAX_TENSORS * (_TENSOR.size + 8 * MAX_RANK)
_MAX_INLINE = max(MAX_TENSORS * (INLINE_BYTES + 8), MAX_TEXT_BYTES)
HEADER_BYTES = _HEADER.size


class FrameFault(Exception):
    """What was read is no frame; the text says why."""


class TooLargeFault(Exception):
    """Tensors that one frame may not carry. Nothing was sent."""


class Kind(enum.IntEnum):
    """What a frame says."""

    READY = 1  # the model is loaded; a text
    UNLOADABLE = 2  # it cannot be; a text
    RUN = 3  # inputs
    OUTPUTS = 4
    FAULT = 5  # the run failed; a text


_KINDS = {kind.value: kind for kind in Kind}


@dataclass(slots=True)
class Frame:
    """One message. It has tensors or a text."""

    kind: Kind
    number: int = 0  # of the run
    last: bool = False  # the process ends after this
    seconds: float = 0.0  # that the run took, without what it waited for a core
    text: bytes = b""
    datatypes: Sequence[str] = ()
    tensors: list[np.ndarray] = field(default_factory=list)


class Head(NamedTuple):
    """A header, its lengths within bounds."""

    kind: Kind
    last: bool
    brings_region: bool
    tensors: int
    number: int
    descriptions: int
    inline: int
    seconds: float
    size: int  # bytes of the whole frame


def encode(frame: Frame, reserve: Callable[[int], tuple[np.ndarray, bool]], max_bytes: int) -> bytes:
    """The frame. `reserve(size)` gives the region for large tensors and whether its reader does not know it yet. Raises TooLargeFault."""
    if not frame.tensors:
        return _HEADER.pack(_MAGIC, frame.kind, _LAST * frame.last, 0, frame.number, 0, len(frame.text), frame.seconds) + frame.text
    raws = [_raw(datatype, tensor) for datatype, tensor in zip(frame.datatypes, frame.tensors, strict=True)]
    if sum(map(len, raws)) > max_bytes or len(raws) > MAX_TENSORS:
        raise TooLargeFault(f"{len(raws)} tensors of {sum(map(len, raws))} bytes")
    descriptions: list[bytes] = []
    inline: list[np.ndarray | bytes] = []
    shared: list[tuple[int, np.ndarray | bytes]] = []
    at = [0, 0]
    for datatype, tensor, raw in zip(frame.datatypes, frame.tensors, raws, strict=True):
        place = _SHARED if len(raw) > INLINE_BYTES else _INLINE
        descriptions.append(_TENSOR.pack(_NUMBERS[datatype], tensor.ndim, place, at[place], len(raw)))
        descriptions.append(_DIMENSIONS[tensor.ndim].pack(*tensor.shape))
        if place == _SHARED:
            shared.append((at[place], raw))
            at[place] += -(-len(raw) // _ALIGN) * _ALIGN
        else:
            padding = -len(raw) % 8
            inline.append(raw)
            if padding:
                inline.append(bytes(padding))
            at[place] += len(raw) + padding
    flags = _LAST * frame.last | _REGION * _shared(shared, at[_SHARED], reserve)
    described = b"".join(descriptions)
    header = _HEADER.pack(_MAGIC, frame.kind, flags, len(raws), frame.number, len(described), at[_INLINE], frame.seconds)
    return b"".join([header, described, *inline])  # type: ignore[list-item]


def _shared(parts: list[tuple[int, np.ndarray | bytes]], size: int, reserve: Callable[[int], tuple[np.ndarray, bool]]) -> bool:
    """Write to the region. Whether it is a new one."""
    if not parts:
        return False
    octets, new = reserve(size)
    for at, raw in parts:
        octets[at : at + len(raw)] = np.frombuffer(raw, np.uint8)
    return new


def _raw(datatype: str, tensor: np.ndarray) -> np.ndarray | bytes:
    """The bytes of a tensor; of texts the lengths of all, then all."""
    if datatype != "BYTES":
        return tensor.tobytes() if tensor.nbytes <= INLINE_BYTES else np.ascontiguousarray(tensor).reshape(-1).view(np.uint8)
    texts = [text.encode("utf-8") for text in tensor.reshape(-1).tolist()]
    return np.array([len(text) for text in texts], "<u4").tobytes() + b"".join(texts)


def decode_head(octets: bytes | memoryview) -> Head:
    """A header with lengths that may be believed. Raises FrameFault."""
    magic, kind, flags, tensors, number, descriptions, inline, seconds = _HEADER.unpack_from(octets)
    if magic != _MAGIC or kind not in _KINDS or flags > _LAST | _REGION:
        raise FrameFault("it does not begin as a frame does")
    if tensors > MAX_TENSORS or descriptions > _MAX_DESCRIPTIONS or inline > _MAX_INLINE:
        raise FrameFault(f"it announces {tensors} tensors and {descriptions + inline} bytes")
    if not 0.0 <= seconds < math.inf:
        raise FrameFault("it took no time that can be")
    size = HEADER_BYTES + descriptions + inline
    return Head(_KINDS[kind], bool(flags & _LAST), bool(flags & _REGION), tensors, number, descriptions, inline, seconds, size)


def decode(head: Head, octets: bytes, region: np.ndarray | None, *, copy: bool) -> Frame:
    """A frame from all its bytes. `copy`: large tensors outlive the region's next use. Raises FrameFault."""
    if head.size != len(octets):
        raise FrameFault("it has another length than it announces")
    if not head.tensors:
        if head.descriptions:
            raise FrameFault("it describes no tensor")
        return Frame(head.kind, head.number, head.last, head.seconds, text=octets[HEADER_BYTES:])
    inline = np.frombuffer(octets, np.uint8, offset=HEADER_BYTES + head.descriptions)
    at, end = HEADER_BYTES, HEADER_BYTES + head.descriptions
    datatypes: list[str] = []
    made: list[np.ndarray] = []
    for _ in range(head.tensors):
        if at + _TENSOR.size > end:
            raise FrameFault("it describes fewer tensors than it announces")
        number, rank, place, offset, size = _TENSOR.unpack_from(octets, at)
        at += _TENSOR.size
        if number >= len(_TYPES) or rank > MAX_RANK or at + 8 * rank > end:
            raise FrameFault("it describes no tensor of the protocol")
        shape = _DIMENSIONS[rank].unpack_from(octets, at)
        at += 8 * rank
        whole = region if place == _SHARED else inline if place == _INLINE else None
        if whole is None or offset + size > len(whole):
            raise FrameFault("a tensor lies outside of it")
        raw = whole[offset : offset + size]
        datatypes.append(_TYPES[number].name)
        made.append(_tensor(_TYPES[number], shape, raw.copy() if copy and place == _SHARED else raw))
    if at != end:
        raise FrameFault("it describes more than it announces")
    return Frame(head.kind, head.number, head.last, head.seconds, datatypes=datatypes, tensors=made)


def _tensor(kind: Datatype, shape: tuple[int, ...], raw: np.ndarray) -> np.ndarray:
    count = math.prod(shape)
    if max(shape, default=0) > _MAX_DIMENSION or (kind.itemsize and count * kind.itemsize != len(raw)):
        raise FrameFault(f"a tensor of shape {list(shape)} has {len(raw)} bytes")
    return (_texts(count, raw) if kind.numpy.hasobject else raw.view(kind.numpy)).reshape(shape)


def _texts(count: int, raw: np.ndarray) -> np.ndarray:
    if 4 * count > len(raw):
        raise FrameFault("a tensor of texts is too short for their lengths")
    lengths = raw[: 4 * count].view("<u4") if not raw.ctypes.data % 4 else raw[: 4 * count].copy().view("<u4")
    if int(lengths.sum(dtype=np.uint64)) != len(raw) - 4 * count:
        raise FrameFault("texts have other lengths than announced")
    octets, at = raw[4 * count :].tobytes(), 0
    texts = np.empty(count, object)
    try:
        for index, length in enumerate(lengths.tolist()):
            texts[index] = octets[at : at + length].decode("utf-8")
            at += length
    except UnicodeDecodeError:
        raise FrameFault("a text is not UTF-8") from None
    return texts
