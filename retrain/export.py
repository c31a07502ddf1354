"""A fitted pipeline as an ONNX model with one input per column, the proof that the two agree, and what a version holds beside the model.

Inputs are named as the columns, float32 or string, shape (rows, 1); outputs are `label` (int64, (rows,)) and `probabilities`
(float32, (rows, classes)), or the number that is foretold (float32, (rows, 1)), by the target's names. Trees compare against thresholds,
so float32 inputs give the same leaves; sums over leaves differ by rounding.
The same pipeline gives the same bytes in every process.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.pipeline import Pipeline

from registry import profile as profiles
from registry.columns import Column
from registry.golden import Golden, GoldenRequest, Tolerance, golden_of, tensor_of
from registry.manifest import MODEL_FILE
from registry.parts import Parts
from registry.profiling import Profiled, profile_of
from registry.training import TrainingRecord
from retrain.boosting import teach
from retrain.canonical import canonical
from retrain.dataset import Dataset
from retrain.target import LABEL, PROBABILITIES
from retrain.train import frame

OPSET, ML_OPSET = 17, 3
TOLERANCE = 1e-5  # of a probability; 60 float32 additions err by less
GOLDEN_ROWS = 8


class ExportError(Exception):
    """A pipeline that no converter knows, or columns that cannot be inputs."""


@dataclass(frozen=True, slots=True)
class Parity:
    """How the exported model compares with the pipeline it came from."""

    rows: int
    labels_differ: int
    max_difference: float  # of any probability; of numbers, to 1 + their size
    tolerance: float = TOLERANCE

    @property
    def holds(self) -> bool:
        """Every label equal and every probability within `tolerance`."""
        return self.labels_differ == 0 and self.max_difference <= self.tolerance


class ParityError(ExportError):
    """A model that does not say what its pipeline says. `parity` tells by how much."""

    def __init__(self, parity: Parity) -> None:
        super().__init__(
            f"the exported model is not the fitted one: on {parity.rows} rows, {parity.labels_differ} labels differ, and probabilities "
            f"by up to {parity.max_difference:.3g} where {parity.tolerance:g} is allowed"
        )
        self.parity = parity


@dataclass(frozen=True, slots=True)
class Exported:
    """A model and what `registry.publish` takes beside it."""

    model: bytes
    parity: Parity
    parts: Parts

    def save(self, folder: Path) -> Path:
        """Write the model into `folder`: the path to publish."""
        path = folder / MODEL_FILE
        path.write_bytes(self.model)
        return path


def export(
    pipeline: Pipeline,
    reference: Dataset,
    *,
    tolerance: float = TOLERANCE,
    training: TrainingRecord | None = None,
    card: str | None = None,
    fitted: Dataset | None = None,
) -> Exported:
    """The model, compared with the pipeline on the `reference` rows, some of which become its golden requests.

    `fitted` are the rows that the pipeline was fitted to: their profile is what drift is measured against.
    Expected answers are the pipeline's own, so the registry's trial compares the model with scikit-learn once more, in its own process.
    Raises `ExportError`, and `ParityError` where a label or a probability differs by more than `tolerance`.
    """
    if not reference.rows:
        raise ExportError("there are no reference rows to compare the model on")
    model = to_model(pipeline, reference)
    parity = check_parity(model, pipeline, reference, tolerance=tolerance)
    if not parity.holds:
        raise ParityError(parity)
    golden = golden_requests(pipeline, reference.take(slice(0, GOLDEN_ROWS)), tolerance=tolerance)
    profile = None if fitted is None else profiles.encode(reference_profile(model, fitted).profile)
    return Exported(model, parity, Parts(golden=golden, training=training, card=card, profile=profile))


def to_model(pipeline: Pipeline, dataset: Dataset) -> bytes:
    """The serialized ONNX model; `dataset` gives the names and types of the inputs. Raises `ExportError`."""
    outputs, numbers = dataset.target.outputs, dataset.target.kind == "number"
    taken = set(outputs) & dataset.columns.keys()
    if taken:
        raise ExportError(f"a column is named '{min(taken)}', as an output is")
    inputs = [(name, FloatTensorType([None, 1]) if name in dataset.numbers else StringTensorType([None, 1])) for name in dataset.columns]
    estimator = pipeline.steps[-1][1] if isinstance(pipeline, Pipeline) else pipeline
    try:
        teach(estimator)
        opsets = {"": OPSET, "ai.onnx.ml": ML_OPSET}
        options = None if numbers else {id(pipeline): {"zipmap": False}}
        model = to_onnx(pipeline, initial_types=inputs, target_opset=opsets, options=options)
    except Exception as error:  # converters raise whatever they stumble over
        raise ExportError(f"{type(estimator).__name__} cannot be converted to ONNX: {' '.join(str(error).split())[:400]}") from error
    if len(model.graph.output) != len(outputs):
        raise ExportError(f"{type(estimator).__name__} gives {len(model.graph.output)} outputs, where {' and '.join(outputs)} are expected")
    canonical(model, outputs=outputs)
    return bytes(model.SerializeToString(deterministic=True))


def check_parity(model: bytes, pipeline: Pipeline, dataset: Dataset, *, tolerance: float = TOLERANCE) -> Parity:
    """Compare both on rows that the pipeline was not fitted to."""
    outputs, expected = dataset.target.outputs, estimated(pipeline, dataset)
    found = dict(zip(outputs, answers(model, dataset), strict=True))
    last = outputs[-1]
    if found[last].shape != expected[last].shape:
        raise ExportError(f"the exported model gives {list(found[last].shape)} numbers, and its estimator {list(expected[last].shape)}")
    scale = 1.0 + np.abs(expected[last]) if dataset.target.kind == "number" else 1.0
    return Parity(
        rows=dataset.rows,
        labels_differ=int(np.sum(found[LABEL] != expected[LABEL])) if LABEL in expected else 0,
        max_difference=float((np.abs(found[last] - expected[last]) / scale).max()),
        tolerance=tolerance,
    )


def estimated(pipeline: Pipeline, rows: Dataset) -> dict[str, np.ndarray]:
    """What the estimator says, by output: labels, int64 [rows], and probabilities [rows, classes]; or numbers [rows, 1]."""
    taken = frame(rows)
    if rows.target.kind == "number":
        return {rows.target.outputs[0]: np.asarray(pipeline.predict(taken)).reshape(-1, 1)}
    return {LABEL: pipeline.predict(taken).astype(np.int64), PROBABILITIES: pipeline.predict_proba(taken)}


def reference_profile(model: bytes, rows: Dataset) -> Profiled:
    """The reference of these rows with the model's own answers, calibrated by their labels; by hour of the week where times are known."""
    inputs = [Column("input", name, array) for name, array in rows.tensors().items()]
    outputs = [Column("output", name, array) for name, array in zip(rows.target.outputs, answers(model, rows), strict=True)]
    labels = rows.labels if rows.target.kind == "yes_no" else None  # the calibration is of one score
    return profile_of([*inputs, *outputs], labels=labels, times_s=rows.times_s)


def answers(model: bytes, rows: Dataset) -> tuple[np.ndarray, ...]:
    """What the exported model says, in the order of the target's outputs: as `estimated`, float32."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return tuple(session.run(list(rows.target.outputs), rows.tensors()))


def golden_requests(pipeline: Pipeline, rows: Dataset, *, tolerance: float) -> Golden:
    """Each row alone and all together, with the pipeline's answers."""
    asked = golden_of(rows.tensors(), requests=rows.rows)
    said = {name: array if name == LABEL else array.astype(np.float32) for name, array in estimated(pipeline, rows).items()}
    parts = [slice(row, row + 1) for row in range(rows.rows)] + ([slice(None)] if rows.rows > 1 else [])
    answered = (
        GoldenRequest(inputs=request.inputs, outputs={name: tensor_of(array[part]) for name, array in said.items()})
        for request, part in zip(asked.requests, parts, strict=True)
    )
    relative = tolerance if rows.target.kind == "number" else 0.0
    return Golden(tolerance=Tolerance(absolute=tolerance, relative=relative), requests=tuple(answered))
