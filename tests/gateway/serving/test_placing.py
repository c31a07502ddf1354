"""Which provider runs a model: what is missing is an error by name, or a fallback that is told. No GPU is needed to say so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.serving.model import Model, ModelFault
from gateway.serving.placing import options_of
from gateway.serving.sessions import Placement, SessionSettings
from registry.providers import CudaOptions, OpenvinoOptions, ProviderOptions, TensorrtOptions
from tests.gateway.serving import graphs
from tests.gateway.serving.devices import Device

ABSENT = "it is not in this installation of ONNX Runtime"
BROKEN = "the runtime could not set it up: its libraries or its device are not there"
IDLE = "it takes no part of the graph"
ROWS = np.array([[1, 2], [3, 4]], np.float32)
TWICE = (ROWS * 2).tolist()


def model(tmp_path: Path, device: Device, *providers: str, **settings: Any) -> Model:
    path = graphs.saved(tmp_path / "model.onnx", settings.pop("graph", graphs.twice()))
    return Model("m", str(path), SessionSettings(providers=providers, **settings), runtime=device.runtime)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("device", "wanted", "provider", "missed"),
    [
        (Device(installed=["cpu"]), ["cpu"], "cpu", ()),
        (Device(installed=["cpu", "cuda"]), ["cuda"], "cuda", ()),
        (Device(installed=["cpu", "cuda"]), ["cuda", "cpu"], "cuda", ()),
        (Device(installed=["cpu"]), ["cuda", "cpu"], "cpu", (("cuda", ABSENT),)),
        (Device(installed=["cpu", "cuda"], silent=["cuda"]), ["cuda", "cpu"], "cpu", (("cuda", BROKEN),)),
        (Device(installed=["cpu", "cuda"], raising=["cuda"]), ["cuda", "cpu"], "cpu", (("cuda", "cuda is broken"),)),
        (Device(installed=["cpu", "cuda"], idle=["cuda"]), ["cuda", "cpu"], "cpu", (("cuda", IDLE),)),
        (Device(installed=["cpu", "cuda"]), ["tensorrt", "cuda"], "cuda", (("tensorrt", ABSENT),)),
        (
            Device(installed=["cpu", "cuda", "tensorrt"], silent=["tensorrt", "cuda"]), ["tensorrt", "cuda", "cpu"], "cpu",
            (("tensorrt", BROKEN), ("cuda", BROKEN)),
        ),
        (Device(installed=["cpu", "openvino"]), ["openvino", "cuda", "cpu"], "openvino", ()),
    ],
)  # fmt: skip
def test_the_first_that_can_runs_it(tmp_path: Path, device: Device, wanted: list[str], provider: str, missed: tuple) -> None:
    """And those before it are told with the reason, never passed over."""
    made = model(tmp_path, device, *wanted)
    assert (provider, missed) == (made.placement.provider, made.placement.missed)
    assert provider == device.asked[-1][0]
    assert {0} == set(device.fallbacks), "the runtime's own fallback is never on"
    assert [TWICE] == [output.tolist() for output in made.run([ROWS])]


@pytest.mark.parametrize(
    ("device", "wanted", "why"),
    [
        (Device(installed=["cpu"]), ["cuda"], "provider 'cuda' is not in this installation of ONNX Runtime, which has cpu"),
        (Device(installed=["cpu", "openvino"]), ["openvino", "cuda"], "provider 'cuda' is not in this installation of ONNX Runtime, which"),
        (Device(installed=["cpu", "cuda"], silent=["cuda"]), ["cuda"], f"provider 'cuda' cannot run it: {BROKEN}"),
        (Device(installed=["cpu", "cuda"], raising=["cuda"]), ["cuda"], "provider 'cuda' cannot run it: cuda is broken"),
        (Device(installed=["cpu", "cuda"], idle=["cuda"]), ["cuda"], f"provider 'cuda' cannot run it: {IDLE}"),
        (
            Device(installed=["cpu", "cuda", "tensorrt"], silent=["tensorrt", "cuda"]), ["tensorrt", "cuda"],
            f"provider 'cuda' cannot run it: {BROKEN}",
        ),
    ],
)  # fmt: skip
def test_where_the_list_ends_it_fails_by_name(tmp_path: Path, device: Device, wanted: list[str], why: str) -> None:
    """The processor is not there unless it is listed; no path of the runtime's source is shown."""
    with pytest.raises(ModelFault) as caught:
        model(tmp_path, device, *wanted)
    assert str(caught.value).startswith(why)


def test_a_model_that_nobody_can_load_fails_as_itself(tmp_path: Path) -> None:
    """The fault of a file is told by the processor, not as one of the provider before it."""
    (tmp_path / "model.onnx").write_bytes(b"no model")
    settings = SessionSettings(providers=("cuda", "cpu"))
    with pytest.raises(ModelFault) as caught:
        Model("m", str(tmp_path / "model.onnx"), settings, runtime=Device(installed=["cpu", "cuda"]).runtime)
    assert "provider" not in str(caught.value)


@pytest.mark.parametrize(
    ("provider", "options", "expected"),
    [
        ("cpu", ProviderOptions(), {}),
        ("cuda", ProviderOptions(), {"device_id": "0"}),
        (
            "cuda",
            ProviderOptions(cuda=CudaOptions(device=3, memory_bytes=1 << 30, arena="as_requested", conv_search="heuristic", tf32=False)),
            {
                "device_id": "3", "gpu_mem_limit": "1073741824", "arena_extend_strategy": "kSameAsRequested",
                "cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0",
            },
        ),
        ("tensorrt", ProviderOptions(cuda=CudaOptions(device=2)), {"device_id": "0"}),
        (
            "tensorrt",
            ProviderOptions(tensorrt=TensorrtOptions(device=1, workspace_bytes=4096, fp16=True, min_subgraph_nodes=3, builder_level=0)),
            {
                "device_id": "1", "trt_max_workspace_size": "4096", "trt_fp16_enable": "1", "trt_min_subgraph_size": "3",
                "trt_builder_optimization_level": "0",
            },
        ),
        ("openvino", ProviderOptions(), {"device_type": "CPU", "num_of_threads": "2", "num_streams": "3"}),
        (
            "openvino",
            ProviderOptions(openvino=OpenvinoOptions(device="GPU.1", precision="FP16", threads=4, streams=1)),
            {"device_type": "GPU.1", "precision": "FP16", "num_of_threads": "4", "num_streams": "1"},
        ),
    ],
)  # fmt: skip
def test_options_are_the_runtimes(provider: Any, options: ProviderOptions, expected: dict[str, str]) -> None:
    """What is not set is the provider's default; OpenVINO would else take every core."""
    settings = SessionSettings(providers=(provider,), options=options, intra_op_threads=2, instances=3, cores=6)
    assert expected == options_of(provider, settings)


@pytest.mark.parametrize(
    ("provider", "options", "instances"),
    [
        ("cpu", ProviderOptions(), 2), ("openvino", ProviderOptions(), 2), ("cuda", ProviderOptions(), 5),
        ("openvino", ProviderOptions(openvino=OpenvinoOptions(device="GPU")), 5),
    ],
)  # fmt: skip
def test_instances_on_processors_have_cores(tmp_path: Path, provider: str, options: ProviderOptions, instances: int) -> None:
    """More would take turns; a device is not asked how many cores there are. Runs on a device never hold up the event loop."""
    device = Device(installed=["cpu", "cuda", "openvino"])
    made = model(tmp_path, device, provider, options=options, instances=5, intra_op_threads=2, cores=4)
    gpu = 0 if provider == "cuda" else None
    assert Placement(provider, (), instances, gpu) == made.placement  # type: ignore[arg-type]
    assert (instances == 5) is made.never_inline


def test_a_fallback_to_the_processor_has_its_instances(tmp_path: Path) -> None:
    """Those of the cores, not those that were meant for the GPU."""
    made = model(tmp_path, Device(installed=["cpu"]), "cuda", "cpu", instances=8, cores=2)
    assert (2, None, False) == (made.placement.instances, made.placement.device, made.never_inline)


def test_a_session_is_set_up_as_the_settings_say(tmp_path: Path) -> None:
    """Entries over ours, but for those that all sessions share; the graph's parts are recorded only where somebody will ask."""
    entries = {"session.intra_op.allow_spinning": "1", "session.disable_prepacking": "1"}
    made = model(tmp_path, Device(installed=["cpu"]), "cpu", entries=entries, memory_pattern=False)
    options = made._session.get_session_options()
    names = ("session.intra_op.allow_spinning", "session.disable_prepacking", "session.use_env_allocators", "session.set_denormal_as_zero")
    assert ["1", "1", "1", "1"] == [options.get_session_config_entry(name) for name in names]
    assert not options.enable_mem_pattern
    with pytest.raises(RuntimeError):
        options.get_session_config_entry("session.record_ep_graph_assignment_info")
