"""Is every request that was answered in the inference log, or counted as dropped, whatever dies and whatever the disk does?

`python -m benchmarks.conserve` asks a real server for two models, one of them in a rollout, more than a million times, and writes
benchmarks/results/conserve.json; `--quick --json -` asks less and prints one JSON object as its last line. Meanwhile workers and the
process that seals are killed (SIGKILL), the file system of the log is filled up to its last byte (a tmpfs of its own, in a mount
namespace: ENOSPC is the kernel's), and for a while writes and syncs fail (EIO, told to the server's processes in place of the kernel,
see `conserve_faults`). The same is done once more, with fewer requests, where `durability: sync` lets answers wait for the disk.

Callers keep a ledger. At the end everything is sealed, and the log is held against it, row by row and by model and arm:

* no row is there twice, each has its caller's number, id and arm, and the log is as its commits say;
* what was accepted are the answers, and of the requests that were open when their worker died some;
* an answer that is missing is one that the log counts: of an ENOSPC or an EIO while there was one, else `worker_lost`, and then it left
  less than a flush interval before a worker was killed;
* with `sync`, no answer is missing but those that the log counts for ENOSPC and EIO.
"""

from __future__ import annotations

import mmap
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks import command, conserve_audit
from benchmarks.alike import registry
from benchmarks.conserve_callers import CONNECTIONS, FEATURES, Caller, Ledger
from benchmarks.machine import describe_machine, describe_versions
from benchmarks.models import tabular
from benchmarks.processes import ROOT, Server, free_ports, gateway_command, process_tree, says_ready
from gateway.clock import SystemClock
from gateway.rollout.machine import Phase
from gateway.rollout.operations import Operations
from gateway.rollout.plan import Plan
from registry.directory import DirectoryMedium
from registry.log_sealing import Sealer

RESULT = Path(__file__).parent / "results" / "conserve.json"
MODELS = ("plain", "forked")
MOST = REQUESTS = 1_000_000  # the first: that the bar asks for
SYNC_REQUESTS = 100_000
QUICK_REQUESTS, QUICK_SYNC_REQUESTS = 60_000, 10_000
KILLS, QUICK_KILLS = 10, 2  # of workers, and half as many of the process that seals
FLUSH_S = 1.0
DISK_BYTES = 512 << 20
FAULT_S, QUICK_FAULT_S = 3.0, 1.0  # for which the disk is full, or fails
EIO_PERCENT = 30
PATIENCE_S = 120.0
_INSIDE = "TIDEGATE_BENCH_INSIDE"

Document = dict[str, Any]


def main() -> int:
    """Run, hold the log against the ledger, judge. In a mount namespace of its own, where the disk of the log can be made."""
    options = command.parser(__doc__, seed="what is killed").parse_args()
    if _INSIDE not in os.environ:
        inside = ["unshare", "--map-root-user", "--mount", sys.executable, "-m", "benchmarks.conserve", *sys.argv[1:]]
        return subprocess.run(inside, check=False, cwd=ROOT, env=os.environ | {_INSIDE: "1"}).returncode
    requests = (QUICK_REQUESTS, QUICK_SYNC_REQUESTS) if options.quick else (REQUESTS, SYNC_REQUESTS)
    found = {}
    with tempfile.TemporaryDirectory(prefix="tidegate-conserve-") as folder:
        for durability, total in zip(("async", "sync"), requests, strict=True):
            place = Path(folder) / durability
            place.mkdir()
            found[durability] = Scene(place, durability, total, quick=options.quick, seed=options.seed).play()
            print(f"{durability}: {found[durability]}", file=sys.stderr, flush=True)
    result = {
        "machine": describe_machine(), "versions": describe_versions(), "seed": options.seed, "quick": options.quick,
        "measurements": found, "bars": judge(found, sum(requests), 1 if options.quick else MOST),
    }  # fmt: skip
    return command.conclude(result, options.json or ("-" if options.quick else None), RESULT)


@dataclass(slots=True)
class Happened:
    """What was done to the server: times of kills, and (from, to) of each trouble with the disk, in seconds of `time.monotonic`."""

    kills: list[float] = field(default_factory=list)  # of workers
    sealers: int = 0  # killed
    full: list[tuple[float, float]] = field(default_factory=list)
    failing: list[tuple[float, float]] = field(default_factory=list)


class Scene:
    """One server, its callers, and what befalls it."""

    def __init__(self, folder: Path, durability: str, total: int, *, quick: bool, seed: int) -> None:
        self._folder, self._durability, self._quick = folder, durability, quick
        self._disk, self._log = folder / "disk", folder / "disk" / "log"
        self._control = folder / "faults"
        self._random = random.Random(seed)
        self._happened = Happened()
        self._ledger = Ledger(total, MODELS)

    def play(self) -> Document:
        """All of it; what the audit finds."""
        with self._own_disk():
            store = registry(self._folder / "registry", MODELS, lambda _: tabular(np.random.default_rng(0), FEATURES))
            self._control.write_bytes(b"\0")
            with self._server() as (server, port):
                _begin(Operations(store, now=time.time))
                callers = [Caller(self._ledger, port) for _ in range(CONNECTIONS)]
                for caller in callers:
                    caller.start()
                self._befall(server)
                for caller in callers:
                    caller.join(PATIENCE_S)
            sealer = Sealer(DirectoryMedium(self._log), wall=SystemClock.wall)
            with sealer.working():
                while sealer.seal():
                    pass
            return conserve_audit.audit(self._log, self._ledger, self._happened)

    @contextmanager
    def _own_disk(self) -> Iterator[None]:
        self._disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(self._disk)], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", str(self._disk)], check=True)

    @contextmanager
    def _server(self) -> Iterator[tuple[Server, int]]:
        http, grpc, metrics = free_ports(3)
        config = self._folder / "tidegate.yaml"
        config.write_text(
            f"processes: {{workers: 2, spare: true}}\n"
            f"drift: {{watched: false}}\n"
            f"capture: {{enabled: true, directory: {self._log}, durability: {self._durability}, flush_s: {FLUSH_S}, seal_s: 1.0}}\n"
        )
        line = [*gateway_command(self._folder / "registry", http=http, grpc=grpc, metrics=metrics), "--config", str(config)]
        extra = {"TIDEGATE_BENCH_LOG": str(self._log), "TIDEGATE_BENCH_FAULTS": str(self._control)}
        paths = [str(Path(__file__).parent / "conserve_faults"), str(ROOT)]
        line = ["env", *[f"{name}={value}" for name, value in extra.items()], f"PYTHONPATH={':'.join(paths)}", *line]
        cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
        with Server(line, core=cores, ready=says_ready(metrics), log=self._folder / "server.log") as server:
            yield server, http

    # --- what befalls it ---------------------------------------------------------------------------------------------------------

    def _befall(self, server: Server) -> None:
        """Kills, then a full disk, then a failing one, and kills again: each at its share of the requests."""
        kills, fault_s = (QUICK_KILLS, QUICK_FAULT_S) if self._quick else (KILLS, FAULT_S)
        acts: list[Callable[[], None]] = []
        for number in range(kills):
            acts.append(lambda: self._kill(server, "gateway.control.worker"))
            if number % 2 == 0:
                acts.append(lambda: self._kill(server, "gateway.control.recorder"))
        acts.insert(len(acts) // 3, lambda: self._fill(fault_s))
        acts.insert(2 * len(acts) // 3, lambda: self._fail(fault_s))
        end = time.monotonic() + 3600.0
        for number, act in enumerate(acts, 1):
            share = number / (len(acts) + 1)
            while self._ledger.next < share * self._ledger.total and time.monotonic() < end:
                time.sleep(0.005)
            act()

    def _kill(self, server: Server, program: str) -> None:
        """One of the processes that run a program."""
        end = time.monotonic() + PATIENCE_S
        while not (found := _running(server.pid, program)) and time.monotonic() < end:
            time.sleep(0.05)
        with suppress(ProcessLookupError):
            os.kill(self._random.choice(found), signal.SIGKILL)
        if program.endswith("worker"):
            self._happened.kills.append(time.monotonic())
        else:
            self._happened.sealers += 1

    def _fill(self, seconds: float) -> None:
        """Leave no byte, however much sealing gives back meanwhile."""
        begun, number = time.monotonic(), 0
        while time.monotonic() < begun + seconds:
            free = shutil.disk_usage(self._disk).free
            if free:
                with suppress(OSError), (self._disk / f"filler-{number}").open("wb") as filler:
                    os.posix_fallocate(filler.fileno(), 0, free)
                number += 1
            time.sleep(0.002)
        for filled in self._disk.glob("filler-*"):
            filled.unlink()
        self._happened.full.append((begun, time.monotonic()))

    def _fail(self, seconds: float) -> None:
        begun = time.monotonic()
        with self._control.open("r+b") as file, mmap.mmap(file.fileno(), 1) as percent:
            percent[0] = EIO_PERCENT
            time.sleep(seconds)
            percent[0] = 0
        self._happened.failing.append((begun, time.monotonic()))


def _running(root: int, program: str) -> list[int]:
    found = []
    for pid in process_tree(root):
        with suppress(OSError):
            if program.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                found.append(pid)
    return found


def _begin(operations: Operations) -> None:
    """A rollout, until its canary has had time to be known to all workers."""
    rollout = operations.apply(_plan(), actor="bench", force=True).status.id
    end = time.monotonic() + PATIENCE_S
    while operations.status(rollout).phase != Phase.STEP.value and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(2.0)


def _plan() -> Plan:
    """A canary with a third of the users, for as long as the bench takes."""
    spec = {
        "model": "forked", "candidate": {"version": 2}, "unit": {"from": ["metadata:x-user"]}, "inline": True,
        "strategy": {"steps": [{"setWeight": 33, "until": {"min_units": 1_000_000_000}}]},
        "analysis": {"metrics": [{"name": "errors", "type": "rate", "event": "server_error"}]},
    }  # fmt: skip
    return msgspec.convert({"apiVersion": "tidegate/v1", "kind": "Rollout", "metadata": {"name": "forked"}, "spec": spec}, Plan)


def judge(found: Document, requests: int, least: int = MOST) -> list[Document]:
    """What must be there, what must not, and that everything was tried."""
    both = list(found.values())
    dropped: Counter[str] = Counter()
    for one in both:
        dropped.update(one["dropped"])
    ages = [one["oldest_lost_s"] for one in both]
    return [
        _bar("requests", requests, ">=", least),
        _bar("workers_killed", sum(one["workers_killed"] for one in both), ">=", 1),
        _bar("sealers_killed", sum(one["sealers_killed"] for one in both), ">=", 1),
        _bar("rows_dropped_for_enospc", dropped["disk_full"], ">=", 1),
        _bar("rows_dropped_for_eio", dropped["io_error"], ">=", 1),
        _bar("differences_of_ledger_and_log", sum(len(one["differences"]) for one in both), "<=", 0),
        _bar("answers_missing_uncounted", sum(one["missing_uncounted"] for one in both), "<=", 0),
        _bar("oldest_lost_answer_s", max(ages), "<=", FLUSH_S),
        _bar("answers_lost_with_sync", found["sync"]["lost"], "<=", 0),
        _bar("answers_by_the_canary", min(one["answered"].get("forked/canary", 0) for one in both), ">=", 1),
    ]


def _bar(name: str, value: float, op: str, bound: float) -> Document:
    return {"name": name, "value": value, "op": op, "bound": bound, "holds": value >= bound if op == ">=" else value <= bound}


if __name__ == "__main__":
    sys.exit(main())
