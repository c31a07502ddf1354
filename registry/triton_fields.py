"""Every field of Triton's model configuration: honoured here, or refused and why. Pure; which values are honoured says `triton_config`.

A field that stands in no table is refused as well, so none can be passed over. Sources: docs/user_guide/model_configuration.md of
github.com/triton-inference-server/server, protobuf/model_config.proto of …/common, src/onnxruntime.cc of …/onnxruntime_backend.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.message import Message

UNKNOWN = "this server has no such setting"
_CAPTURE = "runs are not captured: each has the shape that its rows give it"
_HONOURED = """
name platform backend default_model_filename max_batch_size
version_policy version_policy.latest version_policy.latest.num_versions version_policy.all version_policy.specific
version_policy.specific.versions
input input.name input.data_type input.format input.dims input.reshape input.reshape.shape
output output.name output.data_type output.dims output.label_filename output.reshape output.reshape.shape
instance_group instance_group.name instance_group.count instance_group.kind instance_group.gpus instance_group.rate_limiter
dynamic_batching dynamic_batching.preferred_batch_size dynamic_batching.max_queue_delay_microseconds
dynamic_batching.priority_levels dynamic_batching.default_priority_level
dynamic_batching.default_queue_policy dynamic_batching.default_queue_policy.timeout_action
dynamic_batching.default_queue_policy.default_timeout_microseconds dynamic_batching.default_queue_policy.allow_timeout_override
dynamic_batching.default_queue_policy.max_queue_size
dynamic_batching.priority_queue_policy dynamic_batching.priority_queue_policy.timeout_action
dynamic_batching.priority_queue_policy.default_timeout_microseconds dynamic_batching.priority_queue_policy.allow_timeout_override
dynamic_batching.priority_queue_policy.max_queue_size
optimization optimization.graph optimization.graph.level optimization.cuda optimization.execution_accelerators
optimization.execution_accelerators.gpu_execution_accelerator optimization.execution_accelerators.cpu_execution_accelerator
optimization.execution_accelerators.gpu_execution_accelerator.name optimization.execution_accelerators.gpu_execution_accelerator.parameters
optimization.execution_accelerators.cpu_execution_accelerator.name optimization.execution_accelerators.cpu_execution_accelerator.parameters
optimization.input_pinned_memory optimization.input_pinned_memory.enable
optimization.output_pinned_memory optimization.output_pinned_memory.enable
parameters parameters.string_value
model_warmup model_warmup.name model_warmup.batch_size model_warmup.count model_warmup.inputs model_warmup.inputs.data_type
model_warmup.inputs.dims model_warmup.inputs.zero_data model_warmup.inputs.random_data model_warmup.inputs.input_data_file
model_operations model_transaction_policy model_repository_agents response_cache model_metrics
"""
# Path → why it is refused where it is set to anything but its default.
REFUSED: Mapping[str, str] = {
    "cc_model_filenames": "one file runs on every device",
    "metric_tags": "metrics are labelled by model and version",
    "input.is_shape_tensor": "ONNX models have no shape tensors",
    "input.allow_ragged_batch": "the rows of a batch have one shape; requests of other shapes wait in a lane of their own",
    "input.optional": "a request has every input",
    "input.is_non_linear_format_io": "tensors are row-major",
    "output.is_shape_tensor": "ONNX models have no shape tensors",
    "output.is_non_linear_format_io": "tensors are row-major",
    "batch_input": "a batch has the inputs of its requests and no others",
    "batch_output": "an output has a row for each row of the inputs",
    "instance_group.profile": "profiles belong to TensorRT",
    "instance_group.rate_limiter.resources": "runs are not rationed by named resources",
    "instance_group.rate_limiter.priority": "runs are not rationed",
    "instance_group.passive": "every version takes requests",
    "instance_group.secondary_devices": "a version runs in one place",
    "instance_group.host_policy": "workers are bound to cores by processes.pin",
    "dynamic_batching.preserve_ordering": "requests of one row shape are answered in order, those of two shapes need not be",
    "sequence_batching": "requests here know nothing of each other",
    "ensemble_scheduling": "an ensemble is no ONNX model",
    "optimization.priority": "runs have no priorities",
    "optimization.cuda.graphs": _CAPTURE,
    "optimization.cuda.busy_wait_events": "runs wait as the runtime does",
    "optimization.cuda.graph_spec": _CAPTURE,
    "optimization.cuda.output_copy_stream": "copies are the runtime's own",
    "optimization.gather_kernel_buffer_threshold": "inputs are put together in ordinary memory",
    "optimization.eager_batching": "a batch is put together when it runs",
    "model_operations.op_library_filename": "operators of libraries are code that nobody can look into",
    "model_transaction_policy.decoupled": "a request has one answer",
    "model_repository_agents.agents": "files are loaded as they are",
    "response_cache.enable": "answers are not cached",
    "runtime": "models run in the ONNX Runtime that comes with this server",
    "model_metrics.metric_control": "histograms have the same buckets for all models",
}
# Taken, but nothing needs to be done for them: path → what is said in the log instead.
NEEDLESS: Mapping[str, str] = {
    "output.label_filename": "labels belong to the classification extension, which this server does not have",
    "dynamic_batching.preferred_batch_size": "a batch is what arrived together, of whatever size",
    "optimization.input_pinned_memory.enable": "how inputs are copied to a device is the runtime's own",
    "optimization.output_pinned_memory.enable": "how outputs are copied from a device is the runtime's own",
}
HONOURED = frozenset(_HONOURED.split())


def asked(message: Message, prefix: str = "") -> Iterator[str]:
    """The paths of all fields that say something, "input.dims". What lies in a field that is refused as a whole is not looked at."""
    for field, value in message.ListFields():
        path = prefix + field.name
        yield path
        if path in HONOURED:
            for part in _messages(value):
                yield from asked(part, path + ".")


def refusals(message: Message) -> Iterator[tuple[str, str]]:
    """(path, why) of each field that says something and is not honoured, once."""
    for path in dict.fromkeys(asked(message)):
        if path not in HONOURED:
            yield path, REFUSED.get(path, UNKNOWN)


def needless(message: Message) -> Iterator[tuple[str, str]]:
    """(path, why) of each field for which nothing needs to be done, once."""
    for path in dict.fromkeys(asked(message)):
        if path in NEEDLESS:
            yield path, NEEDLESS[path]


def clear(message: Message, path: str) -> None:
    """Forget a field, wherever it stands in lists and maps on the way."""
    name, _, rest = path.partition(".")
    if not rest:
        message.ClearField(name)
        return
    for part in _messages(getattr(message, name)):
        clear(part, rest)


def _messages(value: Any) -> list[Message]:
    """The messages that a field holds: one, or those of a list, or the values of a map."""
    if isinstance(value, Message):
        return [value]
    values = getattr(value, "values", None)
    found = values() if callable(values) else value if not isinstance(value, str | bytes | int | float) else ()
    return [each for each in found if isinstance(each, Message)]
