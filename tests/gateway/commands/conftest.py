"""Models, and a registry with two versions of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from registry import publish
from registry.columns import Column
from registry.golden import golden_of
from registry.parts import Parts
from registry.profile import encode
from registry.profiling import profile_of
from registry.schema import contract_file
from registry.serving import Serving
from registry.signatures import PrivateKey, generate
from registry.store import Store
from registry.training import TrainingRecord

NOW_S = 1_700_000_000.0
CONTRACT = {
    "inputs": {"x": {"nulls": "refused", "range": {"min": 0, "max": 130}, "unit": "years", "description": "the age"}},
    "outputs": {"y": {"range": {"min": 0}}},
}
NO_PARTS = Parts()
PARTS = Parts(
    contract=contract_file(CONTRACT),
    golden=golden_of({"x": np.ones((1, 2), np.float32)}),
    training=TrainingRecord(format=1, seed=7, metrics={"all": {"auc": 0.678}}),
    card="# Ages\n\nA model.\n",
    serving=Serving(format=1, max_batch_size=64),
    profile=encode(profile_of([Column("input", "x", np.arange(20, dtype=np.float32).reshape(10, 2))]).profile),
)


@pytest.fixture
def onnx_file(tmp_path: Path) -> Callable[..., Path]:
    """A factory: y = x · W with two inputs and three outputs, all weights equal to `weight`."""

    def write(weight: float = 1.0, path: Path | None = None) -> Path:
        path = path or tmp_path / f"model-{weight:g}.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size]) for name, size in (("x", 2), ("y", 3))]
        weights = [numpy_helper.from_array(np.full((2, 3), weight, np.float32), "W")]
        graph = helper.make_graph([helper.make_node("Gemm", ["x", "W"], ["y"])], "g", ports[:1], ports[1:], weights)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="tests"), path)
        return path

    return write


@pytest.fixture
def put(tmp_path: Path, onnx_file: Callable[..., Path]) -> Callable[..., int]:
    """A factory: one more version of model `ages` in `tmp_path / "r"`, by bea, as a publisher makes it: its number."""

    def publish_one(weight: float, *, parts: Parts = NO_PARTS, publisher: str = "bea", name: str = "ages") -> int:
        store = Store.create(tmp_path / "r")
        done = publish.publish(
            store, onnx_file(weight), name=name, publisher=publisher, now_s=NOW_S, publish_id=f"p{weight:g}", parts=parts
        )
        return done.version

    return publish_one


@pytest.fixture
def registry(tmp_path: Path, put: Callable[..., int]) -> Path:
    """Version 1 of `ages` has every part, version 2 has none; `champion` stands for 1."""
    put(1.0, parts=PARTS)
    put(2.0)
    Store.open(tmp_path / "r").aliases("ages").move("champion", to=1, expected_from=None, actor="cas", reason="the first", now_s=NOW_S)
    return tmp_path / "r"


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, Path]:
    """Files of keys: `private` and its `public` one, `encrypted` with `password`, and a `stranger`."""
    ours, other = generate(), generate()
    contents = {
        "private": ours.pem(),
        "encrypted": ours.pem(password=b"secret"),
        "public": ours.public.pem(),
        "stranger": other.public.pem(),
        "password": b"secret\n",
    }
    paths = {name: tmp_path / f"{name}.pem" for name in contents}
    for name, path in paths.items():
        path.write_bytes(contents[name])
    return paths


@pytest.fixture
def signer() -> PrivateKey:
    """A key."""
    return generate()


def model_blob(registry: Path, version: int) -> Path:
    """Where the ONNX file of a version of `ages` lies, writable."""
    digest = Store.open(registry).manifest("ages", version).model.digest.removeprefix("sha256:")
    path = registry / "blobs" / "sha256" / digest[:2] / digest
    path.chmod(0o644)
    return path


@pytest.fixture
def damage(registry: Path) -> Callable[[int], None]:
    """Changes a byte of the ONNX file of a version."""

    def change(version: int) -> None:
        path = model_blob(registry, version)
        path.write_bytes(path.read_bytes()[:-1] + b"\x00")

    return change
