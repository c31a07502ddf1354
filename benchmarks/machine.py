"""What a bench was run on: the machine, and the versions of all that took part. Names no host and no path."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.load.tools import version

PACKAGES = ("tidegate", "onnxruntime", "numpy", "numba", "uvloop", "httptools", "protobuf", "grpcio", "starlette", "uvicorn", "orjson")
TOOLS = ("h2load", "wrk")
GIB = 1 << 30


def describe_machine() -> dict[str, Any]:
    """The processor, memory and system, and how busy they were beforehand."""
    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load_average_before": round(os.getloadavg()[0], 2),
    }


def describe_versions() -> dict[str, str]:
    """Python, the packages and the tools that took part."""
    packages = {name: metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **packages, **{tool: version(tool) for tool in TOOLS}}


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
