"""Isolated models for tests: real processes of small graphs, and what must be left of them afterwards, which is nothing."""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx

from gateway.clock import SystemClock
from gateway.control.child import Process
from gateway.control.model_child import start_model_child
from gateway.serving.batch import Batch, Item, execute
from gateway.serving.isolated import IsolatedModel, IsolationSettings, ModelFiles
from gateway.serving.sessions import SessionSettings

FAULTY = (str(Path(__file__).with_name("faulty_child.py")),)
PATIENCE_S = 60.0


class Starter:
    """Keeps every process that it started."""

    def __init__(self, program: tuple[str, ...] | None = None) -> None:
        self.program = program
        self.started: list[Process] = []

    def __call__(self, argument: str, fds) -> Process:
        program = {"program": self.program} if self.program else {}
        self.started.append(start_model_child(argument, fds, **program))
        return self.started[-1]


def descriptors() -> list[str]:
    """What this process holds open, counted, but for what listing it opens."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{name}").split(":")[0])
    return sorted(found)


@contextlib.contextmanager
def isolated(
    folder: Path, proto: onnx.ModelProto, *, start: Starter | None = None, now=SystemClock.now, max_batch_size: int = 256, **bounds
) -> Iterator[IsolatedModel]:
    """An isolated model. When the block is left no process, descriptor or memory file may be left."""
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    start = start or Starter()
    before = descriptors()
    fd = os.open(path, os.O_RDONLY)
    try:
        settings = SessionSettings(max_batch_size=max_batch_size)
        made = IsolatedModel("m", 1, ModelFiles(fd, {}), settings, IsolationSettings(**bounds), start=start, now=now)
    finally:
        os.close(fd)
    try:
        yield made
    finally:
        made.close()
    assert [True] * len(start.started) == [process.status is not None for process in start.started]
    assert before == descriptors()


def died(pid: int) -> bool:
    """Waits until the process is dead; it stays to be collected."""
    fd = os.pidfd_open(pid)
    try:
        return bool(select.select([fd], [], [], PATIENCE_S)[0])
    finally:
        os.close(fd)


def batch_of(*requests: np.ndarray, limit: int = 256, options=None) -> Batch:
    """A batch of requests with one input each."""
    items = []
    for rows in requests:
        item = Item()
        item.data, item.rows, item.size = (np.ascontiguousarray(rows).tobytes(),), len(rows), rows.nbytes
        items.append(item)
    version = SimpleNamespace(name="m", max_output_bytes=64 << 20, door=None)
    batch = Batch(version, (requests[0].shape[1:],), items, sum(map(len, requests)), limit)
    batch.options = options
    return batch


def ended(batch: Batch, model) -> list:
    """Run a batch; what became of each request, in order: its rows of the first output, or its fault."""
    execute(batch, model, lambda: 0.0)
    found = {id(item): fault for item, fault in batch.failed}
    for items, outputs in batch.groups:
        at = 0
        for item in items:
            assert id(item) not in found, "one answer each"
            found[id(item)] = outputs[0][at : at + item.rows]
            at += item.rows
    return [found[id(item)] for item in batch.items]
