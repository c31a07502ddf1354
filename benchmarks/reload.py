"""The reload bench: what callers notice while versions, workers and the server itself come and go, against the bars of its parts.

`python -m benchmarks.reload` runs the whole, with the numbers that the bars are meant for, and writes benchmarks/results/reload.json;
`--only PART` measures one part again, and puts it in place of what that file has of it, if that was measured on this machine with these
versions; `--quick --json -` repeats less often, within 300 s, leaves out a thousand models, and prints one JSON object as its last line.
Exit status 0 only if every bar of what was run holds. A part that cannot be carried out makes a bar
that does not hold.

Parts: reloads, kills, terms, connections, many_models, workers, health; each is a module of `benchmarks.lifecycle`, whose docstring says
what it does. Every answer of the first three is looked at: a wrong one is shown, as is everything that callers saw instead of an answer.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import command, render
from benchmarks.lifecycle import crowd, kills, pair, probes, reloads, spread, terms
from benchmarks.lifecycle.verdicts import bar
from benchmarks.machine import describe_machine, describe_versions
from benchmarks.processes import Cores, ServerError, pick_cores
from benchmarks.replayer import LoadError

RESULT = Path(__file__).parent / "results" / "reload.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often."""

    reloads: reloads.Pace
    requests: int  # of the reloads, at least
    kills: int
    terms: int
    spread: int
    crowd: crowd.Pace | None
    pair: int
    pair_s: float
    probes: int


WHOLE = Pace(
    reloads=reloads.Pace(reloads=200, per_stretch=5, capacity_s=4.0), requests=100_000, kills=100, terms=50, spread=20,
    crowd=crowd.Pace(models=1000, rounds=7, seconds=3.0, cycles=100), pair=9, pair_s=3.0, probes=200,
)  # fmt: skip
QUICK = Pace(
    reloads=reloads.Pace(reloads=12, per_stretch=4, capacity_s=2.0), requests=10_000, kills=6, terms=4, spread=3, crowd=None,
    pair=5, pair_s=1.5, probes=70,
)  # fmt: skip

_MACHINE = ("cpu", "cores", "system")

Measured = dict[str, Any]
Bars = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Part:
    """One question: `pinned` parts have the load on one core and the server on the other, the others share both."""

    measure: Callable[[Path], Measured]
    bars: Callable[[Measured], Bars]
    pinned: bool


def parts(pace: Pace, cores: Cores, seed: int) -> dict[str, Part]:
    """All of them, in the order in which they run."""
    both = f"{cores.server},{cores.load}"
    given = {"seed": seed, "python": sys.executable}
    found = {
        "connections": Part(lambda folder: spread.measure(folder, spread=pace.spread, cores=both, **given), spread.bars, False),
        "health": Part(lambda folder: probes.measure(folder, probes=pace.probes, cores=cores, **given), probes.bars, True),
        "workers": Part(lambda folder: pair.measure(folder, pair=pace.pair, seconds=pace.pair_s, cores=both, **given), pair.bars, False),
        "terms": Part(lambda folder: terms.measure(folder, terms=pace.terms, cores=both, **given), terms.bars, False),
        "kills": Part(lambda folder: kills.measure(folder, kills=pace.kills, cores=both, **given), kills.bars, False),
        "reloads": Part(
            lambda folder: reloads.measure(folder, cores=cores, pace=pace.reloads, **given),
            lambda measured: reloads.bars(measured, requests=pace.requests), True,
        ),
    }  # fmt: skip
    if pace.crowd is not None:
        many = pace.crowd
        found["many_models"] = Part(lambda folder: crowd.measure(folder, pace=many, cores=cores, **given), crowd.bars, True)
    return found


def run(chosen: dict[str, Part], cores: Cores) -> tuple[Measured, Bars]:
    """Each in a folder of its own."""
    measurements: Measured = {}
    bars: Bars = []
    had = os.sched_getaffinity(0)
    try:
        for name, part in chosen.items():
            os.sched_setaffinity(0, {cores.load} if part.pinned else {cores.server, cores.load})
            measured, judged = _run_one(name, part)
            measurements |= measured
            bars += judged
    finally:
        os.sched_setaffinity(0, had)
    return measurements, bars


def _run_one(name: str, part: Part) -> tuple[Measured, Bars]:
    start, before = time.monotonic(), os.getloadavg()[0]
    _say(f"{name} (load average {before:.2f})")
    try:
        with tempfile.TemporaryDirectory() as folder:
            measured = part.measure(Path(folder))
        judged = part.bars(measured)
    except (ServerError, LoadError, OSError) as error:
        _say(f"  {error}")
        measured, judged = {name: {"error": str(error)[:2000]}}, [bar(f"{name}_carried_out", 0, "==", 1)]
    measured[name] |= {"seconds": round(time.monotonic() - start, 1), "load_average_before": round(before, 2)}
    _report(measured, judged)
    return measured, judged


def _report(measured: Measured, judged: Bars) -> None:
    for each in judged:
        _say(f"  {'holds' if each['holds'] else 'FAILS'}  {each['name']:44} {each['value']} {each['op']} {each['bound']}")
    runs = [one for part in measured.values() if isinstance(part, dict) for one in part.get("runs", ()) if isinstance(one, dict)]
    for text in [fault for one in runs for fault in one.get("faults", ())][:10]:
        _say(f"  WRONG  {text}")
    seen = {number: one["outcomes"] for number, one in enumerate(runs) if one.get("outcomes")}
    for number, outcomes in list(seen.items())[:5]:
        _say(f"  run {number} saw {outcomes}")


def main(arguments: list[str] | None = None) -> int:
    """Run, judge, write."""
    parser = command.parser(__doc__, seed="rows, and which worker is killed")
    parser.add_argument("--only", action="append", metavar="PART", help="run this part only (may be given again)")
    options = parser.parse_args(arguments)
    cores, machine = pick_cores(), describe_machine()
    every = parts(QUICK if options.quick else WHOLE, cores, options.seed)
    if unknown := set(options.only or ()) - set(every):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(every)}")
    chosen = {name: part for name, part in every.items() if not options.only or name in options.only}
    measurements, bars = run(chosen, cores)
    result = {"machine": machine, "versions": describe_versions(), "seed": options.seed, "quick": options.quick,
              "measurements": measurements, "bars": bars}  # fmt: skip
    if options.only and not (options.quick or options.json):
        result = joined(json.loads(RESULT.read_text()), result)
    status = command.conclude(result, options.json or ("-" if options.quick else None), RESULT)
    if not (options.json or options.quick):
        render.refresh()
    return status


def joined(old: Measured, new: Measured) -> Measured:
    """Some parts in place of what there was of them. Raises `ValueError` for parts of another machine, or with other versions or seeds."""
    same = [{key: one[key] for key in ("versions", "seed", "quick")} | {key: one["machine"][key] for key in _MACHINE} for one in (old, new)]
    if same[0] != same[1]:
        raise ValueError("the other parts were measured elsewhere, or otherwise: measure the whole")
    stale = {f"{part}_carried_out" for part in new["measurements"]}
    bars = {one["name"]: one for one in (*[bar for bar in old["bars"] if bar["name"] not in stale], *new["bars"])}
    return old | {"measurements": old["measurements"] | new["measurements"], "bars": list(bars.values())}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
