"""Registries whose every answer tells which version made it: version n of a model multiplies its input by n, model k of many by k + 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.load.messages import Prepared, grpc_message, json_request, request_id
from benchmarks.models import Served
from registry.publish import publish
from registry.store import Store

WIDTH, ROWS = 4, 64
MODEL, ALIAS = "scaled", "champion"
SCALED = Served(MODEL, (WIDTH,), (("output", "FP32"),))
ACT: Mapping[str, Any] = {"actor": "bench", "reason": "", "now_s": 1e9}


def scaled(factor: float) -> onnx.ModelProto:
    """`output` [N, WIDTH] = `input` x factor."""
    shape = ["N", WIDTH]
    graph = helper.make_graph(
        [helper.make_node("Mul", ["input", "factor"], ["output"])],
        "scaled",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.array(factor, np.float32), "factor")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def two_versions(root: Path) -> Store:
    """One model, versions 1 and 2; 1 is the champion."""
    store = Store.create(root)
    for number in (1, 2):
        _publish(store, MODEL, scaled(number))
    store.aliases(MODEL).move(ALIAS, to=1, expected_from=None, **ACT)
    return store


def many_models(root: Path, count: int) -> Store:
    """Models `m0000`, `m0001`, … with one version each, the champion."""
    store = Store.create(root)
    for index in range(count):
        _publish(store, name_of(index), scaled(index + 1))
        store.aliases(name_of(index)).move(ALIAS, to=1, expected_from=None, **ACT)
    return store


def name_of(index: int) -> str:
    """Of one of many models."""
    return f"m{index:04}"


def champion(store: Store, number: int) -> None:
    """Move the alias of the model with two versions."""
    aliases = store.aliases(MODEL)
    aliases.move(ALIAS, to=number, expected_from=aliases.resolve(ALIAS), **ACT)


def by_version(model: str, version: int) -> float:
    """The factor of the model with two versions."""
    return float(version)


def by_model(model: str, version: int) -> float:
    """The factor of one of many models."""
    return float(int(model[1:]) + 1)


def rows(count: int, seed: int) -> np.ndarray:
    """Whole numbers, float32 [count, WIDTH], whose multiples are exact in both transports."""
    return np.random.default_rng(seed).integers(-99, 99, (count, WIDTH)).astype(np.float32)


def requests(seed: int, encode: Callable[[Served, str, np.ndarray], Prepared], models: tuple[Served, ...] = (SCALED,)) -> list[Prepared]:
    """At least ROWS requests, each to the next of `models`."""
    inputs = rows(max(ROWS, len(models)), seed)
    return [encode(models[i % len(models)], request_id(i), row) for i, row in enumerate(inputs)]


def over_grpc(model: Served, number: str, row: np.ndarray) -> Prepared:
    """A message with raw contents."""
    return grpc_message(model, number, row)


def over_http(model: Served, number: str, row: np.ndarray) -> Prepared:
    """A whole request with JSON."""
    return json_request(model, number, row, "127.0.0.1")


def _publish(store: Store, name: str, proto: onnx.ModelProto) -> None:
    """Without a trial: it is not what is measured."""
    path = store.medium.root.parent / "submitted.onnx"
    path.write_bytes(proto.SerializeToString())
    publish(store, path, name=name, publisher="bench", now_s=1e9, trial=lambda files, limits: None)
