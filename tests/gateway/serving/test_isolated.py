"""A model in its own process answers as one in this process does, and is seen, stopped and replaced."""

from __future__ import annotations

import os
import queue
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest

from gateway.clock import SystemClock
from gateway.control.model_child import start_model_child, start_model_child_behind
from gateway.errors import Code
from gateway.limits import ServingLimits
from gateway.serving.isolated import IsolatedModel, IsolationSettings, ModelFiles
from gateway.serving.model import Model, ModelFault, RunFault, RunLost
from gateway.serving.runner import Runner
from gateway.serving.sessions import SessionSettings
from gateway.serving.versions import Version
from registry.niceness import STEPS
from registry.sealed import seal_copy
from tests.gateway.serving import graphs, isolation
from tests.gateway.serving.isolation import PATIENCE_S, Starter, batch_of, died, ended, isolated

VALUES = {
    "BOOL": np.array([[True, False]]), "BYTES": np.array([["", "größer"]], object), "BF16": np.array([[0x3F80, 0x4000]], np.uint16),
    "FP16": np.array([[1.5, -2]], np.float16), "INT64": np.array([[-(2**62), 7]]), "UINT8": np.array([[0, 255]], np.uint8),
}  # fmt: skip
ONE = np.array([[1, 2]], np.float32)


@pytest.mark.parametrize("datatype", list(VALUES))
def test_every_kind_of_tensor_goes_there_and_back(datatype: str, tmp_path: Path) -> None:
    """One row, rows enough for shared memory, and again a small number."""
    with isolated(tmp_path, graphs.mirror(datatype)) as model:
        here = Model("m", str(tmp_path / "model.onnx"), SessionSettings())
        assert here.signature == model.signature
        for rows in (1, 200_000 if datatype != "BYTES" else 20_000, 3):
            sent = np.repeat(VALUES[datatype], rows, axis=0)
            (there,) = model.run([sent])
            assert np.array_equal(here.run([sent])[0], there)
            assert sent.dtype == there.dtype


def test_large_outputs_stay_right_when_the_next_run_has_come(tmp_path: Path) -> None:
    """Answers may still be on their way out while the next batch runs."""
    with isolated(tmp_path, graphs.twice()) as model:
        first, second = (np.full((100_000, 2), value, np.float32) for value in (1, 2))
        (kept,) = model.run([first])
        model.run([second])
        assert (kept == 2.0).all()


def test_empty_tensors_and_zeros(tmp_path: Path) -> None:
    """No rows are a run too, and the warm-up's inputs have the signature's shapes."""
    with isolated(tmp_path, graphs.twice()) as model:
        assert (0, 2) == model.run([np.empty((0, 2), np.float32)])[0].shape
        assert [(3, 2)] == [array.shape for array in model.zeros(3)]


def test_a_version_of_it_warms_up_and_never_runs_inline(tmp_path: Path) -> None:
    """However short its runs are."""
    with isolated(tmp_path, graphs.twice()) as model:
        version = Version(1, model, ServingLimits(), release=lambda *args: None)
        version.warm(SystemClock.now)
        assert version.threaded
        assert 0 < version.cost.predict(1) < 1


def test_runs_of_the_versions_thread_are_answered(tmp_path: Path) -> None:
    """As the gateway does it: a thread that runs batches and tells a loop."""
    told: queue.Queue = queue.Queue()
    with isolated(tmp_path, graphs.twice()) as model:
        loop = type("Loop", (), {"call_soon_threadsafe": staticmethod(lambda callback, batch: told.put(batch))})
        runner = Runner(model, loop, SystemClock.now, lambda batch: None)  # type: ignore[arg-type]
        runner.start(batch_of(ONE, ONE + 1))
        (group,) = told.get(timeout=PATIENCE_S).groups
        runner.stop()
    assert [[2, 4], [4, 6]] == group[1][0].tolist()


def test_external_data_is_inherited(tmp_path: Path) -> None:
    """Sealed files, by descriptor; the sender's own may be closed at once."""
    proto = graphs.twice()
    proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.full((2,), 3.0, np.float32), "w"))
    onnx.save(proto, tmp_path / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    sealed = {}
    for name in ("model.onnx", "weights.bin"):
        with (tmp_path / name).open("rb") as file:
            sealed[name] = seal_copy(file.fileno(), name=name)
        (tmp_path / name).unlink()
    files = ModelFiles(sealed["model.onnx"].fd, {"weights.bin": sealed["weights.bin"].fd})
    model = IsolatedModel("m", 1, files, SessionSettings(), IsolationSettings(), start=start_model_child, now=SystemClock.now)
    for file in sealed.values():
        file.close()
    pid = model.status.pid
    assert [[3, 6]] == model.run([ONE])[0].tolist()
    os.kill(pid, signal.SIGKILL)
    assert died(pid)
    assert [[3, 6]] == model.run([ONE])[0].tolist()
    model.close()
    model.close()


def test_the_process_has_no_secret_no_network_and_the_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel says of it."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sesame")
    with isolated(tmp_path, graphs.twice(), memory_bytes=1 << 30) as model:
        proc = Path(f"/proc/{model.status.pid}")
        assert b"sesame" not in (proc / "environ").read_bytes()
        assert "500" == (proc / "oom_score_adj").read_text().strip()
        limits = {line[:26].strip(): line[26:].split()[0] for line in (proc / "limits").read_text().splitlines()[1:]}
        assert (str(1 << 30), "0", str(512 << 20)) == tuple(limits[f"Max {name}"] for name in ("data size", "core file size", "file size"))
        assert "NoNewPrivs:\t1" in (proc / "status").read_text()
        program = "import ctypes, sys; libc = ctypes.CDLL(None); sys.exit(libc.unshare(1 << 30) and libc.unshare(0x50000000))"
        able = not subprocess.run([sys.executable, "-c", program], check=False).returncode  # not in every container
        assert able == (os.readlink(proc / "ns/net") != os.readlink("/proc/self/ns/net"))
        assert not [fd for fd in os.listdir(proc / "fd") if "onnxruntime.db" in os.readlink(proc / "fd" / fd)]


def test_a_fault_of_the_input_is_told_and_costs_no_process(tmp_path: Path) -> None:
    """With the model's own text and code, neighbours unharmed."""
    with isolated(tmp_path, graphs.picky()) as model:
        first, second, third = ended(batch_of(np.array([5]), np.array([50]), np.array([7])), model)
        assert ([10.0], [30.0]) == (first.tolist(), third.tolist())
        assert Code.INVALID_ARGUMENT == second.code
        assert "out of data bounds" in second.message
        assert 1 == model.status.starts


def test_a_file_that_is_no_model_is_refused_with_the_runtimes_reason(tmp_path: Path) -> None:
    """As in this process; and nothing stays."""
    with pytest.raises(ModelFault, match="type seq"), isolated(tmp_path, graphs.sequence()):
        raise AssertionError("not reached")


def test_a_program_that_does_not_start_is_a_model_that_cannot_be_loaded(tmp_path: Path) -> None:
    """The reason says how it ended."""
    start = Starter(("-c", "raise SystemExit(5)"))
    with (
        pytest.raises(ModelFault, match="while it loaded the model, it ended with status 5"),
        isolated(tmp_path, graphs.twice(), start=start),
    ):
        raise AssertionError("not reached")
    assert [5] == [process.status for process in start.started]


def test_a_run_that_nobody_waits_for_is_ended_in_the_process(tmp_path: Path) -> None:
    """The word overtakes the run, which would not end by itself; the process lives on."""
    with isolated(tmp_path, graphs.endless()) as model:
        handle = model.options()
        send = model._host.channel.send

        def sent(frame, until) -> None:
            send(frame, until)
            handle.terminate = True

        model._host.channel.send = sent
        with pytest.raises(RunFault) as caught:
            model.run([ONE], handle)
        assert not isinstance(caught.value, RunLost)
        model._host.channel.send = send
        assert [[0.5, 0.5]] == model.run([np.full((1, 2), 0.5, np.float32)], model.options())[0].tolist()
        assert 1 == model.status.starts


def test_a_run_that_nobody_waited_for_before_it_began_is_not_sent(tmp_path: Path) -> None:
    """Its batch has waited too long in the thread's queue."""
    with isolated(tmp_path, graphs.endless()) as model:
        handle = model.options()
        handle.terminate = True
        with pytest.raises(RunFault) as caught:
            model.run([ONE], handle)
        assert Code.CANCELLED == caught.value.code


def test_a_process_killed_while_nothing_runs_costs_no_request(tmp_path: Path) -> None:
    """It is noticed before the next run is sent."""
    with isolated(tmp_path, graphs.twice()) as model:
        for _ in range(2):
            pid = model.status.pid
            os.kill(pid, signal.SIGKILL)
            assert died(pid)
            assert [[2, 4]] == model.run([ONE])[0].tolist()
        assert 3 == model.status.starts
        assert "died of signal 9" in model.status.last_end


def test_a_stopped_process_is_killed_when_the_time_is_up(tmp_path: Path) -> None:
    """SIGSTOP: it takes no SIGTERM either."""
    with isolated(tmp_path, graphs.twice(), run_timeout_s=0.2, grace_s=0.1) as model:
        os.kill(model.status.pid, signal.SIGSTOP)
        with pytest.raises(RunLost):
            model.run([np.ones((400_000, 2), np.float32)])
        assert "took too long" in model.status.last_end
        assert "signal 9" in model.status.last_end


def test_inputs_beyond_a_frame_are_refused_and_cost_no_process(tmp_path: Path) -> None:
    """Nothing was sent."""
    with isolated(tmp_path, graphs.twice(), frame_bytes=1 << 20) as model:
        with pytest.raises(RunFault) as caught:
            model.run([np.ones((200_000, 2), np.float32)])
        assert Code.TOO_LARGE == caught.value.code
        assert [[2, 4]] == model.run([ONE])[0].tolist()
        assert 1 == model.status.starts


def test_a_closed_model_answers_unavailable(tmp_path: Path) -> None:
    """And starts nothing."""
    with isolated(tmp_path, graphs.twice()) as model:
        model.close()
        with pytest.raises(RunFault) as caught:
            model.run([ONE])
        assert Code.UNAVAILABLE == caught.value.code


def test_the_process_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    """Models are loaded in threads that end."""
    made: list = []
    manager = isolated(tmp_path, graphs.twice())
    thread = threading.Thread(target=lambda: made.append(manager.__enter__()))
    thread.start()
    thread.join(PATIENCE_S)
    try:
        assert [[2, 4]] == made[0].run([ONE])[0].tolist()
        assert 1 == made[0].status.starts
    finally:
        manager.__exit__(None, None, None)


def test_the_process_dies_with_its_worker(tmp_path: Path) -> None:
    """Even in the middle of an endless run, and even if the worker is killed."""
    path = graphs.saved(tmp_path / "model.onnx", graphs.endless())
    program = (
        "import os, sys, numpy as np\n"
        "from gateway.clock import SystemClock\n"
        "from gateway.control.model_child import start_model_child\n"
        "from gateway.serving.isolated import IsolatedModel, IsolationSettings, ModelFiles\n"
        "from gateway.serving.sessions import SessionSettings\n"
        "fd = os.open(sys.argv[1], os.O_RDONLY)\n"
        "model = IsolatedModel('m', 1, ModelFiles(fd, {}), SessionSettings(), IsolationSettings(), start=start_model_child, "
        "now=SystemClock.now)\n"
        "print(model.status.pid, flush=True)\n"
        "model.run([np.ones((1, 2), np.float32)])\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        watched = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    ready, _, _ = select.select([watched], [], [], PATIENCE_S)
    os.close(watched)
    assert [watched] == ready


def test_a_run_says_how_long_it_took_in_its_process(tmp_path: Path) -> None:
    """No longer than it took to ask for it."""
    with isolated(tmp_path, graphs.twice()) as model:
        began_s = SystemClock.now()
        outputs, seconds = model.timed([np.ones((50_000, 2), np.float32)])
        assert 0.0 < seconds < SystemClock.now() - began_s
        assert (outputs[0] == 2.0).all()


def test_a_process_is_not_believed_that_it_took_longer_than_it_can_have(tmp_path: Path) -> None:
    """What it says is for statistics, and it may be broken."""
    with isolated(tmp_path, graphs.twice()) as model:
        receive = model._host.channel.receive

        def boasting(until):
            frame = receive(until)
            frame.seconds = 1e9
            return frame

        model._host.channel.receive = boasting
        assert model.timed([ONE])[1] < PATIENCE_S


def test_runs_of_several_threads_wait_for_each_other(tmp_path: Path) -> None:
    """Each has its own answer."""
    found: list[bool] = []
    with isolated(tmp_path, graphs.twice()) as model:

        def ask(value: int) -> None:
            rows = np.full((3, 2), value, np.float32)
            found.extend([bool((model.run([rows])[0] == 2 * value).all()) for _ in range(50)])

        threads = [threading.Thread(target=ask, args=(value,)) for value in (1, 2, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (150, 1) == (sum(found), model.status.starts)


def test_a_process_that_gives_way_does_so_from_its_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every thread that it has."""
    monkeypatch.setattr(isolation, "start_model_child", start_model_child_behind)
    with isolated(tmp_path, graphs.twice()) as model:
        pid = model.status.pid
        threads = [int(thread) for thread in os.listdir(f"/proc/{pid}/task")]
        assert {os.getpriority(os.PRIO_PROCESS, 0) + STEPS} == {os.getpriority(os.PRIO_PROCESS, thread) for thread in threads}
