"""One ONNX Runtime session: the only place of the gateway that knows ONNX Runtime."""

from __future__ import annotations

import ctypes
import math
import mmap
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import onnxruntime

from gateway.errors import Code
from gateway.protocol.tensors import DATATYPES, Signature
from gateway.serving import denormals
from gateway.serving.bound import BoundSession, BoundSessions, Target
from gateway.serving.placing import NAMES, RECORD, Listed, ProviderFault, known, listed, placed
from gateway.serving.ports import Reshaping, signature_of
from gateway.serving.quarantine import Quarantine
from gateway.serving.sessions import Placement, SessionSettings
from registry.errors import RegistryError
from registry.ports import CONFIG_FILE, Ports
from registry.providers import ON_A_GPU, Provider
from registry.schema import Schema

_CONTROL_FLOW = (b"\x22\x04Loop", b"\x22\x02If", b"\x22\x04Scan")
_ON_THE_HOST = frozenset({"BF16", "BYTES"})  # datatypes of which numpy has no array that could be copied to a device
_BF16 = 16  # onnx.TensorProto.BFLOAT16
_EXECUTION = {"sequential": "ORT_SEQUENTIAL", "parallel": "ORT_PARALLEL"}
_OPTIMIZATION = {"all": "ORT_ENABLE_ALL", "extended": "ORT_ENABLE_EXTENDED", "basic": "ORT_ENABLE_BASIC", "none": "ORT_DISABLE_ALL"}
_STATUS = re.compile(r"Status Message: (.*)", re.S)
_NESTED = re.compile(r".*\[ONNXRuntimeError\] : \d+ : \w+ : ", re.S)
_LOCATION = re.compile(r"\S+\.(?:cc|cpp|h):\d+ (?:[^()]*::[^()]*\([^()]*\)(?: const)?|\w+) ")  # file, line and function that raised
_MEMORY = ("BFCArena", "bad_alloc", "allocate memory")

Arrays = list[np.ndarray]
RunOptions = onnxruntime.RunOptions
RUNTIME_VERSION: str = onnxruntime.__version__


onnxruntime.set_default_logger_severity(4)  # as for sessions: what lies below them writes to stderr too


@dataclass(frozen=True, slots=True)
class Runtime:
    """What is asked of ONNX Runtime to make a session. Tests hand in one with other providers than this machine has."""

    available: Callable[[], Collection[str]] = onnxruntime.get_available_providers
    session: Callable[..., Any] = onnxruntime.InferenceSession
    reserve: Callable[..., Any] = onnxruntime.OrtValue.ortvalue_from_shape_and_type


RUNTIME = Runtime()


def providers() -> tuple[Provider, ...]:
    """Those that a model can ask for here."""
    return known(RUNTIME.available())


def bound_memory(max_bytes: int) -> None:
    """What runs of all sessions created from now on may take together, inputs and weights aside: one arena of at most so many bytes.

    Without it an input that makes an output explode takes what the machine has, and the arena keeps it.
    """
    memory = onnxruntime.OrtMemoryInfo("Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT)
    arena = onnxruntime.OrtArenaCfg({"max_mem": max_bytes, "arena_extend_strategy": 1})  # 1: as requested, not by powers of two
    onnxruntime.create_and_register_allocator(memory, arena)


class ModelFault(Exception):
    """A version cannot be loaded; the text says why."""


class RunFault(Exception):
    """A run failed. `code` says whether the input or the model is to blame, `message` is safe to show."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class RunLost(RunFault):
    """The process that ran it ended with it. Whose fault that was is not known: each of its requests is due another try, alone."""


class Terminable(Protocol):
    """What stands for one run while it is under way."""

    terminate: bool  # set it, from any thread: nobody waits for the run any more


class Runnable(Protocol):
    """A model as batches see it, wherever it runs."""

    @property
    def signature(self) -> Signature:
        """What it takes and returns."""
        ...

    @property
    def never_inline(self) -> bool:
        """No run predicts the next, or runs wait for a device: none belongs on the event loop."""
        ...

    @property
    def quarantine(self) -> Quarantine | None:
        """Of requests that end the model's process, where it has one of its own."""
        ...

    def options(self) -> Terminable:
        """For one call of `run`."""
        ...

    def run(self, arrays: Sequence[np.ndarray], options: Terminable | None = None) -> Arrays:
        """All outputs for inputs in the signature's order, from as many threads at once as it has instances. Raises RunFault."""
        ...

    def zeros(self, rows: int) -> Arrays:
        """Inputs of zeros with `rows` rows."""
        ...

    def close(self) -> None:
        """Give everything back. Blocks; nothing runs any more."""
        ...


class Model:
    """A loaded graph with its signature. `run` may be called from as many threads at once as the settings have instances; it does not
    hold the GIL while computing."""

    quarantine: Quarantine | None = None
    options = staticmethod(RunOptions)

    def __init__(
        self,
        name: str,
        path: str,
        settings: SessionSettings,
        *,
        external: Mapping[str, mmap.mmap] | None = None,
        schema: Schema | None = None,
        ports: Ports | None = None,
        runtime: Runtime = RUNTIME,
        optimized_to: str | None = None,
    ) -> None:
        """Load from a file, with the external data that it refers to by file name. Raises ModelFault.

        Sizes that the graph leaves free and `schema` or `ports` fixes are those of the signature. The graph is written to the file
        `optimized_to` as it is after optimisation.
        """

        def create(listing: Listed) -> Any:
            names = [provider for provider, _ in listing]
            options = _session_options(settings, external or {}, recorded=names != [NAMES["cpu"]])
            if optimized_to is not None:
                options.optimized_model_filepath = optimized_to
            try:  # no fallback: the runtime's own would go to the processor without a word, even in the middle of a run
                return runtime.session(path, options, providers=names, provider_options=[said for _, said in listing], enable_fallback=0)
            except Exception as error:  # ONNX Runtime raises a dozen unrelated classes
                raise ModelFault(_short(str(error))) from None
            finally:
                denormals.keep()  # its option for them has set this thread too

        try:
            made = placed(settings, runtime.available(), create)
        except ProviderFault as fault:
            raise ModelFault(str(fault)) from None
        self._session = made.session
        try:
            self.signature, self._reshaping = signature_of(
                name,
                self._session.get_inputs(),
                self._session.get_outputs(),
                max_batch_size=settings.max_batch_size,
                schema=schema,
                ports=ports,
            )
        except RegistryError as error:
            raise ModelFault(error.message) from None
        self._inputs = [spec.name for spec in self.signature.inputs]
        self._outputs = [spec.name for spec in self.signature.outputs]
        datatypes = {spec.datatype for spec in (*self.signature.inputs, *self.signature.outputs)}
        self._otherwise: Callable[..., Arrays] | None = self._run_values if "BF16" in datatypes else None
        provider = made.providers[0]
        instances, device = settings.instances_on(provider), _device(provider, settings)
        if device is not None and not datatypes & _ON_THE_HOST:
            self._otherwise = self._bound(runtime, device, [create(listed(made.providers, settings)) for _ in range(1, instances)])
        self.placement = Placement(provider, made.missed, instances, device)
        self.never_inline = settings.options.waits(provider) or _has_control_flow(path)
        self._settle_batching()

    def _bound(self, runtime: Runtime, device: int, others: Sequence[Any]) -> Callable[..., Arrays]:
        """Each session with places of its own on the device."""
        target = Target("cuda", device, runtime.reserve)
        sessions = [BoundSession(session, self._inputs, self._outputs, target) for session in (self._session, *others)]
        return BoundSessions(sessions).run

    def run(self, arrays: Sequence[np.ndarray], options: Terminable | None = None) -> Arrays:
        """All outputs for inputs in the signature's order. Raises RunFault."""
        reshaping = self._reshaping
        denormals.flush()
        try:
            given = arrays if reshaping is None else reshaping.given(arrays)
            if self._otherwise is None:
                outputs = self._session.run(self._outputs, dict(zip(self._inputs, given, strict=True)), options)
            else:
                outputs = self._otherwise(given, options)
        except Exception as error:
            raise _fault(self.signature.model, error) from None
        finally:
            denormals.keep()
        return outputs if reshaping is None else self._reshaped(reshaping, outputs)

    def _reshaped(self, reshaping: Reshaping, outputs: Arrays) -> Arrays:
        try:
            return reshaping.made(outputs)
        except ValueError:
            text = f"model '{self.signature.model}' returned an output that is not of the shape from which {CONFIG_FILE} reshapes it"
            raise RunFault(Code.INTERNAL, text) from None

    def _run_values(self, arrays: Sequence[np.ndarray], options: Terminable | None) -> Arrays:
        """With bfloat16 anywhere, tensors travel as typed values: numpy has no such type, its bits are uint16 here."""
        feed = {
            spec.name: onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(np.ascontiguousarray(array), _BF16)
            if spec.datatype == "BF16"
            else onnxruntime.OrtValue.ortvalue_from_numpy(array)
            for spec, array in zip(self.signature.inputs, arrays, strict=True)
        }
        values = self._session.run_with_ort_values(self._outputs, feed, options)
        return [
            _bits(value) if spec.datatype == "BF16" else value.numpy() for spec, value in zip(self.signature.outputs, values, strict=True)
        ]

    def zeros(self, rows: int) -> Arrays:
        """Inputs of zeros (empty strings) with free dimensions set to 1 and `rows` rows."""
        return zeros(self.signature, rows)

    def close(self) -> None:
        """Give the sessions back, whose weights may be large."""
        self._otherwise = None
        del self._session

    def _settle_batching(self) -> None:
        """A free first dimension promises nothing: batch only where two rows give two rows, each as it gives alone."""
        if self.signature.max_batch_size and not self._rows_are_independent():
            self.signature = replace(self.signature, max_batch_size=0)

    def _rows_are_independent(self) -> bool:
        rng = np.random.default_rng(0)
        pair = [_vary(array, rng) for array in self.zeros(2)]
        try:
            alone = [self.run([array[i : i + 1] for array in pair]) for i in range(2)]
        except RunFault:
            return True  # zeros are no valid input here (an id of 0, a shape): the graph's own word stands
        try:
            together = self.run(pair)
        except RunFault:
            return False
        return all(
            output.ndim > 0 and output.shape[0] == 2 and all(_same(output[i : i + 1], alone[i][k]) for i in range(2))
            for k, output in enumerate(together)
        )


def _session_options(settings: SessionSettings, external: Mapping[str, mmap.mmap], *, recorded: bool) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.intra_op_threads
    options.inter_op_num_threads = settings.inter_op_threads
    options.execution_mode = getattr(onnxruntime.ExecutionMode, _EXECUTION[settings.execution])
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, _OPTIMIZATION[settings.optimization])
    options.enable_mem_pattern = settings.memory_pattern
    options.log_severity_level = 4  # failures are raised; its own log lines name files and source lines
    entries = {
        "session.intra_op.allow_spinning": "0",
        **settings.entries,
        "session.set_denormal_as_zero": "1",  # in the threads that it starts; ours: see `run`
        "session.use_env_allocators": "1",  # that of `bound_memory`, where there is one
        "session.use_device_allocator_for_initializers": "1",  # weights are not its business
    }
    if recorded:
        entries[RECORD] = "1"
    for key, value in entries.items():
        options.add_session_config_entry(key, value)
    if external:
        maps = list(external.values())
        options.add_external_initializers_from_files_in_memory(list(external), maps, [len(data) for data in maps])
    return options


def _device(provider: Provider, settings: SessionSettings) -> int | None:
    """The number of the GPU; None for what works in ordinary memory."""
    if provider not in ON_A_GPU:
        return None
    options = getattr(settings.options, provider)
    return 0 if options is None else options.device or 0


def zeros(signature: Signature, rows: int) -> Arrays:
    """Inputs of zeros (empty strings) with free dimensions set to 1 and `rows` rows."""
    arrays = []
    for spec in signature.inputs:
        shape = [1 if size < 0 else size for size in spec.shape]
        if signature.max_batch_size:
            shape[0] = rows
        kind = DATATYPES[spec.datatype].numpy
        arrays.append(np.full(shape, "", dtype=object) if kind.hasobject else np.zeros(shape, kind))
    return arrays


def check_rows(signature: Signature, outputs: Arrays, rows: int) -> None:
    """A model whose outputs have not one row for each of the inputs' answers nobody: whose rows they are is not known. Raises RunFault."""
    if all([output.shape[:1] == (rows,) for output in outputs]):
        return
    name, output = next((spec.name, output) for spec, output in zip(signature.outputs, outputs, strict=True) if output.shape[:1] != (rows,))
    has = f"{len(output)} rows" if output.ndim else "no rows"
    raise RunFault(Code.INTERNAL, f"model '{signature.model}' returned output '{name}' with {has} for {rows}")


def _has_control_flow(path: str) -> bool:
    """Whether run time may depend on the data: a node of type Loop, If or Scan anywhere. Found as NodeProto.op_type (field 4) bytes."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as content:
        return any(content.find(mark) >= 0 for mark in _CONTROL_FLOW)


def _bits(value: onnxruntime.OrtValue) -> np.ndarray:
    """A copy of the uint16 bits of a bfloat16 value, which has no numpy view of its own."""
    shape = tuple(value.shape())
    pointer = ctypes.cast(value.data_ptr(), ctypes.POINTER(ctypes.c_uint16))
    return np.ctypeslib.as_array(pointer, shape=shape).copy() if math.prod(shape) else np.empty(shape, np.uint16)


def _vary(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Different rows where that is safe: floating-point inputs. Integers may be indices, so they stay 0."""
    return rng.normal(size=array.shape).astype(array.dtype) if array.dtype.kind == "f" else array


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    if a.shape != b.shape:
        return False
    return np.allclose(a, b, rtol=1e-3, atol=1e-5, equal_nan=True) if a.dtype.kind == "f" else bool(np.array_equal(a, b))


def _fault(model: str, error: Exception) -> RunFault:
    """ONNX Runtime's exception as a code and a text without paths."""
    kind = type(error).__name__
    code = Code.INVALID_ARGUMENT if kind in ("InvalidArgument", "ValueError") or "out of data bounds" in str(error) else Code.INTERNAL
    if kind == "NotImplemented":
        code = Code.UNIMPLEMENTED
    return RunFault(code, f"model '{model}' failed on this input: {_reason(str(error))}")


def _reason(text: str) -> str:
    if any([mark in text for mark in _MEMORY]):
        return "it needs more memory than limits.serving.max_arena_bytes"
    return _short(text)


def _short(text: str) -> str:
    """The part of ONNX Runtime's message that speaks of the model, one line, at most 300 characters; no paths and names of its source."""
    match = _STATUS.search(_NESTED.sub("", text))
    line = " ".join((match[1] if match else _NESTED.sub("", text)).split())
    line = re.sub(r"\S*/\S*", "…", _LOCATION.sub("", line))
    return "the runtime gave no reason" if "::" in line else line[:300] or "the runtime gave no reason"
