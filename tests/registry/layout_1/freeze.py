"""Freeze a registry as a release with layout 1 makes it: prints JSON, key → text, or base64 where it is no text.

Run with that release on the path (commit e3f40c3); its output is registry.json beside this file and is never made anew.
Arguments: an empty directory.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from registry.publish import publish
from registry.store import Store


def model(weight: float) -> bytes:
    """y = x · w, one feature."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "frozen",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1])],
        [numpy_helper.from_array(np.full((1, 1), weight, np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def main(root: Path) -> None:
    """Versions 1 and 2 of `scale` and one of `other`; the log entry of the last one never came."""
    store = Store.create(root / "registry")
    for name, weight, publish_id in (("scale", 1.0, "first"), ("scale", 2.0, "second"), ("other", 1.0, "third")):
        (root / "model.onnx").write_bytes(model(weight))
        publish(
            store, root / "model.onnx", name=name, publisher="ann", now_s=1.7e9, publish_id=publish_id, trial=lambda files, limits: None
        )
    (root / "registry/models/other/log/00000001.json").unlink()
    (root / "registry/models/other/head.json").unlink()
    frozen = {str(path.relative_to(root / "registry")): _text(path) for path in sorted((root / "registry").rglob("*")) if path.is_file()}
    sys.stdout.write(json.dumps(frozen, indent=1) + "\n")


def _text(path: Path) -> str:
    content = path.read_bytes()
    return content.decode() if content.startswith(b"{") else "base64:" + base64.b64encode(content).decode()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
