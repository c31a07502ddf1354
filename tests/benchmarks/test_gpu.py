"""The bench of devices: it measures where there is one, and says where there is none."""

from __future__ import annotations

import pytest

from benchmarks import gpu
from tests.gateway.serving.devices import Device


def test_without_a_gpu_it_says_so_and_judges_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """With a status that is neither success nor a bar that failed."""
    assert gpu.NOTHING_MEASURED == gpu.main(["--quick", "--json", "-"])
    printed = capsys.readouterr()
    assert "no GPU here, nothing was measured: provider 'cuda' is not in this installation of ONNX Runtime" in printed.err
    assert "" == printed.out


def test_with_one_it_measures_batches_and_overlap() -> None:
    """On a device that is none, which is enough to see every instance at work."""
    device = Device(installed=["cpu", "cuda"])
    found = gpu.measure("cuda", 1, 0.01, width=8, runtime=device.runtime)
    assert all(rows > 0 for run in found["runs"] for rows in run.values())
    assert 1 + gpu.INSTANCES == len(device.sessions)
    assert all(session.bound_runs for session in device.sessions)


@pytest.mark.parametrize(
    ("batched", "overlapped", "holds"), [(900, 1000, [True, True]), (700, 1000, [False, True]), (900, 980, [True, False])]
)
def test_bars(batched: int, overlapped: int, holds: list[bool]) -> None:
    """Ratios within a round, by their median."""
    runs = [{"single_rows": 100, "batched_rows": batched, "overlapped_rows": overlapped}] * 3
    assert holds == [bar["holds"] for bar in gpu.judge({"runs": runs})]
