"""Models as they will serve, asked in this process: answers, scores of rows, and how long a run takes. Owns the job's sessions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median

import numpy as np
import onnxruntime

from registry.calibration import score_of
from registry.columns import Column
from registry.store import Store
from retrain.dataset import Dataset
from retrain.errors import RetrainError

ROWS_PER_RUN = 4_096
Arrays = Mapping[str, np.ndarray]


class Model:
    """One session on one thread, so that answers do not depend on the machine's cores."""

    def __init__(self, content: bytes | str, external: Mapping[str, object] | None = None) -> None:
        """`content`: the bytes of a model, or the path of one whose external data is `external`, by name. Raises `RetrainError`."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        if external:
            names, maps = list(external), list(external.values())
            options.add_external_initializers_from_files_in_memory(names, maps, [len(one) for one in maps])  # type: ignore[arg-type]
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own classes derive from nothing narrower
            raise RetrainError(f"the model cannot be loaded: {' '.join(str(error).split())[:300]}") from error
        self.inputs = tuple(port.name for port in self._session.get_inputs())
        self.outputs = tuple(port.name for port in self._session.get_outputs())

    def ask(self, tensors: Arrays) -> dict[str, np.ndarray]:
        """Every output for [rows, …] of every input. Raises `RetrainError` with the model's own reason."""
        try:
            found = self._session.run(None, {name: tensors[name] for name in self.inputs})
        except KeyError as error:
            raise RetrainError(f"the model takes input {error}, which the rows do not have") from error
        except Exception as error:
            raise RetrainError(f"the model does not answer: {' '.join(str(error).split())[:300]}") from error
        return dict(zip(self.outputs, found, strict=True))

    def scores(self, rows: Dataset) -> np.ndarray:
        """What it foretells, float64: the probability of a yes, or a number, [rows]; the probability of each class, [rows, classes].

        Raises `RetrainError`, also for a model that does not foretell what the rows' labels say.
        """
        parts = [rows.take(slice(start, start + ROWS_PER_RUN)) for start in range(0, rows.rows, ROWS_PER_RUN)]
        answers = [self.ask(part.tensors()) for part in parts]
        arrays = {name: [answer[name] for answer in answers] for name in self.outputs}
        columns = [Column("output", name, np.concatenate(found)) for name, found in arrays.items() if isinstance(found[0], np.ndarray)]
        if rows.target.kind == "yes_no":
            output, element = score_of(columns)
            return output.flat()[:, element].astype(np.float64)
        wanted = rows.target.outputs[-1]
        found = next((column.flat() for column in columns if column.port == wanted), None)
        width = 1 if rows.target.kind == "number" else rows.target.classes
        if found is None or found.shape[1] != width:
            raise RetrainError(f"the model has no output '{wanted}' with {width} numbers a row")
        return found[:, 0].astype(np.float64) if rows.target.kind == "number" else found.astype(np.float64)

    def seconds(self, tensors: Arrays, *, now: Callable[[], float], runs: int) -> float:
        """Median seconds of a run, after some that do not count. `now` gives monotonic seconds."""
        for _ in range(min(runs, 20)):
            self.ask(tensors)
        took = []
        for _ in range(runs):
            start = now()
            self.ask(tensors)
            took.append(now() - start)
        return median(took)


def stored(store: Store, model: str, version: int) -> Model:
    """A version of the registry, its bytes checked. Raises `RetrainError`, `RegistryError`."""
    with store.load_verified(model, version) as verified:
        return Model(verified.path, verified.external_maps())
