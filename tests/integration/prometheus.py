"""A real Prometheus server on loopback: scrapes one gateway each second, evaluates the deployed rules, answers queries."""

from __future__ import annotations

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gateway.clock import SystemClock
from tests.deploy.files import DEPLOY
from tests.e2e.server import free_ports

PATIENCE_S = 120.0
CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
- job_name: tidegate
  static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


class Prometheus:
    """One running server."""

    def __init__(self, port: int, child: subprocess.Popen[bytes], log: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.child, self.log = child, log

    def ask(self, path: str, **fields: str) -> Any:
        """The `data` of one answer of its API. OSError while it does not listen."""
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(fields)}", timeout=10) as answer:
            return json.load(answer)["data"]

    def value(self, query: str) -> float | None:
        """The one number that a query selects; None for none."""
        found = self.ask("query", query=query)["result"]
        assert len(found) < 2, found
        return float(found[0]["value"][1]) if found else None

    def wait(self, query: str) -> float:
        """Until the query selects something."""
        clock = SystemClock()
        end = clock.now() + PATIENCE_S
        while clock.now() < end:
            assert self.child.poll() is None, self.log.read_text()[-2_000:]
            try:
                if (found := self.value(query)) is not None:
                    return found
            except OSError:  # it begins to listen
                pass
            with_pause(self.child)
        raise AssertionError(f"nothing answers {query}: {self.log.read_text()[-2_000:]}")

    def end(self) -> None:
        """It is gone from here on."""
        self.child.terminate()
        self.child.wait(30)


def with_pause(child: subprocess.Popen[bytes]) -> None:
    """A tenth of a second, or until the child ends."""
    try:
        child.wait(0.1)
    except subprocess.TimeoutExpired:
        return


@contextmanager
def scraping(folder: Path, port: int) -> Iterator[Prometheus]:
    """A server that has seen the gateway whose metrics are at this port."""
    folder.mkdir(parents=True)
    config, log = folder / "prometheus.yml", folder / "prometheus.log"
    config.write_text(CONFIG.format(rules=DEPLOY / "prometheus" / "drift.yaml", port=port))
    own = free_ports()[0]
    options = {"config.file": config, "storage.tsdb.path": folder / "data", "web.listen-address": f"127.0.0.1:{own}"}
    with log.open("wb") as out:
        child = subprocess.Popen(["prometheus", *(f"--{name}={value}" for name, value in options.items())], stdout=out, stderr=out)
    server = Prometheus(own, child, log)
    try:
        server.wait('up{job="tidegate"} == 1')
        yield server
    finally:
        server.end()
