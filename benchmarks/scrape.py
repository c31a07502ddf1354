"""What the gateway says it has done, read from its metrics page."""

from __future__ import annotations

import dataclasses
import time
import urllib.request
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

SETTLE_S = 2.0  # counters may trail the last answer by so much
POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Counts:
    """Inference requests answered OK, rows run, batches that the rows were run in, and requests refused.

    Cancelled requests are in none: a tool that stops on time abandons what is in flight.
    """

    ok: int
    rows: int
    batches: int
    refused: int = 0

    def since(self, before: Counts) -> Counts:
        """What was added after `before`."""
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(before), strict=True)
        return Counts(*(now - then for now, then in pairs))


def scrape(port: int) -> Counts:
    """The totals over all models, versions, arms and protocols."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return read_counts(answer.read().decode())


def read_counts(page: str) -> Counts:
    """The totals of one page in the Prometheus text format."""
    totals = dict.fromkeys(("tidegate_requests_total", "tidegate_batch_rows_sum", "tidegate_batch_rows_count", "refused"), 0.0)
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            name = {"OK": sample.name, "CANCELLED": ""}.get(sample.labels.get("code", "OK"), "refused")
            if name in totals:
                totals[name] += sample.value
    return Counts(*(int(value) for value in totals.values()))


def at_rest(port: int) -> Counts:
    """The totals once they stand still: a tool that stops on time leaves requests behind that are answered after it has gone."""
    end, counts = time.monotonic() + SETTLE_S, scrape(port)
    while True:
        time.sleep(POLL_S)
        before, counts = counts, scrape(port)
        if counts == before or time.monotonic() > end:
            return counts


def settled(port: int, before: Counts, ok: int) -> Counts:
    """What was added after `before`, waiting a moment for it to reach `ok` requests and rows."""
    end = time.monotonic() + SETTLE_S
    while True:
        added = scrape(port).since(before)
        if (added.ok >= ok and added.rows >= ok) or time.monotonic() > end:
            return added
        time.sleep(POLL_S)
