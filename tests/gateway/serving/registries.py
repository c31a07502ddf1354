"""Registries with small models in them, made without the trial's child process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from registry.golden import Golden, GoldenRequest, tensor_of
from registry.parts import Parts
from registry.publish import publish
from registry.store import Store
from tests.gateway.serving import graphs


def published(
    root: Path, model: str, *protos: onnx.ModelProto, aliases: Mapping[str, int] | None = None, parts: Parts | None = None
) -> Store:
    """The registry at `root` with one more version of `model` for each graph, and these aliases."""
    store = Store.create(root)
    for number, proto in enumerate(protos):
        path = graphs.saved(root.parent / f"submitted-{model}-{number}.onnx", proto)
        publish(store, path, name=model, publisher="ann", now_s=1e9, parts=parts or Parts(), trial=lambda files, limits: None)
    for alias, number in (aliases or {}).items():
        store.aliases(model).move(alias, to=number, expected_from=None, actor="ann", reason="", now_s=1e9)
    return store


def golden(factor: float) -> Parts:
    """One golden request, which a graph that multiplies by `factor` answers."""
    x = np.array([[1.0, 2.0]], np.float32)
    return Parts(golden=Golden(format=1, requests=(GoldenRequest(inputs={"x": tensor_of(x)}, outputs={"y": tensor_of(x * factor)}),)))
