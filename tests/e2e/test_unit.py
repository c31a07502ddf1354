"""systemd's own reading of the unit."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.files import DEPLOY

FIRST_WITH_RELOADS = 253  # the first systemd that knows the second type


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    """But for the type that an older one does not know, as the unit says; the program is put where this machine has one."""
    text = (DEPLOY / "systemd/tidegate.service").read_text()
    unit = tmp_path / "tidegate.service"
    unit.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={shutil.which('true')}", text, flags=re.MULTILINE))
    said = subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True, check=True).stdout
    verified = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    problems = [line for line in verified.stderr.splitlines() if "tidegate" in line]
    if int(said.split()[1]) < FIRST_WITH_RELOADS:
        problems = [line for line in problems if "notify-reload" not in line]
    assert [] == problems
