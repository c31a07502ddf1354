"""Which distribution ONNX Runtime was installed from: each has other execution providers, and all have the same files."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping

DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino")


def installed(version: Callable[[str], str] = importlib.metadata.version) -> Mapping[str, str]:
    """Distribution → version. More than one is a fault of the installation: whichever was unpacked last has won, file by file."""
    found = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def shown() -> str:
    """For people: "1.24.1 (onnxruntime-openvino)"."""
    return ", ".join([number if name == DISTRIBUTIONS[0] else f"{number} ({name})" for name, number in installed().items()]) or "unknown"
