"""What the process of a model is told when it starts, and the texts that it answers with beside tensors."""

from __future__ import annotations

import msgspec

from gateway.errors import Code
from gateway.protocol.tensors import Signature
from gateway.serving.sessions import Placement, SessionSettings
from registry.ports import Ports
from registry.schema import Schema

OUT_OF_MEMORY = 77  # its exit status when it has no memory left to go on with
FAULTS = (Code.INVALID_ARGUMENT, Code.INTERNAL, Code.UNIMPLEMENTED)  # what a run may fail with


class Task(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that the process knows. Its descriptors are inherited."""

    frames_fd: int  # a stream socket for frames
    stops_fd: int  # a socket that brings the number of each run that nobody waits for any more
    life_fd: int  # a pipe that closes when the worker ends
    model_fd: int  # the sealed model file
    external_fds: dict[str, int]  # its external data, by file name
    schema: Schema | None = None  # sizes that its author fixed
    ports: Ports | None = None  # what its config.pbtxt says of inputs and outputs
    model: str
    settings: SessionSettings
    memory_bytes: int  # of the process, shared memory aside
    arena_bytes: int  # of it, for runs
    frame_bytes: int  # tensors of one frame


class Ready(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The model is loaded."""

    signature: Signature
    placement: Placement


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run failed."""

    code: int
    message: str
