"""The directory of one model, read as it is: `model.onnx` in it, or numbered versions. The name is the operator's to give.

So do KServe's storage initializer and OpenVINO's model server lay a model down: its files at the root, its name elsewhere.
"""

from __future__ import annotations

from pathlib import Path

from registry.errors import Kind, RegistryError, storage_errors
from registry.limits import DEFAULT_LIMITS, RegistryLimits
from registry.manifest import MODEL_FILE
from registry.names import check_model_name
from registry.overlay import Overlay
from registry.repository import Repository, version_numbers


class SingleModel(Repository):
    """One model's directory. What lies beside `model.onnx` may be its external data."""

    def __init__(self, root: Path, name: str, *, limits: RegistryLimits = DEFAULT_LIMITS) -> None:
        """Raises `Kind.INVALID_NAME`."""
        super().__init__(root, limits=limits)
        self._name = check_model_name(name)

    def _found(self) -> tuple[dict[str, list[int]], list[str]]:
        """Version 1 where `model.onnx` is there, else one version for each numbered directory.

        Raises `Kind.NOT_FOUND` where there is neither, `Kind.STORAGE`.
        """
        with storage_errors(f"list the directory of model '{self._name}'"):
            numbers = version_numbers(self._root)
        if self._is_plain():
            beside = f"{len(numbers)} numbered directories are passed over: {MODEL_FILE} lies beside them"
            return {self._name: [1]}, [beside] if numbers else []
        if not numbers:
            raise RegistryError(Kind.NOT_FOUND, f"the directory of model '{self._name}' has neither {MODEL_FILE} nor a numbered version")
        return {self._name: numbers}, []

    def overlay(self, model: str, overlay: Overlay | None) -> None:
        """As of a repository, for the one model. Raises `Kind.NOT_FOUND` for another."""
        if model != self._name:
            raise RegistryError(Kind.NOT_FOUND, f"this server has the one model '{self._name}'")
        super().overlay(model, overlay)

    def _model_directory(self, model: str) -> Path:
        return self._root

    def _version_directory(self, model: str, version: int) -> Path:
        return self._root if self._is_plain() else self._root / str(version)

    def _is_plain(self) -> bool:
        return (self._root / MODEL_FILE).exists()
