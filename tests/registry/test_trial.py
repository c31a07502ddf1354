"""The child process that tries a model, seen from its parent."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from registry import trial
from registry.limits import RegistryLimits
from registry.trial import Submitted, load_in_child

_REFUSED = "invalid_model: "


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "the runtime died of SIGSEGV while loading the model"),
        ("import os; os.abort()", "the runtime died of SIGABRT while loading the model"),
        ("raise SystemExit(3)", "the runtime ended with status 3 while loading the model"),
        ("print('noise')", "the runtime ended with status 0 while loading the model"),
        ("print('{}')", "the installed ONNX Runtime cannot load the model: None"),
        ("while True: pass", "the model did not load within 0.5 s"),
    ],
)
def test_a_child_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, text: str, kind_of: Callable[..., str]) -> None:
    """Whatever becomes of the child, the model is refused with what is known, and only a clear yes is a yes."""
    (tmp_path / "child.py").write_text(program)
    monkeypatch.setattr(trial, "_CHILD", tmp_path / "child.py")
    limits = RegistryLimits(trial_timeout_s=0.5 if "while" in program else 60.0)
    with (tmp_path / "child.py").open("rb") as file:
        assert _REFUSED + text == kind_of(lambda: load_in_child(Submitted(file.fileno(), {}, 1), limits))


def test_the_child_sees_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its environment has what an interpreter needs, its descriptors are the model's and the pipes."""
    (tmp_path / "child.py").write_text(
        "import os, json\n"
        "assert 'AWS_SECRET_ACCESS_KEY' not in os.environ\n"
        "named = {os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{fd}')}\n"
        "assert not any('other' in name for name in named)\n"
        "print(json.dumps({'loaded': True}))\n"
    )
    (tmp_path / "other").write_text("secret")
    monkeypatch.setattr(trial, "_CHILD", tmp_path / "child.py")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with (tmp_path / "other").open() as other, (tmp_path / "child.py").open("rb") as file:
        os.set_inheritable(other.fileno(), True)
        load_in_child(Submitted(file.fileno(), {}, 1), RegistryLimits())
