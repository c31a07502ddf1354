"""Where and with what a job runs: commit, packages, machine. Asks git and the machine; what they do not say is None.

A lock file stands for the packages; without one, the list of what is installed does, by name and version.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from functools import cache
from pathlib import Path

from registry.names import digest_of
from registry.training import Plain
from retrain.errors import RetrainError

LOCKS = ("uv.lock", "poetry.lock", "pdm.lock", "requirements.lock", "conda-lock.yml")
_PACKAGES = ("numpy", "scikit-learn", "skl2onnx", "onnx", "onnxruntime", "duckdb", "pyarrow")
_GIT_S = 10.0


def commit(folder: Path) -> tuple[str | None, bool | None]:
    """The commit that is checked out around `folder`, and whether files differ from it; (None, None) where there is none."""
    sha = _git(folder, "rev-parse", "HEAD")
    status = None if sha is None else _git(folder, "status", "--porcelain", "--untracked-files=no")
    return (None, None) if sha is None or status is None else (sha, bool(status))


def lock_digest(folder: Path, named: Path | None = None) -> str:
    """Of the lock file that is named, or lies in `folder`; else of the installed packages. Raises `RetrainError`."""
    paths = [named] if named else [folder / name for name in LOCKS]
    for path in paths:
        try:
            return digest_of(path.read_bytes())
        except FileNotFoundError:
            if named:
                raise RetrainError(f"{path}: there is no such lock file") from None
        except OSError as error:
            raise RetrainError(f"{path}: {error.strerror}") from error
    return _installed()


@cache
def versions() -> dict[str, str]:
    """Of what makes the model and what may change it."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def version_of(package: str) -> str | None:
    """Of an installed one."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def identity() -> dict[str, str]:
    """What must be the same on two machines for one job to run on both: versions and this release's code; and the processor, for people."""
    return {**versions(), "tidegate": f"code {_code()}", "processor": _processor() or "unknown"}


@cache
def _code() -> str:
    """The first digits of the digest of every module that reads or fits."""
    folder = Path(__file__).resolve().parent.parent
    modules = sorted(path for package in ("kernels", "registry", "retrain") for path in (folder / package).rglob("*.py"))
    return digest_of(b"".join(path.read_bytes() for path in modules)).removeprefix("sha256:")[:12]


def hardware() -> dict[str, Plain]:
    """What the numbers of a training may depend on."""
    return {
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()}",
    }


@cache
def _installed() -> str:
    """Asking two hundred packages takes a while, and they stay what they are while a process runs."""
    found = {f"{one.name}=={one.version}".lower() for one in importlib.metadata.distributions()}
    return digest_of("\n".join(sorted(found)).encode())


def _processor() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor() or None)


def _git(folder: Path, *words: str) -> str | None:
    try:
        found = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=_GIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() if found.returncode == 0 else None
