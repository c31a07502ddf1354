"""A real directory and the kernel's notices: changes by other processes arrive, whole."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.desired import Desired
from registry.store import Store
from registry.watch import Watch, signals

ROOT = Path(__file__).parents[2]


@pytest.fixture
def handed(tmp_path: Path) -> Iterator[queue.Queue[Desired]]:
    """What a watch in a thread hands over; it looks only when the kernel says so."""
    store, stop = Store.create(tmp_path), threading.Event()
    states: queue.Queue[Desired] = queue.Queue()
    thread = threading.Thread(target=Watch(store, states.put).run, args=(signals(store.medium, stop, poll_s=1000),))
    thread.start()
    yield states
    stop.set()
    thread.join(60)
    assert not thread.is_alive()


def test_what_another_process_does(tmp_path: Path, handed: queue.Queue[Desired]) -> None:
    """20 publishes: every state that arrives is a whole one, none goes back, and the last one is complete."""
    assert {} == handed.get(timeout=60).models
    child = [sys.executable, str(ROOT / "tests/registry/publisher_child.py"), str(tmp_path), *(f"p{number}" for number in range(20))]
    subprocess.run(child, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, capture_output=True, timeout=100)
    counts = [0]
    while counts[-1] < 20:
        counts.append(len(handed.get(timeout=60).models["m"].versions))
    assert sorted(set(counts)) == counts
    store = Store.open(tmp_path)
    store.aliases("m").move("champion", to=20, expected_from=None, actor="ann", reason="", now_s=1e9)
    assert {"champion": 20} == handed.get(timeout=60).models["m"].aliases
