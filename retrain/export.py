"""A fitted pipeline as an ONNX model with one input per column, and the proof that the two agree. The only importer of skl2onnx.

Inputs are named as the columns, float32 or string, shape (rows, 1); outputs are `label` (int64, (rows,)) and `probabilities`
(float32, (rows, 2)). Trees compare against thresholds, so float32 inputs give the same leaves; sums over leaves differ by rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnxruntime
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.pipeline import Pipeline

from retrain.dataset import Dataset
from retrain.train import frame

OPSET = 17
TOLERANCE = 1e-5  # of a probability; 60 float32 additions err by less
LABEL, PROBABILITIES = "label", "probabilities"


@dataclass(frozen=True, slots=True)
class Parity:
    """How the exported model compares with the pipeline it came from."""

    rows: int
    labels_differ: int
    max_difference: float  # of any probability

    @property
    def holds(self) -> bool:
        """Every label equal and every probability within `TOLERANCE`."""
        return self.labels_differ == 0 and self.max_difference <= TOLERANCE


def to_model(pipeline: Pipeline, dataset: Dataset) -> bytes:
    """The serialized ONNX model; `dataset` gives the names and types of the inputs."""
    inputs = [(name, FloatTensorType([None, 1]) if name in dataset.numbers else StringTensorType([None, 1])) for name in dataset.columns]
    model = to_onnx(pipeline, initial_types=inputs, target_opset=OPSET, options={id(pipeline): {"zipmap": False}})
    for node in model.graph.node:
        node.output[:] = [_renamed(name) for name in node.output]
        node.input[:] = [_renamed(name) for name in node.input]
    for output in model.graph.output:
        output.name = _renamed(output.name)
    return bytes(model.SerializeToString())


def check_parity(model: bytes, pipeline: Pipeline, dataset: Dataset) -> Parity:
    """Compare both on rows that the pipeline was not fitted to."""
    labels, probabilities = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(
        [LABEL, PROBABILITIES], dataset.tensors()
    )
    rows = frame(dataset)
    return Parity(
        rows=dataset.rows,
        labels_differ=int(np.sum(labels != pipeline.predict(rows))),
        max_difference=float(np.abs(probabilities - pipeline.predict_proba(rows)).max()),
    )


def _renamed(name: str) -> str:
    return {"output_label": LABEL, "output_probability": PROBABILITIES}.get(name, name)
