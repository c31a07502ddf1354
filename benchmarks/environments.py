"""Environments for peers whose packages do not fit into ours: made once for each list of packages, in `.build`, and kept."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

PLACE = Path(__file__).parent.parent / ".build" / "peers"


class Uninstallable(Exception):
    """A peer's packages cannot be had here; the text says why."""


def environment(name: str, packages: list[str]) -> Path:
    """The Python of an environment with these packages. Raises Uninstallable with the end of what the installer said."""
    folder = PLACE / name
    stamp = folder / hashlib.sha256("\n".join([sys.version, *packages]).encode()).hexdigest()[:16]
    python = folder / "bin" / "python"
    if not stamp.exists():
        shutil.rmtree(folder, ignore_errors=True)
        _call([sys.executable, "-m", "venv", "--without-pip", str(folder)])
        installer = Path(sys.executable).parent / "uv"
        _call([str(installer), "pip", "install", "--quiet", "--python", str(python), *packages])
        stamp.touch()
    return python


def _call(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Uninstallable(str(error)) from error
    if done.returncode:
        raise Uninstallable(done.stderr.strip()[-500:])
