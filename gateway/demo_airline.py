"""Who says later whether flights were late: labels that wait until their time has come, by the time of the stream. Pure.

A label is of one row of one request, by the caller's id. It is about the flight's departure, and arrives two to four days after that, when
any flight has landed and whoever reports it has come to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from gateway.demo_story import MODEL
from registry.label import Label

DELAY_S = (2 * 86_400.0, 4 * 86_400.0)  # from the departure to the label's arrival
LATEST_S = DELAY_S[1]


@dataclass(slots=True)
class Reports:
    """What there is to say, and how far it has been said. Times in seconds since the Unix epoch."""

    generator: np.random.Generator
    requests: list[tuple[str, int]] = field(default_factory=list)  # the caller's id, and the row of the request
    departures_s: np.ndarray = field(default_factory=lambda: np.zeros(0))
    arrivals_s: np.ndarray = field(default_factory=lambda: np.zeros(0))
    values: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    said: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))

    def add(self, requests: list[tuple[str, int]], departures_s: np.ndarray, values: np.ndarray) -> None:
        """Flights that were asked about; what became of them, 0 or 1, is said when its time has come."""
        delays = self.generator.uniform(*DELAY_S, size=len(values))
        self.requests += requests
        self.departures_s = np.concatenate([self.departures_s, departures_s])
        self.arrivals_s = np.concatenate([self.arrivals_s, departures_s + delays])
        self.values = np.concatenate([self.values, values])
        self.said = np.concatenate([self.said, np.zeros(len(values), bool)])

    def due(self, now_s: float) -> Iterator[Label]:
        """Labels that have arrived by now and were not said before."""
        chosen = np.flatnonzero(~self.said & (self.arrivals_s <= now_s))
        self.said[chosen] = True
        for at in chosen.tolist():
            request, row = self.requests[at]
            yield Label(
                label_id=f"{request}-{row}",
                model=MODEL,
                client_request_id=request,
                row=row,
                value=float(self.values[at]),
                source="airline",
                event_us=_micros(self.departures_s[at]),
                arrival_us=_micros(self.arrivals_s[at]),
            )

    def known(self, as_of_s: float, *, since_s: float = 0.0) -> int:
        """Flights that departed from `since_s` on and whose labels had arrived, by the stream's time and in fact."""
        return int((self.said & (self.arrivals_s <= as_of_s) & (self.departures_s >= since_s)).sum())


def _micros(seconds: float) -> int:
    return round(seconds * 1e6)
