"""What the gateway says it has done, read from its metrics page."""

from __future__ import annotations

import time
import urllib.request
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

SETTLE_S = 2.0  # counters may trail the last answer by so much
POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Counts:
    """Inference requests answered OK, rows run, and batches that the rows were run in."""

    ok: int
    rows: int
    batches: int

    def since(self, before: Counts) -> Counts:
        """What was added after `before`."""
        return Counts(self.ok - before.ok, self.rows - before.rows, self.batches - before.batches)


def scrape(port: int) -> Counts:
    """The totals over all models, versions, arms and protocols."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return read_counts(answer.read().decode())


def read_counts(page: str) -> Counts:
    """The totals of one page in the Prometheus text format."""
    totals = {"tidegate_requests_total": 0.0, "tidegate_batch_rows_sum": 0.0, "tidegate_batch_rows_count": 0.0}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name in totals and sample.labels.get("code", "OK") == "OK":
                totals[sample.name] += sample.value
    return Counts(*(int(value) for value in totals.values()))


def settled(port: int, before: Counts, ok: int) -> Counts:
    """What was added after `before`, waiting a moment for it to reach `ok` requests and rows."""
    end = time.monotonic() + SETTLE_S
    while True:
        added = scrape(port).since(before)
        if (added.ok >= ok and added.rows >= ok) or time.monotonic() > end:
            return added
        time.sleep(POLL_S)
