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
_FOUND = '{"contract": {"ir_version": 8, "opsets": {"": 17}, "producer": "", "inputs": [], "outputs": []}}'


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "the model crashed the runtime: it died of SIGSEGV"),
        ("import os; os.abort()", "the model crashed the runtime: it died of SIGABRT"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "the model's trial was killed from outside, probably for its memory"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)", "the model's trial used more than 61 s of processor time"),
        ("raise SystemExit(3)", "the model ended its trial with status 3 and without an answer"),
        ("print('noise')", "the model ended its trial with status 0 and without an answer"),
        ("print('{}')", "the model ended its trial with status 0 and half an answer"),
        ("import json; print(json.dumps({'reason': 'not\\n  good'}))", "not good"),
        (f"print('{_FOUND}')", "the model ended its trial with status 0 and half an answer"),
        ("while True: pass", "the model hangs: the trial took more than 0.5 s and was ended"),
        (
            "import signal; signal.signal(15, signal.SIG_IGN)\nwhile True: pass",
            "the model hangs: the trial took more than 0.5 s and was ended",
        ),
        ("while True: print('x' * 1_000_000)", "the model's golden answers have more than 41943040 bytes"),
    ],
)
def test_a_child_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, text: str, kind_of: Callable[..., str]) -> None:
    """Whatever becomes of the child, the model is refused with what is known, and only a clear yes is a yes."""
    (tmp_path / "child.py").write_text(program)
    monkeypatch.setattr(trial, "_CHILD", tmp_path / "child.py")
    monkeypatch.setattr(trial, "_GRACE_S", 0.2)
    limits = RegistryLimits(trial_timeout_s=0.5 if "pass" in program else 60.0)
    with (tmp_path / "child.py").open("rb") as file:
        assert _REFUSED + text == kind_of(lambda: load_in_child(Submitted(file.fileno(), {}, 1), limits))


def test_the_child_sees_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its environment has what an interpreter needs, its descriptors are the model's and the pipes."""
    (tmp_path / "child.py").write_text(
        "import os, json, sys\n"
        "kept = {'LD_LIBRARY_PATH', 'PYTHONPATH', 'PYTHONDONTWRITEBYTECODE', 'OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'LC_CTYPE', "
        "'ORT_DISABLE_TELEMETRY'}\n"
        "assert kept >= set(os.environ)\n"
        "named = {os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{fd}')}\n"
        "assert not any('other' in name for name in named)\n"
        "assert '/' == os.getcwd()\n"
        f"print('{_FOUND[:-1]}, \"loaded\": true}}')\n"
    )
    (tmp_path / "other").write_text("secret")
    monkeypatch.setattr(trial, "_CHILD", tmp_path / "child.py")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with (tmp_path / "other").open() as other, (tmp_path / "child.py").open("rb") as file:
        os.set_inheritable(other.fileno(), True)
        assert load_in_child(Submitted(file.fileno(), {}, 1), RegistryLimits()).loaded


def test_the_child_is_confined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits hold before a library is imported: no file, no core, few descriptors, bounded memory, no privileges to gain."""
    (tmp_path / "child.py").write_text(
        "import ctypes, os, sys, resource, msgspec\n"
        "from registry.trial import Task\n"
        "from registry.trial_child import confine\n"
        "task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)\n"
        "def able():\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        libc = ctypes.CDLL(None)\n"
        "        os._exit(0 if libc.unshare(1 << 30) == 0 or libc.unshare(0x50000000) == 0 else 1)\n"
        "    return os.waitpid(child, 0)[1] == 0\n"
        "before, gives_up = os.readlink('/proc/self/ns/net'), able()\n"
        "confine(memory_bytes=task.memory_bytes, cpu_s=task.cpu_s, descriptors=task.descriptors + task.model_fd)\n"
        "assert gives_up == (before != os.readlink('/proc/self/ns/net'))\n"
        "assert not {'onnx', 'onnxruntime', 'numpy'} & set(sys.modules)\n"
        "soft = lambda name: resource.getrlimit(getattr(resource, 'RLIMIT_' + name))\n"
        "assert (0, 0) == soft('FSIZE') == soft('CORE')\n"
        "assert (31, 31) == soft('CPU')\n"
        "assert (1 << 30) + 4 == soft('AS')[1]\n"
        "assert task.descriptors + task.model_fd == soft('NOFILE')[1]\n"
        "assert 'NoNewPrivs:\\t1' in open('/proc/self/status').read()\n"
        f"print('{_FOUND[:-1]}, \"loaded\": true}}')\n"
    )
    monkeypatch.setattr(trial, "_CHILD", tmp_path / "child.py")
    with (tmp_path / "child.py").open("rb") as file:
        limits = RegistryLimits(trial_timeout_s=30.0, trial_memory_bytes=1 << 30)
        assert load_in_child(Submitted(file.fileno(), {}, 1), limits).loaded
