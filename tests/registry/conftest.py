"""Small ONNX models, registries and file calls that fail on purpose."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper, save

from registry.contract import Contract, encode
from registry.errors import RegistryError
from registry.limits import RegistryLimits
from registry.manifest import CONFIG_TYPE, MODEL_FILE, MODEL_TYPE, Descriptor, Manifest, file_layer, manifest_of
from registry.store import Store
from registry.trial import Submitted

NOW_S = 1_700_000_000.25


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty registry in `tmp_path / "registry"`."""
    return Store.create(tmp_path / "registry")


@pytest.fixture
def gemm() -> Callable[..., ModelProto]:
    """A factory: y = x · W + B with 4 inputs and 3 outputs, all weights equal to `weight`."""

    def build(weight: float = 1.0, *, opset: int = 17, ir_version: int = 8, domain: str = "", op: str = "Gemm") -> ModelProto:
        graph = helper.make_graph(
            [helper.make_node(op, ["x", "W", "B"], ["y"], domain=domain)],
            "gemm",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
            [
                numpy_helper.from_array(np.full((4, 3), weight, np.float32), "W"),
                numpy_helper.from_array(np.full(3, weight, np.float32), "B"),
            ],
        )
        opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
        return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version, producer_name="tests")

    return build


@pytest.fixture
def onnx_file(tmp_path: Path, gemm: Callable[..., ModelProto]) -> Callable[..., Path]:
    """A factory: a model file in a directory of its own; with `external`, W and B lie in weights.bin beside it."""

    def write(weight: float = 1.0, *, external: bool = False, model: ModelProto | None = None) -> Path:
        directory = tmp_path / f"submitted-{weight}-{external}"
        directory.mkdir(exist_ok=True)
        path = directory / "any.onnx"
        if external:
            path.with_name("weights.bin").unlink(missing_ok=True)
            save(model or gemm(weight), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
        else:
            path.write_bytes((model or gemm(weight)).SerializeToString())
        return path

    return write


@pytest.fixture
def no_trial() -> Callable[[Submitted, RegistryLimits], None]:
    """In the place of the child process, for tests that are not about it."""
    return lambda files, limits: None


@pytest.fixture
def put_manifest() -> Callable[[Store, bytes], Manifest]:
    """A function that stores some bytes as if they were a model, with an empty contract, and gives their manifest."""

    def put(store: Store, content: bytes) -> Manifest:
        digest, size = store.put_blob(content)
        contract = encode(Contract(ir_version=8, opsets={"": 17}, producer="tests", inputs=(), outputs=()))
        config_digest, config_size = store.put_blob(contract)
        config = Descriptor(media_type=CONFIG_TYPE, digest=config_digest, size=config_size)
        return manifest_of(config, [file_layer(title=MODEL_FILE, media_type=MODEL_TYPE, digest=digest, size=size)])

    return put


class HookedCalls:
    """`os`, with `hook(name, arguments)` called before each call that changes files; what it raises, the call raises.

    Nothing waits for the disk: a process that is killed or refused loses nothing that it had written.
    """

    def __init__(self, hook: Callable[[str, tuple[Any, ...]], None] = lambda name, arguments: None) -> None:
        self._hook = hook

    def __getattr__(self, name: str) -> Any:
        call = (lambda fd: None) if name == "fsync" else getattr(os, name)

        def hooked(*arguments: Any, **options: Any) -> Any:
            self._hook(name, arguments)
            return call(*arguments, **options)

        return hooked


@pytest.fixture
def hooked() -> type[HookedCalls]:
    """The class of file calls with a hook."""
    return HookedCalls


@pytest.fixture
def kind_of() -> Callable[[Callable[[], object]], str]:
    """Calls something that must raise a `RegistryError` and gives "kind: message"."""

    def call(deed: Callable[[], object]) -> str:
        with pytest.raises(RegistryError) as caught:
            deed()
        return f"{caught.value.kind.value}: {caught.value.message}"

    return call
