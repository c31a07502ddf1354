"""Where and how a session runs, by a `config.pbtxt`: groups, accelerators, parameters; what is not honoured is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import text_format

from registry.imported import Settings
from registry.pb import model_config_pb2 as pb
from registry.providers import ENTRIES, CudaOptions, ProviderOptions, TensorrtOptions, misfit
from registry.triton_session import is_runtimes, session_of

ACCELERATORS = "optimization.execution_accelerators"
GPU = "instance_group { kind: KIND_GPU } "


def read(text: str, *, may_drop: tuple[str, ...] = ()) -> dict[str, Any]:
    """What is said, and nothing of what is not."""
    config = text_format.Parse(text, pb.ModelConfig())
    found = session_of("m/config.pbtxt", config, Settings("m/config.pbtxt", may_drop))
    return {name: value for name, value in found.items() if value is not None}


def parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }} '


def accelerated(kind: str, name: str, **parameters: str) -> str:
    inner = " ".join([f'parameters {{ key: "{key}" value: "{value}" }}' for key, value in parameters.items()])
    return f'optimization {{ execution_accelerators {{ {kind}_execution_accelerator [ {{ name: "{name}" {inner} }} ] }} }} '


def gpu(device: int = 0, **options: Any) -> dict[str, Any]:
    return {"instances": 1, "providers": ("cuda",), "provider_options": ProviderOptions(cuda=CudaOptions(device=device, **options))}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("instance_group { }", {"instances": 1}),
        ("instance_group { kind: KIND_CPU count: 2 } instance_group { kind: KIND_CPU }", {"instances": 3, "providers": ("cpu",)}),
        (GPU, gpu()),
        ("instance_group { kind: KIND_GPU gpus: [ 3 ] count: 2 }", gpu(3) | {"instances": 2}),
        (GPU + accelerated("gpu", "cuda", use_tf32="0", gpu_mem_limit="1024"), gpu(tf32=False, memory_bytes=1024)),
        (GPU + parameter("arena_extend_strategy", "1"), gpu(arena="as_requested")),
        (GPU + parameter("cudnn_conv_algo_search", "2"), gpu(conv_search="default")),
        (GPU + parameter("gpu_mem_limit", "18446744073709551615"), gpu()),
        (
            GPU + accelerated("gpu", "tensorrt", precision_mode="FP16", max_workspace_size_bytes="4096", trt_min_subgraph_size="5"),
            {
                "instances": 1, "providers": ("tensorrt", "cuda"),
                "provider_options": ProviderOptions(
                    cuda=CudaOptions(device=0), tensorrt=TensorrtOptions(device=0, fp16=True, workspace_bytes=4096, min_subgraph_nodes=5)
                ),
            },
        ),
        (accelerated("cpu", "openvino"), {"providers": ("openvino",)}),
        (parameter("enable_mem_pattern", "0") + parameter("enable_mem_arena", "1"), {"memory_pattern": False}),
        (parameter("session.disable_prepacking", "1"), {"entries": {"session.disable_prepacking": "1"}}),
        (parameter("optimization.enable_gelu_approximation", "1"), {"entries": {"optimization.enable_gelu_approximation": "1"}}),
    ],
)  # fmt: skip
def test_what_is_said_is_done(text: str, expected: dict[str, Any]) -> None:
    """By the names of `Serving`; what is not said is left to the settings."""
    assert expected == read(text)


@pytest.mark.parametrize(
    ("text", "name", "why"),
    [
        ("instance_group { kind: KIND_MODEL }", "instance_group.kind", "it is KIND_CPU, KIND_GPU or KIND_AUTO"),
        ("instance_group { kind: KIND_CPU } instance_group { kind: KIND_GPU }", "instance_group.kind", "all instances of a version run"),
        ("instance_group { gpus: [ 0 ] }", "instance_group.gpus", "it belongs to instances of KIND_GP"),
        ("instance_group { kind: KIND_GPU gpus: [ 0, 1 ] }", "instance_group.gpus", "a version runs on one GPU, a number from 0 to 63"),
        ("instance_group { kind: KIND_GPU gpus: [ 64 ] }", "instance_group.gpus", "a version runs on one GPU, a number from 0 to 63"),
        (accelerated("gpu", "tensorrt"), f"{ACCELERATORS}.gpu_execution_accelerator", "it belongs to instances of KIND_GP"),
        (GPU + accelerated("cpu", "openvino"), f"{ACCELERATORS}.cpu_execution_accelerator", "its instances are of KIND_GPU"),
        (GPU + accelerated("gpu", "amp"), f"{ACCELERATORS}.gpu_execution_accelerator.name", "it is tensorrt or cuda"),
        (
            GPU + accelerated("gpu", "tensorrt", trt_engine_cache_path="/x"),
            f"{ACCELERATORS}.gpu_execution_accelerator.parameters.trt_engine_cache_path", "no such setting",
        ),
        (
            accelerated("cpu", "openvino", device_type="GPU"),
            f"{ACCELERATORS}.cpu_execution_accelerator.parameters.device_type", "no such setting",
        ),
        (parameter("gpu_mem_limit", "1"), "parameters.gpu_mem_limit", "it belongs to instances of KIND_GP"),
        (parameter("enable_mem_arena", "0"), "parameters.enable_mem_arena", "runs share one arena, which limits.serving"),
        (parameter("memory.enable_memory_arena_shrinkage", "cpu:0"), "parameters.memory.enable_memory_arena_shrinkage", "runs share one"),
        (parameter("do_copy_in_default_stream", "0"), "parameters.do_copy_in_default_stream", "copies are the runtime's own"),
        (parameter("share_session_between_instances", "1"), "parameters.share_session_between_instances", "instances share a session on"),
        (parameter("session.load_model_format", "ORT"), "parameters.session.load_model_format", "no entry that may be set"),
        (parameter("session.disable_prepacking", "yes"), "parameters.session.disable_prepacking", "expected 0 or 1, got 'yes'"),
    ],
)  # fmt: skip
def test_what_is_not_done_is_refused_by_name(text: str, name: str, why: str, kind_of: Callable[..., str]) -> None:
    """Unless it may be let go: then the rest is read as if it had never stood there."""
    assert kind_of(lambda: read(text)).startswith(f"invalid_model: m/config.pbtxt sets '{name}', which cannot be honoured: {why}")
    assert {} == {key: value for key, value in read(text, may_drop=(name,)).items() if key in {"entries", "memory_pattern"}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GPU + accelerated("gpu", "tensorrt", precision_mode="INT8"), "parameters.precision_mode, where FP32 or FP16 is expected"),
        (
            GPU + accelerated("gpu", "tensorrt", trt_builder_optimization_level="6"),
            "trt_builder_optimization_level, where 0 to 5 is expected",
        ),
        (GPU + parameter("cudnn_conv_algo_search", "3"), "parameters.cudnn_conv_algo_search, where 0, 1 or 2 is expected"),
        (GPU + parameter("gpu_mem_limit", "much"), "parameters.gpu_mem_limit, where a number of bytes is expected"),
        (parameter("enable_mem_pattern", ""), "parameters.enable_mem_pattern, where 0 or 1 is expected"),
    ],
)
def test_a_value_that_cannot_be_is_refused(text: str, said: str, kind_of: Callable[..., str]) -> None:
    """With what would do."""
    assert said in kind_of(lambda: read(text))


def test_the_models_own_parameters_are_not_read() -> None:
    """Whatever the backend reads is; the rest is the model's."""
    assert not is_runtimes("owner")
    assert all(map(is_runtimes, ("session.x", "mlas.y", "cudnn_conv_use_max_workspace", "enable_mem_pattern", "gpu_mem_limit")))


@pytest.mark.parametrize("key", sorted(ENTRIES))
def test_every_entry_has_a_form(key: str) -> None:
    """One value that fits, one that does not."""
    assert (None, True) == (misfit(key, "1"), misfit(key, "x") is not None)
