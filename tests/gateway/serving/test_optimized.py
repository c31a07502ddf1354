"""Models from graphs that were optimised before: the same answers, other files only where everything that they were made of agrees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.config import Config, Repository
from gateway.serving import optimized
from gateway.serving.loading import Loader
from gateway.serving.model import Model, ModelFault
from gateway.serving.sessions import SessionSettings
from registry.compiled import Compiled
from registry.repository import Repository as Files
from tests.gateway.serving import graphs
from tests.gateway.serving.served import start_model_child

ROWS = np.array([[1, 2], [3, 4]], np.float32)


class Made:
    """Makes models, and remembers from what."""

    def __init__(self, verified: Any) -> None:
        self.verified = verified
        self.calls: list[tuple[bool, str, bool]] = []  # (from the model's own file, optimisation, written)
        self.failing: set[bool] = set()  # whether models from its own file fail, or others

    def __call__(self, path: str, settings: SessionSettings, optimized_to: str | None) -> Model:
        own = path == self.verified.path
        self.calls.append((own, settings.optimization, optimized_to is not None))
        if own in self.failing and (optimized_to is not None or not own):
            raise ModelFault("no")
        return Model("m", path, settings, optimized_to=optimized_to)


@pytest.fixture
def verified(tmp_path: Path) -> Any:
    graphs.saved(tmp_path / "models" / "m" / "1" / "model.onnx", graphs.twice())
    (ref,) = Files(tmp_path / "models").listing().versions
    with ref.open() as opened:
        yield opened


def load(made: Made, root: Path, **settings: Any) -> list[list[float]]:
    model = optimized.load(made.verified, SessionSettings(**settings), Compiled(root / "compiled"), made)
    return model.run([ROWS])[0].tolist()


def test_the_second_load_takes_what_the_first_has_made(verified: Any, tmp_path: Path) -> None:
    """And does nothing to it any more."""
    made = Made(verified)
    assert (ROWS * 2).tolist() == load(made, tmp_path) == load(made, tmp_path)
    assert [(True, "all", True), (False, "none", False)] == made.calls


@pytest.mark.parametrize("changed", [{"optimization": "basic"}, {"entries": {"session.disable_quant_qdq": "1"}}])
def test_other_settings_are_another_graph(verified: Any, tmp_path: Path, changed: dict[str, Any]) -> None:
    """Of the runtime's optimiser."""
    made = Made(verified)
    load(made, tmp_path)
    load(made, tmp_path, **changed)
    assert [True, True] == [own for own, _, _ in made.calls]


def test_another_runtime_or_machine_is_another_graph(verified: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels and layouts are chosen for both."""
    made = Made(verified)
    load(made, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(optimized, "RUNTIME_VERSION", "0.1")
        load(made, tmp_path)
    (tmp_path / "cpuinfo").write_text("flags : fpu avx2\n")
    other = optimized.load(verified, SessionSettings(), Compiled(tmp_path / "compiled"), made, cpuinfo=tmp_path / "cpuinfo")
    assert (ROWS * 2).tolist() == other.run([ROWS])[0].tolist()
    assert [True, True, True] == [own for own, _, _ in made.calls]


def test_features_are_those_of_all_cores_in_any_order(tmp_path: Path) -> None:
    """A machine with two kinds of cores is not one with either."""
    texts = ("flags : a b\nflags : b a\n", "flags : b a\n", "Features : a b\nflags : c\n")
    told = []
    for number, text in enumerate(texts):
        (tmp_path / str(number)).write_text(text)
        told.append(optimized.features(tmp_path / str(number)))
    assert told[0] == told[1] != told[2]
    assert optimized.features(tmp_path / "none")


@pytest.mark.parametrize(
    ("own_fails", "expected"),
    [
        (False, [(True, "all", True), (False, "none", False), (True, "all", True)]),
        (True, [(True, "all", True), (True, "all", False), (True, "all", True), (True, "all", False)]),
    ],
)
def test_whatever_goes_wrong_the_models_own_file_is_loaded(verified: Any, tmp_path: Path, own_fails: bool, expected: list) -> None:
    """A graph that does not load any more is made again; one that cannot be written is not kept."""
    made = Made(verified)
    made.failing = {own_fails}
    for _ in range(2):
        assert (ROWS * 2).tolist() == load(made, tmp_path)
    assert expected == made.calls


@pytest.mark.parametrize(
    ("settings", "fits"),
    [({}, True), ({"optimization": "none"}, False), ({"providers": ("openvino",)}, False), ({"providers": ("cuda", "cpu")}, False)],
)
def test_what_can_be_written_down(verified: Any, settings: dict[str, Any], fits: bool) -> None:
    """By the processor's own provider, where there is something to save."""
    assert fits is optimized.applies(verified, SessionSettings(**settings))


def test_a_version_is_loaded_with_it(tmp_path: Path) -> None:
    """Warmed and asked as any other."""
    graphs.saved(tmp_path / "models" / "m" / "1" / "model.onnx", graphs.twice())
    (ref,) = Files(tmp_path / "models").listing().versions
    config = Config(repository=Repository(path=tmp_path / "models"))
    for _ in range(2):
        loader = Loader(config, lambda *_: None, lambda: 0.0, start_model_child, compiled=Compiled(tmp_path / "compiled"))
        version, _ = loader.load(ref, lambda _: None)
        assert (ROWS * 2).tolist() == version.model.run([ROWS])[0].tolist()
        version.end()
    assert 1 == len(list((tmp_path / "compiled" / "blobs").iterdir()))
