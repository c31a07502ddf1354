"""What a model says of reference rows: asked in child processes, in parts, within bounds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from registry import answers, trial_child
from registry.answers import ROWS_PER_RUN, answers_of
from registry.contract import Contract, Port
from registry.golden import Tensor, tensor_of
from registry.limits import RegistryLimits
from registry.trial import Answer, Asked, Submitted, Task, load_in_child

LIMITS = RegistryLimits()
CONTRACT = Contract(
    ir_version=8,
    opsets={"": 17},
    producer="tests",
    inputs=(Port(name="x", type="tensor(float)", shape=("batch", 4)),),
    outputs=(Port(name="y", type="tensor(float)", shape=("batch", 3)),),
)


def model_of(
    nodes: list[tuple[str, list[str], list[str]]], outputs: dict[str, tuple[int, list[int | str]]], rows: int | str = "n"
) -> ModelProto:
    """A graph over x (float, 4) and t (string, 1)."""
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, 4]),
        helper.make_tensor_value_info("t", TensorProto.STRING, [rows, 1]),
    ]
    made = [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()]
    graph = helper.make_graph([helper.make_node(op, given, found) for op, given, found in nodes], "g", inputs, made)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., dict[str, np.ndarray]]:
    """Asks a model in the real child."""

    def call(model: ModelProto, rows: dict[str, np.ndarray], limits: RegistryLimits = LIMITS) -> dict[str, np.ndarray]:
        path = tmp_path / "m.onnx"
        path.write_bytes(model.SerializeToString())
        with path.open("rb") as file:
            files = Submitted(file.fileno(), {}, path.stat().st_size)
            contract = load_in_child(files, limits).contract
            assert contract is not None
            return answers_of(files, contract, rows, limits, load_in_child)

    return call


TWO = model_of(
    [("Neg", ["x"], ["y"]), ("Identity", ["t"], ["u"])], {"y": (TensorProto.FLOAT, ["n", 4]), "u": (TensorProto.STRING, ["n", 1])}
)
ROWS = {
    "x": np.random.default_rng(0).normal(size=(3 * ROWS_PER_RUN + 7, 4)).astype(np.float32),
    "t": np.array([[f"text {number}"] for number in range(3 * ROWS_PER_RUN + 7)], object),
}


def test_all_rows_are_answered(ask: Callable[..., dict[str, np.ndarray]]) -> None:
    """In their order, numbers and texts."""
    found = ask(TWO, ROWS)
    np.testing.assert_array_equal(-ROWS["x"], found["y"])
    np.testing.assert_array_equal(ROWS["t"], found["u"])


def test_a_model_of_one_row_is_asked_row_by_row(ask: Callable[..., dict[str, np.ndarray]]) -> None:
    """Where the graph fixes it."""
    one = model_of(
        [("Neg", ["x"], ["y"]), ("Identity", ["t"], ["u"])], {"y": (TensorProto.FLOAT, [1, 4]), "u": (TensorProto.STRING, [1, 1])}, 1
    )
    rows = {name: array[:5] for name, array in ROWS.items()}
    np.testing.assert_array_equal(-rows["x"], ask(one, rows)["y"])


def test_outputs_that_are_no_rows_or_too_large_are_left_out(ask: Callable[..., dict[str, np.ndarray]]) -> None:
    """A sum over the batch, a matrix of all pairs."""
    model = model_of(
        [("Neg", ["x"], ["y"]), ("ReduceSum", ["x"], ["sum"]), ("Transpose", ["x"], ["turned"]), ("Identity", ["t"], ["u"])],
        {
            "y": (TensorProto.FLOAT, ["n", 4]),
            "sum": (TensorProto.FLOAT, [1, 1]),
            "turned": (TensorProto.FLOAT, [4, "n"]),
            "u": (TensorProto.STRING, ["n", 1]),
        },
    )
    assert {"y", "u"} == ask(model, ROWS).keys()


def test_a_model_that_fails_says_on_which_rows(ask: Callable[..., dict[str, np.ndarray]], kind_of: Callable[..., str]) -> None:
    """With its own reason."""
    model = model_of([("Cast", ["t"], ["y"])], {"y": (TensorProto.FLOAT, ["n", 1])})
    model.graph.node[0].attribute.append(helper.make_attribute("to", TensorProto.FLOAT))
    rows = {"x": ROWS["x"][:300], "t": np.array([["1.5"]] * 299 + [["no number"]], object)}
    assert "invalid_model: the model fails on reference rows 257 to 300: " in kind_of(lambda: ask(model, rows))


def doubled(rows: np.ndarray, parts: list[int]) -> Callable[[Submitted, RegistryLimits], Answer]:
    """A trial that answers two runs at a time."""

    def trial(files: Submitted, limits: RegistryLimits) -> Answer:
        asked = files.asked
        assert asked is not None
        parts.append(asked.start)
        starts = range(asked.start, asked.packed.rows, asked.rows_per_run)[:2]
        return Answer(answered=tuple({"y": tensor_of(2 * rows[start : start + asked.rows_per_run, :3])} for start in starts))

    return trial


def test_children_follow_each_other() -> None:
    """Each goes on where the one before ended."""
    parts: list[int] = []
    found = answers_of(Submitted(0, {}, 1), CONTRACT, {"x": ROWS["x"]}, LIMITS, doubled(ROWS["x"], parts))
    np.testing.assert_array_equal(2 * ROWS["x"][:, :3], found["y"])
    assert [0, 2 * ROWS_PER_RUN] == parts


def test_a_child_stops_when_it_has_done_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a run at least, for the bytes of its answers or its time."""
    monkeypatch.setattr(trial_child, "_run", lambda session, asked, memory, start, task: {"y": tensor_of(np.zeros((4, 2), np.float32))})
    monkeypatch.setattr(trial_child, "mmap", FakeMap)
    packed = answers.pack({"x": np.zeros((40, 4), np.float32)}, {"x": "tensor(float)"})[0]
    asked = Asked(fd=0, packed=packed, start=8, rows_per_run=4, outputs=("y",), max_elements=9)

    def runs(*, bytes_: int = 1 << 20, cpu_s: int = 3_000) -> int:
        monkeypatch.setattr(trial_child, "ASKED_BYTES", bytes_)
        task = Task(
            model_fd=0, data_fds={}, memory_bytes=1, cpu_s=cpu_s, descriptors=9, gate=Submitted(0, {}, 1).gate, golden=None, asked=asked
        )  # fmt: skip
        return len(list(trial_child.runs_of(None, task)))  # type: ignore[arg-type]

    assert [8, 3, 1, 1] == [runs(), runs(bytes_=96), runs(bytes_=1), runs(cpu_s=0)]


class FakeMap:
    """In the place of the module mmap."""

    PROT_READ = 1
    mmap = staticmethod(lambda fd, size, prot: bytes(size))


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (None, "reference rows without the model's outputs need a trial that asks it"),
        (Answer(), "reference rows without the model's outputs need a trial that asks it"),
        (Answer(answered=({"y": Tensor(type="tensor(float)", shape=(3, 1), data=b"\0" * 4)},) * 9), "gave something that is no answer"),
        (Answer(answered=({"y": Tensor(type="none", shape=(3, 1))},) * 9), "gave something that is no answer"),
        (Answer(answered=({"y": tensor_of(np.zeros((3, 1), np.float32))},) * 9), "gave another number of rows than it was asked"),
    ],
)
def test_a_child_is_not_trusted(answer: Answer | None, text: str, kind_of: Callable[..., str]) -> None:
    """Whatever it says instead of an answer is a refusal."""
    assert text in kind_of(lambda: answers_of(Submitted(0, {}, 1), CONTRACT, {"x": ROWS["x"]}, LIMITS, lambda files, limits: answer))


def test_bounds(monkeypatch: pytest.MonkeyPatch, kind_of: Callable[..., str]) -> None:
    """All answers together, and a number of rows that the graph fixes."""
    monkeypatch.setattr(answers, "MAX_ANSWERED_BYTES", 100)
    trial = doubled(ROWS["x"], [])
    assert "have more than 100 bytes: give fewer rows" in kind_of(lambda: answers_of(Submitted(0, {}, 1), CONTRACT, ROWS_X, LIMITS, trial))
    fixed = Contract(
        ir_version=8, opsets={"": 17}, producer="", inputs=(Port(name="x", type="tensor(float)", shape=(2, 4)),), outputs=CONTRACT.outputs
    )
    assert "the model takes 2 rows at a time" in kind_of(lambda: answers_of(Submitted(0, {}, 1), fixed, ROWS_X, LIMITS, trial))


ROWS_X = {"x": ROWS["x"]}
