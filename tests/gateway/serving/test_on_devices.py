"""Runs with inputs and outputs bound to a device, by a runtime that keeps them in ordinary memory and counts."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest

from gateway.errors import Code
from gateway.serving.bound import _PLANS
from gateway.serving.model import Model, RunFault, RunOptions
from gateway.serving.sessions import SessionSettings
from registry.providers import CudaOptions, ProviderOptions
from tests.gateway.serving import graphs
from tests.gateway.serving.devices import Device

PATIENCE_S = 30.0


def on_gpu(tmp_path: Path, device: Device, graph: onnx.ModelProto | None = None, *, instances: int = 1, number: int = 0) -> Model:
    path = graphs.saved(tmp_path / "model.onnx", graph or graphs.twice())
    options = ProviderOptions(cuda=CudaOptions(device=number))
    settings = SessionSettings(providers=("cuda",), options=options, instances=instances)
    return Model("m", str(path), settings, runtime=device.runtime)


def rows(count: int) -> np.ndarray:
    return np.arange(2 * count, dtype=np.float32).reshape(count, 2)


@pytest.fixture
def device() -> Device:
    return Device(installed=["cpu", "cuda"])


def test_inputs_have_places_that_are_kept_and_outputs_come_back_once(tmp_path: Path, device: Device) -> None:
    """The second run of a shape reserves nothing; its answer is its own."""
    model = on_gpu(tmp_path, device, number=3)
    (session,) = device.sessions
    before, runs = len(device.reserved), session.bound_runs
    for factor in (1, 2, 3):
        (answer,) = model.run([rows(5) * factor])
        assert (rows(5) * factor * 2).tolist() == answer.tolist()
    assert [((5, 2), "cuda", 3)] == device.reserved[before:]
    assert 3 == session.bound_runs - runs
    binding = session.bindings[-1]
    assert [("y", "cuda", 3)] * 3 == binding.outputs
    assert (3, 3) == (binding.copies, binding.cleared)


def test_what_came_over_the_wire_is_copied_as_it_lies(tmp_path: Path, device: Device) -> None:
    """Arrays over received bytes cannot be written to, and slices are not in one piece."""
    model = on_gpu(tmp_path, device)
    wire = np.frombuffer(rows(2).tobytes(), np.float32).reshape(2, 2)
    assert [(rows(2) * 2).tolist()] == [answer.tolist() for answer in model.run([wire])]
    assert [(rows(6)[::3] * 2).tolist()] == [answer.tolist() for answer in model.run([rows(6)[::3]])]


def test_outputs_whose_shape_the_data_decides(tmp_path: Path, device: Device) -> None:
    """What was bound for the last run is not held against this one."""
    node = onnx.helper.make_node("NonZero", ["x"], ["y"])
    graph = graphs.graph([node], [graphs.value("x", 1, 4)], [graphs.value("y", onnx.TensorProto.INT64, 1, "k")])
    model = on_gpu(tmp_path, device, graph)
    for array in ([1, 0, 0, 1], [1, 1, 1, 1], [0, 0, 0, 0]):
        given = np.array(array, np.float32)
        assert np.nonzero(given)[0].tolist() == model.run([given])[0][0].tolist()


def test_shapes_that_are_not_asked_any_more_are_forgotten(tmp_path: Path, device: Device) -> None:
    """The one longest unused first; memory of a device is not for the taking."""
    model = on_gpu(tmp_path, device)
    model.run([rows(1)])
    for count in range(2, _PLANS + 1):
        model.run([rows(count)])
    before = len(device.reserved)
    model.run([rows(1)])
    assert before == len(device.reserved)
    model.run([rows(_PLANS + 1)])
    model.run([rows(1)])
    assert before + 1 == len(device.reserved)
    model.run([rows(2)])
    assert before + 2 == len(device.reserved)


@pytest.mark.parametrize("datatype", ["BYTES", "BF16"])
def test_what_no_device_can_hold_runs_unbound(tmp_path: Path, device: Device, datatype: str) -> None:
    """Texts, and numbers that numpy does not have."""
    model = on_gpu(tmp_path, device, graphs.mirror(datatype), instances=2)
    given = np.array([["a", "b"]], object) if datatype == "BYTES" else np.array([[1, 2]], np.uint16)
    assert given.tolist() == model.run([given])[0].tolist()
    assert ([], 1) == (device.reserved, len(device.sessions))


def test_no_rows_are_answered_with_none(tmp_path: Path, device: Device) -> None:
    """Nothing is reserved for nothing."""
    model = on_gpu(tmp_path, device)
    before = len(device.reserved)
    assert (0, 2) == model.run([rows(0)])[0].shape
    assert before == len(device.reserved)


def test_a_run_that_fails_costs_the_next_nothing(tmp_path: Path, device: Device) -> None:
    """The binding and the session are there for the next one."""
    model = on_gpu(tmp_path, device, graphs.picky())
    with pytest.raises(RunFault) as caught:
        model.run([np.array([99])])
    assert Code.INVALID_ARGUMENT is caught.value.code
    assert [30.0] == model.run([np.array([7])])[0].tolist()


def test_a_run_can_be_ended(tmp_path: Path, device: Device) -> None:
    """Options reach a bound run too."""
    model = on_gpu(tmp_path, device)
    options = RunOptions()
    options.terminate = True
    with pytest.raises(RunFault):
        model.run([rows(1)], options)


def test_one_copies_while_another_computes(tmp_path: Path, device: Device) -> None:
    """Two instances are two sessions: both are inside a run at once, which would wait for ever if they took turns."""
    model = on_gpu(tmp_path, device, instances=2)
    assert 2 == len(device.sessions)
    both = threading.Barrier(2, timeout=PATIENCE_S)
    for session in device.sessions:
        session.running = lambda: both.wait() and None
    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(lambda count: model.run([rows(count)])[0].tolist(), (2, 3)))
    assert [(rows(2) * 2).tolist(), (rows(3) * 2).tolist()] == answers


def test_a_closed_model_holds_no_session(tmp_path: Path, device: Device) -> None:
    """Nor the places on the device."""
    model = on_gpu(tmp_path, device, instances=2)
    model.close()
    assert model._otherwise is None
    assert not hasattr(model, "_session")
