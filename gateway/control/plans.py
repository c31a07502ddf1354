"""What a gRPC message means: resolved once for all messages that differ by their ids, their data and their parameters alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.control.forks import Fork
from gateway.protocol.tensors import BoundRequest
from gateway.serving.batch import Sink
from gateway.serving.lane import Lane
from gateway.serving.terms import Terms, terms_of


class Plan:
    """What a message means, when it is known but for its id and data: where its request goes and who answers."""

    __slots__ = ("bound", "fork", "lane", "model", "rows", "sink", "size", "stream_sink", "terms")

    def __init__(self, model: str, bound: BoundRequest, lane: Lane, *, sink: Sink, stream_sink: Sink, terms: Terms | None) -> None:
        self.model = model
        self.bound = bound
        self.lane = lane
        self.sink = sink
        self.stream_sink = stream_sink
        self.rows = bound.rows
        self.size = bound.size
        self.terms = terms
        self.fork: Fork[Plan] | None = None  # where the model is in a rollout

    def saying(self, parameters: Mapping[str, Any]) -> Plan:
        """What it would mean with other parameters. Raises TidegateError for those that cannot be."""
        plan = self._waiting_as(parameters)
        if self.fork is None:
            return plan
        if plan is self:
            plan = self._copy(self.terms)
        plan.fork = self.fork.saying(parameters, lambda way: way._waiting_as(parameters))
        return plan

    def _waiting_as(self, parameters: Mapping[str, Any]) -> Plan:
        """Of requests that are in no rollout."""
        version = self.lane.version
        terms = terms_of(parameters, version.queueing, version.segmenting)
        return self if terms is self.terms is None else self._copy(terms)

    def _copy(self, terms: Terms | None) -> Plan:
        return Plan(self.model, self.bound, self.lane, sink=self.sink, stream_sink=self.stream_sink, terms=terms)
