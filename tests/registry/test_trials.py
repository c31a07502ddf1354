"""One child process that tries many versions, seen from its parent."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace as replaced
from onnx import ModelProto

from registry import trials
from registry.gate import Gate
from registry.golden import Golden, GoldenRequest, golden_of, tensor_of
from registry.limits import RegistryLimits
from registry.niceness import STEPS
from registry.parts import Parts
from registry.ports import Ports, View
from registry.publish import publish
from registry.schema import ContractFile
from registry.sealed import seal_copy
from registry.store import Store
from registry.trials import TrialChild, Tried, Verdict
from registry.verified import VerifiedModel
from registry.warmup import MAX_FILES_BYTES, Filling, Sample
from tests.registry.hostile import IN_CHILD, sound

PROGRAM = Path(__file__).with_name("faulty_trials_child.py")
HASTY = RegistryLimits(trial_timeout_s=1.0)
ROWS = np.arange(8, dtype=np.float32).reshape(2, 4)
PASSED = Tried(Verdict.PASSED)


def version(content: bytes) -> VerifiedModel:
    """One in sealed memory."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        sealed = seal_copy(file.fileno(), name="model")
    return VerifiedModel("m", 1, sealed.digest, sealed, {})


def fault(name: str) -> VerifiedModel:
    return version(b"fault:" + name.encode())


def asking(*answers: float) -> Golden:
    """A request for each row of one 4, with the answer that it shall have."""
    row = np.ones((1, 4), np.float32)
    return Golden(
        requests=tuple(
            GoldenRequest(inputs={"x": tensor_of(row)}, outputs={"y": tensor_of(np.full((1, 3), answer, np.float32))}) for answer in answers
        )
    )


@pytest.fixture
def good(gemm: Callable[..., ModelProto]) -> Iterator[VerifiedModel]:
    """Ones give 5."""
    with version(gemm(1.0).SerializeToString()) as model:
        yield model


@contextmanager
def nothing_left() -> Iterator[None]:
    """No descriptor, no thread and no process of a child remains."""
    files, threads, children = descriptors(), {*threading.enumerate()}, processes()
    yield
    assert (files, children) == (descriptors(), processes())
    assert {*threading.enumerate()} <= threads  # one of another test may have ended meanwhile


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def processes() -> set[str]:
    """That run the programs of these tests and are this process's own or nobody's, by id: others may run them beside it."""
    programs = {str(path).encode() for path in (PROGRAM, trials._CHILD)}
    found = set()
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            parent = int((command.parent / "stat").read_text().rpartition(")")[2].split()[1])
            if parent in (os.getpid(), 1) and programs & set(command.read_bytes().split(b"\0")):
                found.add(command.parent.name)
    return found


@pytest.mark.parametrize(
    ("name", "verdict", "reason"),
    [
        ("segfault", Verdict.CRASHED, "the model crashed the runtime: it died of SIGSEGV"),
        ("abort", Verdict.CRASHED, "the model crashed the runtime: it died of SIGABRT"),
        ("killed", Verdict.MEMORY, "the model's trial was killed from outside, probably for its memory"),
        ("processor", Verdict.PROCESSOR, "the model's trial used more than 61 s of processor time"),
        ("exit", Verdict.NONSENSE, "the model's trial ended with status 3 without an answer"),
        ("raise", Verdict.NONSENSE, "the model's trial ended with status 1 without an answer"),
        ("noise", Verdict.NONSENSE, "the trial of the model gave something that is no answer"),
        ("letters", Verdict.NONSENSE, "the trial of the model gave something that is no answer"),
        ("unknown", Verdict.NONSENSE, "the trial of the model gave something that is no answer"),
        ("more", Verdict.NONSENSE, "the trial of the model gave something that is no answer"),
        ("close", Verdict.NONSENSE, "the model's trial went on without an answer"),
    ],
)
def test_a_version_that_costs_the_child(
    good: VerifiedModel, monkeypatch: pytest.MonkeyPatch, name: str, verdict: Verdict, reason: str
) -> None:
    """It gets the reason, once from a child of its own; those before and after pass, and nothing is left behind."""
    monkeypatch.setattr(trials, "_GRACE_S", 0.2)
    with fault(name) as bad, nothing_left(), TrialChild(program=PROGRAM) as child:
        assert PASSED == child.tried(good, golden=asking(5))
        first = child.pid
        assert Tried(verdict, reason) == child.tried(bad)
        assert child.pid is None
        assert PASSED == child.tried(good, golden=asking(5))
        assert first != child.pid


@pytest.mark.parametrize("name", ["hang", "stubborn", "orphan"])
def test_a_version_that_hangs(good: VerifiedModel, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """It is ended, killed if need be, also where what it started keeps the connection."""
    monkeypatch.setattr(trials, "_GRACE_S", 0.2)
    with fault(name) as bad, nothing_left(), TrialChild(HASTY, program=PROGRAM) as child:
        assert Tried(Verdict.HUNG, "the model hangs: the trial took more than 1 s and was ended") == child.tried(bad)
        patient = TrialChild(program=PROGRAM)
        with patient:
            assert PASSED == patient.tried(good)


class Waited:
    """An event that comes after so many seconds of a clock that only it moves."""

    def __init__(self, comes_s: float) -> None:
        self.now_s, self.comes_s = 0.0, comes_s

    def wait(self, seconds: float) -> bool:
        self.now_s = min(self.now_s + seconds, self.comes_s)
        return self.now_s >= self.comes_s


@pytest.mark.parametrize(
    ("share", "comes_s", "in_time"),
    [(1.0, 59.0, True), (1.0, 61.0, False), (0.1, 590.0, True), (0.1, 610.0, False), (0.0, 1190.0, True), (0.0, 1210.0, False)],
)
def test_only_time_with_a_core_counts(share: float, comes_s: float, in_time: bool) -> None:
    """A child that gives way is not taken for one that hangs; one that hardly ever runs is given up in the end."""
    done = Waited(comes_s)
    assert in_time is trials.done_within(done, 60.0, lambda: 7.0 + (1 - share) * done.now_s)  # type: ignore[arg-type]


def test_the_child_gives_way(good: VerifiedModel) -> None:
    """To whoever serves beside it."""
    with TrialChild(program=PROGRAM) as child:
        assert PASSED == child.tried(good)
        assert child.pid is not None
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + STEPS)


def test_a_version_that_takes_too_much_memory(good: VerifiedModel) -> None:
    """The bound is its own, and the child is another one afterwards."""
    limits = RegistryLimits(trial_memory_bytes=2 << 30)
    with fault("grow") as bad, nothing_left(), TrialChild(limits, program=PROGRAM) as child:
        assert PASSED == child.tried(good)
        tried = child.tried(bad)
        assert (Verdict.MEMORY, "the model needs more memory than the 2147483688 bytes that its trial has") == (tried.verdict, tried.reason)
        assert child.pid is None
        assert PASSED == child.tried(good)


def test_a_version_pays_for_nobody_else(good: VerifiedModel, gemm: Callable[..., ModelProto]) -> None:
    """What crashes only because of the one before it is tried again alone."""
    with fault("poison") as poison, nothing_left(), TrialChild(program=PROGRAM) as child:
        assert Verdict.NOT_LOADED is child.tried(poison).verdict
        poisoned = child.pid
        assert PASSED == child.tried(good)
        assert poisoned != child.pid


def test_verdicts_that_leave_the_child_alone(good: VerifiedModel, gemm: Callable[..., ModelProto]) -> None:
    """Wrong answers, what the runtime does not load and what the scanner refuses are told apart, in any order, by one child."""
    strange = gemm(op="Strange", domain="my.domain").SerializeToString()
    with version(strange) as foreign, version(b"\x08\x07no") as noise, nothing_left(), TrialChild() as child:
        for _ in range(2):
            wrong = child.tried(good, golden=asking(5, 6))
            assert Verdict.WRONG is wrong.verdict
            assert "golden request 2 is answered otherwise: output 'y' has 3 of 3 values differ, by up to 1" == wrong.reason
            refused = child.tried(foreign, examine=True)
            assert (Verdict.REFUSED, None) == (refused.verdict, refused.contract)
            assert "my.domain" in (refused.reason or "")
            for tried in (child.tried(foreign), child.tried(foreign, examine=True, gate=Gate(domains=("", "my.domain")))):
                assert Verdict.NOT_LOADED is tried.verdict or "ONNX checker" in (tried.reason or "")
                assert "/proc/self/fd" not in (tried.reason or "")
            assert Verdict.NOT_LOADED is child.tried(noise).verdict
            examined = child.tried(good, golden=asking(5), examine=True)
            assert (Verdict.PASSED, ["x"]) == (examined.verdict, [port.name for port in examined.contract.inputs])
            pid = child.pid
            assert PASSED == child.tried(good)
            assert pid == child.pid


@pytest.mark.parametrize("case", IN_CHILD[1:], ids=lambda case: case.name)
def test_hostile_models(tmp_path: Path, case: object) -> None:
    """Those that publishing refuses only after loading them, with real loops and real memory."""
    model = sound()
    case.change(model)
    limits = RegistryLimits(trial_memory_bytes=2 << 30, trial_timeout_s=3.0 if case.name == "runs-for-ever" else 60.0)
    with version(model.SerializeToString()) as hostile, nothing_left(), TrialChild(limits) as child:
        tried = child.tried(hostile, golden=golden_of({"x": np.ones((1, 4), np.float32)}))
        expected = {"runs-for-ever": Verdict.HUNG, "eats-memory": Verdict.MEMORY, "does-not-load": Verdict.NOT_LOADED}
        assert expected.get(case.name, Verdict.WRONG) is tried.verdict
        assert (tried.reason or "").startswith(case.reason)


def test_a_version_of_a_registry_with_external_data(store: Store, onnx_file: Callable[..., Path]) -> None:
    """As it comes from the store, with the golden requests that it was published with."""
    golden = golden_of({"x": ROWS})
    publish(store, onnx_file(external=True), name="m", publisher="ann", now_s=1e9, parts=Parts(golden=golden))
    with nothing_left(), store.load_verified("m", 1) as model, TrialChild() as child:
        assert {"weights.bin"} == set(model.external_data)
        assert PASSED == child.tried(model, golden=asking(5))
        assert Verdict.WRONG is child.tried(model, golden=asking(4)).verdict
        assert Verdict.PASSED is child.tried(model, examine=True).verdict


def test_more_files_than_one_message_holds(good: VerifiedModel) -> None:
    """Descriptors come in several."""
    spare = [version(b"weights") for _ in range(255)]
    many = VerifiedModel("m", 1, good.digest, good.file, {f"data-{number}.bin": one.file for number, one in enumerate(spare)})
    with nothing_left(), TrialChild() as child:
        assert PASSED == child.tried(many)
        assert PASSED == child.tried(good)
    for one in spare:
        one.close()


def test_the_child_is_confined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for one trial: bounds, an empty environment, no descriptor but its own, no privileges to gain."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    (tmp_path / "secret").write_text("secret")
    with fault("check") as check, (tmp_path / "secret").open() as other, TrialChild(program=PROGRAM) as child:
        os.set_inheritable(other.fileno(), True)
        assert PASSED == child.tried(check)


def test_a_child_is_replaced_after_its_share(good: VerifiedModel) -> None:
    """What a runtime keeps stays bounded."""
    with nothing_left(), TrialChild(tasks=2) as child:
        pids = []
        for _ in range(5):
            assert PASSED == child.tried(good)
            pids.append(child.pid)
        assert [pids[0], pids[0], pids[2], pids[2], pids[4]] == pids
        assert 3 == len(set(pids))


def test_a_larger_version_gets_a_child_with_more_room(good: VerifiedModel) -> None:
    """The bound of the process is that of the largest task so far."""
    limits = RegistryLimits(trial_memory_bytes=1 << 30)
    with version(b"\0" * (300 << 20)) as large, nothing_left(), TrialChild(limits) as child:
        assert PASSED == child.tried(good)
        first = child.pid
        assert Verdict.NOT_LOADED is child.tried(large).verdict
        assert first != child.pid
        assert PASSED == child.tried(good)


def test_a_child_that_died_between_two_trials(good: VerifiedModel) -> None:
    """The next version gets another."""
    with nothing_left(), TrialChild() as child:
        assert PASSED == child.tried(good)
        os.kill(child.pid, 9)
        assert PASSED == child.tried(good)


def test_children_side_by_side(good: VerifiedModel) -> None:
    """One in each of two threads; what one of them suffers is nothing to the other."""
    results: dict[str, list[Verdict]] = {}

    def work(name: str) -> None:
        with fault(name) as bad, TrialChild(program=PROGRAM) as child:
            results[name] = [child.tried(model).verdict for model in (good, bad, good, bad, good)]

    with nothing_left():
        threads = [threading.Thread(target=work, args=(name,)) for name in ("segfault", "noise")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for name, verdict in (("segfault", Verdict.CRASHED), ("noise", Verdict.NONSENSE)):
        assert [Verdict.PASSED, verdict, Verdict.PASSED, verdict, Verdict.PASSED] == results[name]


def warmed(good: VerifiedModel, *samples: Sample, ports: Ports | None = None) -> VerifiedModel:
    return replace(good, warmup=samples, ports=ports)


def test_the_samples_of_a_warm_up_are_asked(good: VerifiedModel) -> None:
    """Once each, in the shape of the graph; one that fails is named, and one with bfloat16 is left to the worker."""
    fine = Sample(name="fine", rows=2, runs=9, batched=True, inputs={"x": Filling(datatype="FP32", dims=(4,), values="random")})
    other = replaced(fine, name="other", inputs={"x": Filling(datatype="FP32", dims=(5,), values="zero")})
    bits = replaced(fine, name="bits", inputs={"x": Filling(datatype="BF16", dims=(4,), values="zero")})
    seen = Ports(contract=ContractFile(), batched=True, inputs={"x": View(seen=(-1, 2, 2), graph=(-1, 4))})
    square = replaced(fine, inputs={"x": Filling(datatype="FP32", dims=(2, 2), values="zero")})
    with nothing_left(), TrialChild() as child:
        assert PASSED == child.tried(warmed(good, fine, bits))
        assert PASSED == child.tried(warmed(good, square, ports=seen))
        tried = child.tried(warmed(good, fine, other))
        assert (Verdict.WRONG, True) == (tried.verdict, (tried.reason or "").startswith("warm-up sample 'other' fails: "))
        strange = child.tried(warmed(good, replaced(fine, inputs={})))
        assert Tried(Verdict.WRONG, "warm-up sample 'fine' does not have the model's inputs") == strange
        assert PASSED == child.tried(good)


def test_data_of_a_warm_up_travels_to_the_child(good: VerifiedModel) -> None:
    """As much of it as a model may have."""
    rows = MAX_FILES_BYTES // 16
    data = np.zeros((rows, 4), "<f4").tobytes()
    filling = Filling(datatype="FP32", dims=(rows, 4), values="file", data=data)
    large = Sample(name="large", rows=1, runs=1, batched=False, inputs={"x": filling})
    with TrialChild() as child:
        assert PASSED == child.tried(warmed(good, large))
