"""The metrics page: how often it is made anew."""

from __future__ import annotations

from gateway.limits import ObserveLimits
from gateway.observe.page import Page
from tests.gateway.observe.counted import alone


class Server:
    """A clock that stands unless a page is made, which takes 10 ms; a gauge that tells how many were."""

    def __init__(self) -> None:
        self.time = 100.0
        self.made = 0
        _, totals = alone(ObserveLimits())
        self.collector = Page(totals, build={"version": "1"}, gauges=self.gauges, max_labelled=10, now=lambda: self.time)
        self.made = 0

    def gauges(self) -> dict[str, float]:
        self.time += 0.01
        self.made += 1
        return {"tidegate_ready": float(self.made)}


def test_scrapers_take_a_quarter_of_the_loop_at_most_case_114() -> None:
    """As many as come while a page is good get that page; each format has its own."""
    server = Server()
    pages = {server.collector.page("text/plain") for _ in range(100)}
    assert (1, 1) == (len(pages), server.made)
    assert server.collector.page("application/openmetrics-text; version=1.0.0") not in pages
    server.time += 0.0301
    assert b"tidegate_ready 3.0" in server.collector.page("text/plain")[0]
    assert 3 == server.made
