"""Every hostile model is refused with its reason, and nothing of it stays in the registry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from registry.golden import golden_of
from registry.limits import RegistryLimits
from registry.parts import Parts
from registry.publish import publish
from registry.store import Store
from registry.trial import load_in_child
from tests.registry.hostile import IN_CHILD, IN_PROCESS, Case, sound

NOW_S = 1_700_000_000.25
GOLDEN = golden_of({"x": np.ones((1, 4), np.float32)})


def _submitted(folder: Path, case: Case) -> Path:
    folder.mkdir()
    model = sound()
    case.change(model)
    for name, content in case.files:
        (folder / name).write_bytes(content)
    path = folder / "any.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def _refusal(tmp_path: Path, case: Case, trial: Callable[..., object], kind_of: Callable[..., str], *, timeout_s: float = 60.0) -> str:
    limits = RegistryLimits(trial_timeout_s=timeout_s, trial_memory_bytes=2 << 30)
    store = Store.create(tmp_path / "registry", limits=limits)
    path = _submitted(tmp_path / "submitted", case)
    before = sorted(store.medium.root.rglob("*"))
    parts = Parts(golden=GOLDEN if case in IN_CHILD else None)
    text = kind_of(lambda: publish(store, path, name="m", publisher="ann", now_s=NOW_S, trial=trial, parts=parts))
    assert before == sorted(store.medium.root.rglob("*"))
    return text


def test_the_sound_model_passes(store: Store, tmp_path: Path) -> None:
    """What the cases spoil is accepted unspoilt, golden requests included."""
    path = _submitted(tmp_path / "submitted", Case("sound", lambda model: None, ""))
    assert 1 == publish(store, path, name="m", publisher="ann", now_s=NOW_S, parts=Parts(golden=GOLDEN)).version


def test_an_import_that_is_written_twice_passes(store: Store, tmp_path: Path, no_trial: Callable[..., None]) -> None:
    """Converters do so; both say the same, under either name of the domain."""
    path = _submitted(
        tmp_path / "submitted", Case("twice", lambda model: model.opset_import.add(domain="ai.onnx", version=17) and None, "")
    )
    assert 1 == publish(store, path, name="m", publisher="ann", now_s=NOW_S, trial=no_trial).version
    assert 17 == store.contract("m", 1).opsets[""]


def test_the_corpus_is_large_and_says_different_things() -> None:
    """At least 25 cases, none of them twice."""
    names = [case.name for case in (*IN_PROCESS, *IN_CHILD)]
    assert len(set(names)) == len(names) >= 60


@pytest.mark.parametrize("case", IN_PROCESS, ids=lambda case: case.name)
def test_refused_by_what_it_says(tmp_path: Path, case: Case, no_trial: Callable[..., None], kind_of: Callable[..., str]) -> None:
    """The scanner or the checker names what is wrong."""
    assert _refusal(tmp_path, case, no_trial, kind_of).startswith("invalid_model: " + case.reason)


@pytest.mark.parametrize("case", IN_PROCESS[::12], ids=lambda case: case.name)
def test_the_child_says_the_same(tmp_path: Path, case: Case, kind_of: Callable[..., str]) -> None:
    """As `publish` does it by default: the file is taken apart in a process of its own."""
    assert _refusal(tmp_path, case, load_in_child, kind_of).startswith("invalid_model: " + case.reason)


@pytest.mark.parametrize("case", IN_CHILD, ids=lambda case: case.name)
def test_refused_by_what_it_does(tmp_path: Path, case: Case, kind_of: Callable[..., str]) -> None:
    """Only loading it or asking it shows what is wrong."""
    timeout_s = 3.0 if case.name == "runs-for-ever" else 60.0
    assert _refusal(tmp_path, case, load_in_child, kind_of, timeout_s=timeout_s).startswith("invalid_model: " + case.reason)
