"""Whether an answer is what the version that it names computes. Every answer is looked at; equal answers to a request only once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from benchmarks.load.messages import Prepared
from gateway.pb import inference_pb2 as pb

Factor = Callable[[str, int], float]  # of a model and version


@dataclass(frozen=True, slots=True)
class Said:
    """One answer."""

    model: str
    version: int
    id: str
    values: np.ndarray


def read_grpc(payload: bytes) -> Said:
    """A length-prefixed ModelInferResponse with raw contents. Raises for anything else."""
    size = int.from_bytes(payload[1:5], "big")
    if payload[0] != 0 or size != len(payload) - 5:
        raise ValueError(f"a message of {size} bytes in {len(payload)} bytes of DATA")
    message = pb.ModelInferResponse.FromString(payload[5:])
    values = np.frombuffer(message.raw_output_contents[0], "<f4").reshape(tuple(message.outputs[0].shape))
    return Said(message.model_name, int(message.model_version), message.id, values)


def read_http(payload: bytes) -> Said:
    """A whole HTTP/1.1 response with JSON. Raises for anything else."""
    document = msgspec.json.decode(payload.partition(b"\r\n\r\n")[2])
    output = document["outputs"][0]
    values = np.array(output["data"], np.float32).reshape(output["shape"])
    return Said(document["model_name"], int(document["model_version"]), document["id"], values)


class Truth:
    """The judge of all answers to one list of requests."""

    def __init__(self, requests: Sequence[Prepared], read: Callable[[bytes], Said], factor: Factor) -> None:
        self._requests = requests
        self._read = read
        self._factor = factor
        self._known: dict[tuple[int, bytes], tuple[int, str | None]] = {}

    def judge(self, index: int, payload: bytes) -> tuple[int, str | None]:
        """The version that an answer names (0 for an answer that names none), and what is wrong with it."""
        key = index, payload
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._look(index, payload)
        return found

    def _look(self, index: int, payload: bytes) -> tuple[int, str | None]:
        asked = self._requests[index]
        try:
            said = self._read(payload)
        except Exception as error:
            return 0, f"undecodable answer to request {index}: {error}: {payload[:80]!r}"
        if (said.model, said.id) != (asked.model.name, asked.request_id):
            return said.version, f"asked {asked.model.name} as {asked.request_id}, answered {said.model} as {said.id}"
        expected = asked.row[None] * np.float32(self._factor(said.model, said.version))
        if not np.array_equal(said.values, expected):
            return said.version, f"{said.model}/{said.version} answered {said.values.tolist()}, it computes {expected.tolist()}"
        return said.version, None
