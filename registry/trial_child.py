"""The program that tries a model: one task as JSON from standard input, one answer to standard output. Its only caller is trial.py.

Limits come first, then the libraries, then the model: nothing of it is looked at before the limits hold. The only importer of
onnxruntime here.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from registry.confinement import forsake_network, limit
from registry.errors import Kind, RegistryError, refused
from registry.golden import NUMPY_TYPES, Golden, GoldenRequest, Tensor, array_of, otherwise, tensor_of
from registry.packed import unpack
from registry.trial import ASKED_BYTES, Answer, Asked, Task
from registry.warmup import arrays_of

if TYPE_CHECKING:
    import numpy as np
    import onnxruntime

    from registry.onnx_model import Examined

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_OUT_OF_MEMORY = ("bad_alloc", "Failed to allocate memory", "Available memory of")  # in ONNX Runtime's reasons


class TooMuchMemoryError(RegistryError):
    """A trial that does not get along with its memory."""

    def __init__(self, memory_bytes: int) -> None:
        super().__init__(Kind.INVALID_MODEL, f"the model needs more memory than the {memory_bytes} bytes that its trial has")


def main(content: bytes) -> Answer:
    """The answer to a task."""
    task = msgspec.json.decode(content, type=Task)
    descriptors = task.descriptors + max([task.model_fd, *task.data_fds.values(), task.asked.fd if task.asked else 0])
    confine(memory_bytes=task.memory_bytes, cpu_s=task.cpu_s, descriptors=descriptors)
    try:
        return _tried(task)
    except RegistryError as error:
        return Answer(reason=error.message)
    except MemoryError:
        return Answer(reason=TooMuchMemoryError(task.memory_bytes).message)


def confine(*, memory_bytes: int, cpu_s: int, descriptors: int) -> None:
    """Give up what a trial does not need, and end with the process that asked for it."""
    limit({
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_CPU: cpu_s,
        resource.RLIMIT_NOFILE: descriptors,
        resource.RLIMIT_FSIZE: 0,
    })  # fmt: skip
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    forsake_network()


def examined_of(task: Task) -> Examined:
    """What the scanner finds. Raises `Kind.INVALID_MODEL`, `MemoryError`."""
    from registry.onnx_model import examine

    return examine(os.pread(task.model_fd, os.fstat(task.model_fd).st_size, 0), task.gate)


def _tried(task: Task) -> Answer:
    examined = examined_of(task)
    found = Answer(contract=examined.contract, needs=examined.needs)
    if not examined.needs.keys() <= task.data_fds.keys():
        return found
    session = session_of(task)
    golden = answered(session, task)
    return msgspec.structs.replace(found, loaded=True, golden=golden, answered=tuple(runs_of(session, task)) if task.asked else ())


def session_of(task: Task) -> onnxruntime.InferenceSession:
    """Raises `Kind.INVALID_MODEL` with the runtime's reason, `TooMuchMemoryError`."""
    import onnxruntime

    path = f"/proc/self/fd/{task.model_fd}"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # fatal only: the reason comes as an exception
    if task.data_fds:
        maps = [mmap.mmap(fd, 0, prot=mmap.PROT_READ) for fd in task.data_fds.values()]
        options.add_external_initializers_from_files_in_memory(list(task.data_fds), maps, [len(content) for content in maps])
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base
        text = str(error).replace(path, "model.onnx").replace("/proc/self/fd/", "")
        raise _refusal(error, task, f"the installed ONNX Runtime cannot load the model: {text}") from error


def answered(session: onnxruntime.InferenceSession, task: Task) -> Golden | None:
    """The golden requests with all their answers. Raises `Kind.INVALID_MODEL` for one that fails or is answered otherwise."""
    if task.golden is None:
        return None
    answered = []
    for number, request in enumerate(task.golden.requests, 1):
        found = _asked(session, request, task, f"golden request {number}")
        if (problem := otherwise(task.golden, number, found)) is not None:
            raise refused(problem)
        answered.append(GoldenRequest(inputs=request.inputs, outputs=request.outputs or found))
    return msgspec.structs.replace(task.golden, requests=tuple(answered))


def runs_of(session: onnxruntime.InferenceSession, task: Task) -> Iterator[dict[str, Tensor]]:
    """The outputs of each run over rows, until a third of the child's time is used or enough was answered; at least one run.

    Raises `Kind.INVALID_MODEL` for a run that fails, `TooMuchMemoryError`.
    """
    asked = task.asked
    assert asked is not None
    memory, size = memoryview(mmap.mmap(asked.fd, asked.packed.size_bytes, prot=mmap.PROT_READ)), 0
    for start in range(asked.start, asked.packed.rows, asked.rows_per_run):
        found = _run(session, asked, memory, start, task)
        yield found
        size += sum(len(tensor.data) + sum(map(len, tensor.texts)) for tensor in found.values())
        used = resource.getrusage(resource.RUSAGE_SELF)
        if size >= ASKED_BYTES or used.ru_utime + used.ru_stime > task.cpu_s / 3:
            return


def _run(session: onnxruntime.InferenceSession, asked: Asked, memory: memoryview, start: int, task: Task) -> dict[str, Tensor]:
    """The outputs that are one row for each row."""
    stop = min(start + asked.rows_per_run, asked.packed.rows)
    try:
        values = session.run(list(asked.outputs), unpack(asked.packed, memory, start, stop))
    except Exception as error:  # its exceptions have no common base
        raise _refusal(error, task, f"the model fails on reference rows {start + 1} to {stop}: {error}") from error
    rows = stop - start
    fitting = {
        name: value
        for name, value in zip(asked.outputs, values, strict=True)
        if value.ndim and len(value) == rows and value.size <= asked.max_elements * rows
    }
    return {name: tensor_of(value) for name, value in fitting.items()}


def warmed(session: onnxruntime.InferenceSession, task: Task) -> None:
    """Ask each sample of the warm-up once. Raises `Kind.INVALID_MODEL` for one that fails, `TooMuchMemoryError`.

    numpy has no bfloat16, so samples with it are left to the worker.
    """
    ranks = {port.name: len(port.shape or ()) for port in session.get_inputs()}
    for sample in task.warmup:
        arrays = {name: _as_scalar(array, ranks[name]) for name, array in arrays_of(sample, ranks).items()}
        if any(filling.datatype == "BF16" for filling in sample.inputs.values()):
            continue
        try:
            session.run(None, arrays)
        except Exception as error:  # its exceptions have no common base
            raise _refusal(error, task, f"warm-up sample '{sample.name[:128]}' fails: {error}") from error


def _as_scalar(array: np.ndarray, rank: int) -> np.ndarray:
    """Triton has no empty dims: one value is a scalar where the graph has no dimensions, or does not say which."""
    return array.reshape(()) if not rank and set(array.shape) == {1} else array


def _asked(session: onnxruntime.InferenceSession, request: GoldenRequest, task: Task, subject: str) -> dict[str, Any]:
    """The outputs of one request, all of them where it names none."""
    inputs = {port.name: port.type for port in session.get_inputs()}
    outputs = {port.name: port.type for port in session.get_outputs()}
    if inputs.keys() != request.inputs.keys() or not request.outputs.keys() <= outputs.keys():
        raise refused(f"{subject} does not have the model's inputs, or asks for an output that it does not have")
    for name, tensor in request.inputs.items():
        if tensor.type != inputs[name]:
            raise refused(f"{subject} has {tensor.type} for input '{name}', which is {inputs[name]}")
    names = list(request.outputs or outputs)
    if not all(outputs[name] in NUMPY_TYPES for name in names):
        raise refused(f"{subject} asks for an output that is no tensor, or of a type that cannot be compared")
    try:
        values = session.run(names, {name: array_of(tensor) for name, tensor in request.inputs.items()})
    except Exception as error:  # its exceptions have no common base
        raise _refusal(error, task, f"{subject} fails: {error}") from error
    return {name: tensor_of(value) for name, value in zip(names, values, strict=True)}


def _refusal(error: Exception, task: Task, reason: str) -> RegistryError:
    is_memory = isinstance(error, MemoryError) or any(text in str(error) for text in _OUT_OF_MEMORY)
    return TooMuchMemoryError(task.memory_bytes) if is_memory else refused(reason)


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(main(sys.stdin.buffer.read())))
