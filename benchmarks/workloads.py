"""What each measurement sends: requests prepared from the seed, and the check of their answers against bare ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.load.answers import Answer, decode_grpc, decode_http, wrong_answers
from benchmarks.load.messages import Prepared, binary_request, grpc_message, json_request, request_id
from benchmarks.models import ECHO, MLP, SHAPES, SHAPES_OTHER, TABULAR, Served, answers, rows

TABULAR_ROWS, MLP_ROWS, ECHO_ROWS = 4096, 1024, 24
AUTHORITY = "127.0.0.1"

Decoder = Callable[[bytes], Answer]
Check = Callable[[list[tuple[int, bytes]]], list[str]]


@dataclass(frozen=True, slots=True)
class Workload:
    """Encoded requests, sent in turn, and what is wrong with sampled answers to them (index, payload)."""

    wires: Sequence[bytes]
    check: Check
    http: bool = False


def grpc_workload(model: Served, inputs: np.ndarray, expected: Sequence[list[np.ndarray]]) -> Workload:
    """Messages of one row each, and the answer of ONNX Runtime to each."""
    requests = [grpc_message(model, request_id(i), row) for i, row in enumerate(inputs)]
    return workload_of(requests, expected, decode_grpc)


def workload_of(requests: Sequence[Prepared], expected: Sequence[list[np.ndarray]], decode: Decoder, *, http: bool = False) -> Workload:
    """Of requests with ids of their own."""
    truth = {request.request_id: answer for request, answer in zip(requests, expected, strict=True)}

    def check(samples: list[tuple[int, bytes]]) -> list[str]:
        asked = [requests[index] for index, _ in samples]
        payloads = [payload for _, payload in samples]
        return wrong_answers(payloads, asked, decode=decode, expected=lambda request: truth[request.request_id])

    return Workload([request.wire for request in requests], check, http)


class Workloads:
    """All workloads of one seed, each prepared when first used. `repository` holds the models."""

    def __init__(self, repository: Path, seed: int) -> None:
        self._repository = repository
        self._seed = seed

    @cached_property
    def raw(self) -> Workload:
        """One row of 16 features in raw contents."""
        return self._grpc(TABULAR, TABULAR_ROWS)

    @cached_property
    def typed(self) -> Workload:
        """The same rows in `fp32_contents`."""
        return self._grpc(TABULAR, TABULAR_ROWS, typed=True)

    @cached_property
    def json(self) -> Workload:
        """The same rows as JSON over HTTP/1.1."""
        return self._http(json_request)

    @cached_property
    def binary(self) -> Workload:
        """The same rows in the binary extension over HTTP/1.1."""
        return self._http(binary_request)

    @cached_property
    def one_shape(self) -> Workload:
        """Rows of one width to the model that takes several."""
        return self._grpc(SHAPES, TABULAR_ROWS)

    @cached_property
    def two_shapes(self) -> Workload:
        """Rows of two widths, one by one."""
        narrow, wide = (self._prepare(model, TABULAR_ROWS // 2) for model in (SHAPES, SHAPES_OTHER))
        pairs = [each for pair in zip(narrow, wide, strict=True) for each in pair]
        requests = [grpc_message(model, request_id(i), row) for i, (model, row, _) in enumerate(pairs)]
        return workload_of(requests, [expected for _, _, expected in pairs], decode_grpc)

    @cached_property
    def mlp(self) -> Workload:
        """One row of 256 features to the multi-layer perceptron."""
        return self._grpc(MLP, MLP_ROWS)

    @cached_property
    def tensor(self) -> Workload:
        """Rows of 1 MiB that come back as they went."""
        return self._grpc(ECHO, ECHO_ROWS)

    @cached_property
    def bytes_echo(self) -> Workload:
        """The same messages to a server that returns what it got."""
        wires = self.tensor.wires

        def check(samples: list[tuple[int, bytes]]) -> list[str]:
            return [f"the echo of message {index} differs" for index, payload in samples if payload != wires[index]]

        return Workload(wires, check)

    def _prepare(self, model: Served, count: int) -> list[tuple[Served, np.ndarray, list[np.ndarray]]]:
        inputs = rows(model, count, self._seed)
        return [(model, row, expected) for row, expected in zip(inputs, answers(self._repository, model, inputs), strict=True)]

    def _grpc(self, model: Served, count: int, *, typed: bool = False) -> Workload:
        prepared = self._prepare(model, count)
        requests = [grpc_message(model, request_id(i), row, typed=typed) for i, (_, row, _) in enumerate(prepared)]
        return workload_of(requests, [expected for _, _, expected in prepared], decode_grpc)

    def _http(self, encode: Callable[[Served, str, np.ndarray, str], Prepared]) -> Workload:
        prepared = self._prepare(TABULAR, TABULAR_ROWS)
        requests = [encode(TABULAR, request_id(i), row, AUTHORITY) for i, (_, row, _) in enumerate(prepared)]
        return workload_of(requests, [expected for _, _, expected in prepared], decode_http, http=True)
