"""Rows that a version without a reference served first, kept to make one of them; and where the profile of it lies.

A worker appends batches to the last part of its block: a head that says of which tensors, then for each batch its rows and every tensor's
bytes, texts as the protocol has them. Only whole batches are kept, and the number of bytes is written last: who reads meanwhile sees less.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

from gateway.drift.layout import LEARNED, Views
from gateway.protocol.tensors import DATATYPES, Signature
from registry import profile as profiles
from registry.errors import Kind, RegistryError
from registry.profile import Profile, Side

_ALIGN = 8
_LENGTH = np.dtype("<u4")


class Tensor(msgspec.Struct, frozen=True, array_like=True):
    """One tensor of a batch."""

    side: Side
    name: str
    datatype: str
    shape: tuple[int, ...]  # of a row


class Learner:
    """Keeps the batches of one worker, as long as there is room and until `full`."""

    def __init__(self, views: Views, signature: Signature, *, rows: int) -> None:
        """`rows`: that are wanted. Where a place was begun by another worker, it goes on."""
        self._views, self._signature, self._rows = views, signature, rows
        self.full = not signature.max_batch_size

    def keep(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        """One served batch: arrays [rows, *shape]."""
        arrays, rows = (*inputs, *outputs), len(inputs[0])
        at = int(self._views.head[LEARNED])
        parts = [rows.to_bytes(8, "little")]
        if not at:
            parts.insert(0, _framed(msgspec.json.encode(_tensors(self._signature, arrays))))
        parts += [_framed(_content(array)) for array in arrays]
        record = b"".join(parts)
        room = self._views.learned
        if at + len(record) > len(room):
            self.full = True
            return
        room[at : at + len(record)] = np.frombuffer(record, np.uint8)
        self._views.head[LEARNED] = at + len(record)
        self._rows -= rows
        self.full = self._rows <= 0


def kept(views: Views) -> tuple[tuple[Tensor, ...], list[np.ndarray]] | None:
    """The tensors and their rows that one worker kept: arrays [rows, *shape]; texts as objects. None for nothing.

    Batches with other row shapes than the first are passed over.
    """
    content = views.learned[: int(views.head[LEARNED])].tobytes()
    if not content:
        return None
    head, at = _unframed(content, 0)
    tensors = msgspec.json.decode(head, type=tuple[Tensor, ...])
    pieces: list[list[np.ndarray]] = [[] for _ in tensors]
    for batch in _batches(content, at, tensors):
        for into, array in zip(pieces, batch, strict=True):
            into.append(array)
    return tensors, [np.concatenate(arrays) for arrays in pieces]


def learned_path(folder: Path, model: str, version: int, content: str) -> Path:
    """Where the profile lies that was learned for this content under this number."""
    return folder / f"{hashlib.sha256(f'{model}/{version}/{content}'.encode()).hexdigest()[:32]}.json"


def read_profile(content: bytes | None, learned: str) -> Profile | None:
    """A version's own profile, or else the learned one in a file, or None. Raises `Kind.DAMAGED`, `Kind.STORAGE`."""
    if content is not None:
        return profiles.decode(content, key="profile.json")
    if not learned:
        return None
    try:
        return profiles.decode(Path(learned).read_bytes(), key=learned)
    except OSError as error:
        raise RegistryError(Kind.STORAGE, f"read {learned}: {error.strerror}") from error


def _tensors(signature: Signature, arrays: Sequence[np.ndarray]) -> tuple[Tensor, ...]:
    inputs: list[Side] = ["input"] * len(signature.inputs)
    outputs: list[Side] = ["output"] * len(signature.outputs)
    specs = (*signature.inputs, *signature.outputs)
    return tuple(
        [
            Tensor(side, spec.name, spec.datatype, array.shape[1:])
            for side, spec, array in zip([*inputs, *outputs], specs, arrays, strict=True)
        ]
    )


def _content(array: np.ndarray) -> bytes:
    if array.dtype != object:
        return array.tobytes()
    texts = [text.encode() if isinstance(text, str) else bytes(text) for text in array.ravel()]
    return b"".join([part for text in texts for part in (len(text).to_bytes(4, "little"), text)])


def _framed(content: bytes) -> bytes:
    return len(content).to_bytes(8, "little") + content + bytes(-len(content) % _ALIGN)


def _unframed(content: bytes, at: int) -> tuple[bytes, int]:
    size = int.from_bytes(content[at : at + 8], "little")
    return content[at + 8 : at + 8 + size], at + 8 + size + -size % _ALIGN


def _batches(content: bytes, at: int, tensors: Sequence[Tensor]) -> Iterator[list[np.ndarray]]:
    while at < len(content):
        rows = int.from_bytes(content[at : at + 8], "little")
        at += 8
        arrays = []
        for tensor in tensors:
            data, at = _unframed(content, at)
            arrays.append(_array(data, tensor, rows))
        if all(array is not None for array in arrays):
            yield [array for array in arrays if array is not None]


def _array(data: bytes, tensor: Tensor, rows: int) -> np.ndarray | None:
    shape = (rows, *tensor.shape)
    if tensor.datatype == "BYTES":
        texts = np.array([*_texts(data), None], dtype=object)[:-1]
        return texts.reshape(shape) if len(texts) == int(np.prod(shape)) else None
    array = np.frombuffer(data, DATATYPES[tensor.datatype].numpy)
    return array.reshape(shape) if array.size == int(np.prod(shape)) else None


def _texts(data: bytes) -> Iterator[str]:
    at = 0
    while at < len(data):
        size = int(np.frombuffer(data, _LENGTH, 1, at)[0])
        yield data[at + 4 : at + 4 + size].decode("utf-8", "replace")
        at += 4 + size
