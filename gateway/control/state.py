"""What the server is and whether it takes traffic: one object that every surface reads."""

from __future__ import annotations

from dataclasses import dataclass

# Protocol extensions by their official names: clients look for them before they use a call.
EXTENSIONS = (
    "binary_tensor_data",
    "parameters",
    "model_configuration",
    "statistics",
    "model_repository",
    "model_repository(unload_dependents)",
    "trace",
    "logging",
)


@dataclass(slots=True)
class ServerState:
    """`ready` is false while models load and from the first signal to stop; `started` stays true once it was ready."""

    name: str
    version: str
    ready: bool = False
    started: bool = False
    draining: bool = False
    extensions: tuple[str, ...] = EXTENSIONS
