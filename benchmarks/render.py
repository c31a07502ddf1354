"""Renders the benches' JSON into docs/benchmarks.md, and the serving bench's into README.md, between `<!-- bench:serving -->` and
`<!-- /bench -->`.

`python -m benchmarks.render` writes both; numbers in documents come from here and are typed by nobody.
"""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
RESULT, *OTHERS = (
    RESULTS / f"{name}.json" for name in ("serving", "registry", "reload", "credentials", "tenants", "detect", "drift", "score")
)
PLAIN = {  # benches of which the page shows what they play, and their bars
    "rollout": (
        "Verdicts on rollouts",
        "thousands of simulated rollouts with clustered users, drifting rates and changing weights, through the "
        "product's own counters and machine: how often a candidate that is as good, or at the margin, is failed or promoted, and "
        "how soon a bad one is rolled back; beside a constant threshold, a Mann-Whitney test and a peeked z-test.",
    ),
    "alike": (
        "Rollouts of a model to itself",
        "a hundred rollouts on a real server under gRPC traffic, ten at a time, of candidates that are "
        "stable's equals: how many are failed, or paused by evidence.",
    ),
    "shadow": (
        "What a shadow costs",
        "a server with and without a shadow of all requests, by turns on one core, at half load and at full load; "
        "and beside candidates that hang, grow, are slow, or whose process is killed ten times a second.",
    ),
    "capture": (
        "What logging costs",
        "a server that logs all requests of 16 features, or one in ten, beside one that logs none, by turns on one "
        "core; and one whose log is uploaded to a store that never answers.",
    ),
    "conserve": (
        "The log adds up",
        "more than a million requests to a server whose workers and sealing process are killed, and whose disk is full "
        "for a while and fails for a while; once more with `durability: sync`; then every row is held against what the callers wrote "
        "down.",
    ),
    "loop": ("Labels joined with answers", "10 million answers with 10 million labels on two cores."),
}
PAGE, README = ROOT / "docs" / "benchmarks.md", ROOT / "README.md"
MARKED = re.compile(r"(<!-- bench:serving -->\n).*?(<!-- /bench -->)", re.DOTALL)

HEADLINES = (
    ("gRPC, one row, 4 x 16 in flight", "gateway_grpc_4x16", (("grpc.aio", "grpc_aio_4x16"), ("grpcio sync", "grpcio_sync_4x16"))),
    ("gRPC, one row, 64 connections", "gateway_grpc_64x1", (("grpc.aio", "grpc_aio_64x1"),)),
    ("gRPC, one row, one in flight", "gateway_grpc_1x1", (("grpc.aio", "grpc_aio_1x1"),)),
    ("REST JSON, 64 connections", "gateway_rest_json", (("Starlette + uvicorn", "starlette_json"),)),
    ("MLP 256-1024-1024-10, one-row requests", "gateway_mlp", (("ONNX Runtime alone, best batch", "onnxruntime_mlp"),)),
    ("1 MiB tensors, both ways", "gateway_tensor", (("grpcio sync echo", "grpcio_echo"),)),
)
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
COLUMNS = {
    "rate": "per second", "mean_us": "mean µs", "p50_us": "p50 µs", "p99_us": "p99 µs",
    "mean_batch": "rows a batch", "server_cpu": "server's core", "load_cpu": "load's core",
}  # fmt: skip


def headline(result: dict[str, Any]) -> str:
    """The table of the README: the gateway beside its baselines, on one core."""
    lines = ["| one core, answers a second | Tidegate | baselines |", "|---|---:|---|"]
    for text, ours, peers in HEADLINES:
        baselines = ", ".join(f"{name} {_rate(result, peer)}" for name, peer in peers)
        lines.append(f"| {text} | **{_rate(result, ours)}** | {baselines} |")
    start = result["measurements"].get("gateway_start", {}).get("median", {})
    size = f"Ready in {start.get('ready_s', '?')} s with {start.get('pss_mib', '?')} MiB."
    lines += ["", f"{size} {_machine(result)} All bars: [docs/benchmarks.md](docs/benchmarks.md)."]
    return "\n".join(lines) + "\n"


def page(
    result: dict[str, Any],
    registry: dict[str, Any] | None = None,
    reload: dict[str, Any] | None = None,
    credentials: dict[str, Any] | None = None,
    tenants: dict[str, Any] | None = None,
    detect: dict[str, Any] | None = None,
    drift: dict[str, Any] | None = None,
    score: dict[str, Any] | None = None,
    *,
    plain: dict[str, dict[str, Any] | None] | None = None,
) -> str:
    """docs/benchmarks.md: bars, then every measurement; then what the other benches found."""
    return "\n".join([
        "# Benchmarks", "",
        "Rendered from [benchmarks/results/serving.json](../benchmarks/results/serving.json) by `benchmarks/render.py`; "
        "`make bench-serving` measures it again and rewrites both.", "",
        "The server has one core and the load another; baselines run in the same rounds, by turns. A run counts only if every answer is "
        "OK, the server's counts of requests and rows equal the client's, and sampled answers equal those of ONNX Runtime alone. "
        "Ratios are taken within a round; figures are medians over rounds.", "",
        _machine(result), "", _versions(result), "",
        "## Bars", "", *_bars(result), "", "## Measurements", "", *_measurements(result), "",
        *_identity(credentials), *_tenants(tenants), *_alarms(detect), *_counting(drift), *_scoring(score),
        *_plain(plain or {}), *_registry(registry), *_comings(reload),
    ])  # fmt: skip


def _identity(credentials: dict[str, Any] | None) -> list[str]:
    """The credentials bench: how it is run, and where it was, its bars and figures."""
    lines = [
        "## Who calls, and over what", "",
        "`make bench-credentials`: the small requests of the serving bench to a gateway that asks for an API key, to one that also reckons "
        "with every quota of its tenant, beside the same gateway open to all; to one that speaks TLS, beside plaintext and grpcio's own "
        "server with TLS. Ratios are of answers per second of the server's processor time, but for grpcio's of answers per second; "
        "medians over pairs.", "",
    ]  # fmt: skip
    if credentials is None:
        return lines
    table = ["| measurement | runs | per second | per processor second |", "|---|---:|---:|---:|"]
    for name, measurement in credentials["measurements"].items():
        cells = [_number(measurement["median"].get(figure)) for figure in ("rate", "per_cpu_s")]
        table.append(f"| {name} | {len(measurement['runs'])} | {' | '.join(cells)} |")
    return [*lines, _machine(credentials), "", *_bars(credentials), "", *table, ""]


def _scoring(score: dict[str, Any] | None) -> list[str]:
    """The bench of scoring files: its bar, and the medians behind it and of the model that has none."""
    lines = [
        "## Scoring files", "",
        "`make bench-score`: `tidegate score` on Parquet files, beside ONNX Runtime alone on rows in memory at its best batch size, on all "
        "cores, by turns. `mlp` computes; of `tabular` ONNX Runtime answers so many rows a second that reading and writing files is the "
        "work, and it has no bar. Medians over rounds.", "",
    ]  # fmt: skip
    if score is None:
        return lines
    table = [
        "| model | rows | rows a second | ONNX Runtime alone | ratio | ratio by processor second | rows a run | loading and trying, s |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, found in score["measurements"].items():
        runs = [
            run | {f"of_{per}": run[f"rows_per_{per}"] / run[f"bare_rows_per_{per}"] for per in ("second", "cpu_s")}
            for run in found["runs"]
        ]
        middle = {key: statistics.median(run[key] for run in runs) for key in runs[0] if key != "faults"}
        cells = [f"{middle[key]:,.0f}" for key in ("rows_per_second", "bare_rows_per_second")]
        cells += [f"{middle[key]:.3f}" for key in ("of_second", "of_cpu_s")]
        table.append(f"| {name} | {found['rows']:,} | {' | '.join(cells)} | {middle['run_rows']:,.0f} | {middle['start_s']:.2f} |")
    return [*lines, _machine(score), "", *_bars(score), "", *table, ""]


def _plain(results: dict[str, dict[str, Any] | None]) -> list[str]:
    """The benches of `PLAIN`: what each plays, and its bars where it was run."""
    lines = []
    for name, (title, played) in PLAIN.items():
        found = results.get(name)
        lines += [f"## {title}", "", f"`make bench-{name}`: {played}", ""]
        lines += [_machine(found), "", *_bars(found), ""] if found is not None else []
    return lines


def _registry(registry: dict[str, Any] | None) -> list[str]:
    """The registry bench: what it asks, and its bars where it was run."""
    lines = [
        "## A large registry", "",
        "`make bench-registry`: 10,000 versions of 100 models are listed from nothing with inputs and outputs, an alias is resolved, a "
        "change is seen; a model of 100 MB is published, with checks and trial, beside copying and hashing the same file. Medians, and "
        "for the watch the slowest; the last bar is the share of three copies and 1.5 s that a publish takes.", "",
    ]  # fmt: skip
    return lines if registry is None else [*lines, _machine(registry), "", *_bars(registry), ""]


def _comings(reload: dict[str, Any] | None) -> list[str]:
    """The reload bench: how it is run, and its bars where it was."""
    lines = [
        "## While things come and go", "",
        "`make bench-reload`, or `make soak`, moves an alias under load, kills workers, stops servers, spreads connections, serves a "
        "thousand models, compares two workers with one and probes health, as often as the bars say; that takes half an hour. "
        "`python -m benchmarks.reload --quick --json -` repeats less often and leaves the thousand models out; `--only PART` runs one "
        "part of `connections`, `health`, `workers`, `terms`, `kills`, `reloads`, `many_models`. Callers look at every answer and hold "
        "it against the version that it names; what each part does is said in `benchmarks/lifecycle/`.", "",
    ]  # fmt: skip
    return lines if reload is None else [*lines, _machine(reload), "", *_bars(reload), ""]


def _tenants(tenants: dict[str, Any] | None) -> list[str]:
    """The bench of tenants: what it plays, its bars, and the figures behind them."""
    lines = [
        "## Tenants beside each other", "",
        "`make bench-tenants`: on one core, a tenant asks for a fifth of what a model of long runs can do, beside one that offers nine "
        "times as much, twice what there is together; and a tenant asks for one row at a time, alone and beside one that sends 8 MiB "
        "with every hundredth. For comparison, both tenants of the first with one key, which the server cannot tell apart.", "",
    ]  # fmt: skip
    if tenants is None:
        return lines
    share, heavy = tenants["measurements"]["share"], tenants["measurements"]["heavy"]
    rows = [
        ("answered of what the small tenant asked", "answered_of_demand", share["runs"], share["as_one"]),
        ("p99 of the small tenant beside the big one, µs", "small_p99_us", share["runs"], share["as_one"]),
        ("answers a second of both, of what one alone gets", "of_capacity", share["runs"], share["as_one"]),
        ("p50 beside 8 MiB and alone, µs", "p50_us", heavy["beside"], heavy["alone"]),
        ("p99 beside 8 MiB and alone, µs", "p99_us", heavy["beside"], heavy["alone"]),
    ]
    table = ["| median | two tenants | one key, or alone |", "|---|---:|---:|"]
    table += [f"| {text} | {_median(key, ours)} | {_median(key, others)} |" for text, key, ours, others in rows]
    return [*lines, _machine(tenants), "", *_bars(tenants), "", *table, ""]


def _alarms(detect: dict[str, Any] | None) -> list[str]:
    """The bench of drift alarms: what it asks, its bars, and what was compared."""
    lines = [
        "## Alarms that can be believed", "",
        "`make bench-detect`: one feature, a reference of 20,000 rows in 32 bins, α = 5 %. False alarms are shares of clean streams of "
        "40,000 rows, looked at every 100, that alarm at all; delays are medians of rows. After a quiet period, thresholds are such that "
        "equally many clean streams alarm; a detector that misses a change is counted with 10,000 rows. And a year of real flights, each "
        "month against January.", "",
    ]  # fmt: skip
    if detect is None:
        return lines
    measured = detect["measurements"]
    clean = [
        "| clean streams that alarm | test A | by hour | test A, time ignored | KS so far | KS windows | PSI windows |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for kind, ours in measured["false_alarms"].items():
        rules = measured["rules"][kind]
        names = ("ks_cumulative", "ks_windows_of_1000", "psi_windows_of_500")
        shares = [ours["test_a"], ours["by_hour"], ours["test_a_without_time"], *(rules[name]["streams"] for name in names)]
        clean.append(f"| {kind} | {' | '.join(map(_number, shares))} |")
    shown = measured["after_quiet"]
    quiet = {name: found for name, found in shown.items() if isinstance(found, dict)}
    changes = list(quiet["tidegate"])
    table = [f"| rows after a quiet period | {' | '.join(changes)} |", "|---|" + "---:|" * len(changes)]
    table += [f"| {name} | {' | '.join(_number(found[change]['median_rows']) for change in changes)} |" for name, found in quiet.items()]
    peers = measured.get("peers_at_defaults", {}).get("independent", {})
    named = ", ".join(f"{name} {_number(found['streams'])}" for name, found in peers.items())
    others = [f"Detectors of other projects at their defaults, shares of clean independent streams that alarm: {named}.", ""]
    compared = [*clean, "", *table, "", *(others if peers else []), *(_flights(measured["flights"]) if "flights" in measured else [])]
    return [*lines, _machine(detect), "", *_bars(detect), "", *compared]


def _flights(measured: dict[str, Any]) -> list[str]:
    """A year of flights against its January: when what drifted, how far each month was, and how good the estimate without labels."""
    year, months = measured["year"], measured["year"]["months"]
    lines = [
        "### A year of flights", "",
        "The demo's model and features, January the reference, every flight of the months after counted and looked at every 100. Flights "
        "near each other share the weather and the delays, so January's are worth fewer independent ones: by that a PSI may be chance, and "
        "a state waits for evidence. First dates, and the PSI of each month's flights:", "",
    ]  # fmt: skip
    names = [MONTHS[month["month"] - 1] for month in months]
    states = ("DRIFT", "WARN", "ALARM")
    table = [f"| feature | January is worth | {' | '.join((*states, *names))} |", "|---|---:|" + "---|" * 3 + "---:|" * len(names)]
    for name, worth in sorted(year["reference_worth"].items(), key=lambda item: -max(month["psi"][item[0]] for month in months)):
        first = year["first"].get(f"feature:{name}", {})
        cells = [_number(worth), *(_day(first.get(state)) for state in states), *(f"{month['psi'][name]:.2f}" for month in months)]
        table.append(f"| {name} | {' | '.join(cells)} |")
    accuracy = ["| accuracy | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    accuracy.append("| by labels | " + " | ".join(f"{month['accuracy']:.3f}" for month in months) + " |")
    accuracy.append("| estimated without | " + " | ".join(f"{month['estimated'][1]:.3f}" for month in months) + " |")
    accuracy.append("| from, to | " + " | ".join(f"{month['estimated'][0]:.3f}, {month['estimated'][2]:.3f}" for month in months) + " |")
    missed = [
        name for name, month in zip(names, months, strict=True) if not month["estimated"][0] <= month["accuracy"] <= month["estimated"][2]
    ]
    return [
        *lines, *table, "", *accuracy, "",
        f"The bounds miss {', '.join(missed) or 'no month'}: an estimate from scores cannot see that the same score came to mean "
        f"something else. {_against_itself(measured)}", "",
    ]  # fmt: skip


def _against_itself(measured: dict[str, Any]) -> str:
    """January's halves."""
    silent = sum(1 for one in measured["shuffled"] if not one["first"])
    found = measured["halves_in_order"]["first"]
    moved = [
        f"{scope.removeprefix('feature:')} ({_day(min(first.values()))})" for scope, first in found.items() if scope.startswith("feature:")
    ]
    return (
        f"January dealt out into two halves stays OK in {silent} of {len(measured['shuffled'])} shuffles; its first half against its "
        f"second, in order, names {', '.join(moved) or 'nothing'}: two weeks of winter are a short reference."
    )


def _day(found: str | None) -> str:
    """A date of 2013."""
    return "" if found is None else f"{int(found[8:10])} {MONTHS[int(found[5:7]) - 1]}"


def _counting(drift: dict[str, Any] | None) -> list[str]:
    """The bench of counting rows: what a value costs, and what a server pays."""
    lines = [
        "## What counting every row costs", "",
        "`make bench-drift`: 256 rows of 64 float32 features into 32 bins, special slots, power sums and extremes, beside other libraries, "
        "times our time; and the tabular model of the serving bench, with profiles of all inputs and outputs, served with and without "
        "counting, by turns on one core. Throughput is in answers per second of the processor time of all the server's processes; a run "
        "counts only if the server counted as many rows as it answered. The last bar is the longest call, with batches of up to 256 rows "
        "of 1,000 features.", "",
    ]  # fmt: skip
    if drift is None:
        return lines
    measured = drift["measurements"]
    table = ["| measurement | per second | per processor second | p50 µs | p99 µs | rows a batch |", "|---|---:|---:|---:|---:|---:|"]
    for name, found in measured["tax"].items():
        cells = [_number(found["median"].get(figure)) for figure in ("rate", "per_cpu_s", "p50_us", "p99_us", "mean_batch")]
        table.append(f"| {name} | {' | '.join(cells)} |")
    values = ["| ns a value, or a row of categories | median |", "|---|---:|"]
    values += [f"| {name} | {_number(value)} |" for name, value in measured["ns_a_value"]["median"].items()]
    gaps = ["| single requests beside 64 rows of 1,000 features at a time | p50 µs | p99 µs | longest µs |", "|---|---:|---:|---:|"]
    for name, found in measured["beside_wide"].items():
        gaps.append(f"| {name} | {' | '.join(_median(figure, found['runs']) for figure in ('p50_us', 'p99_us', 'max_us'))} |")
    return [*lines, _machine(drift), "", *_bars(drift), "", *table, "", *values, "", *gaps, ""]


def _median(key: str, runs: list[dict[str, Any]]) -> str:
    return _number(statistics.median(run[key] for run in runs))


def _bars(result: dict[str, Any]) -> list[str]:
    lines = ["| bar | value | bound | holds |", "|---|---:|---:|---|"]
    for bar in result["bars"]:
        verdict = "yes" if bar["holds"] else "**no**"
        lines.append(f"| {bar['name']} | {_number(bar['value'])} | {bar['op']} {_number(bar['bound'])} | {verdict} |")
    return lines


def _measurements(result: dict[str, Any]) -> list[str]:
    lines = ["| measurement | runs | " + " | ".join(COLUMNS.values()) + " |", "|---|---:|" + "---:|" * len(COLUMNS)]
    for name, measurement in result["measurements"].items():
        figures = measurement["median"]
        if "rate" in figures:
            cells = " | ".join(_number(figures.get(key) or None) for key in COLUMNS)
            lines.append(f"| {name} | {len(measurement['runs'])} | {cells} |")
    return lines


def _versions(result: dict[str, Any]) -> str:
    return "Versions: " + ", ".join(f"{name} {version}" for name, version in result["versions"].items()) + "."


def _machine(result: dict[str, Any]) -> str:
    machine, python = result["machine"], result["versions"]["python"]
    return f"Measured on {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}, Python {python}."


def _rate(result: dict[str, Any], name: str) -> str:
    return _number(result["measurements"].get(name, {}).get("median", {}).get("rate"))


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def rendered() -> dict[Path, str]:
    """What the documents should hold, by path: the page, and the README where it has the markers."""
    if not RESULT.exists():
        return {}
    result = json.loads(RESULT.read_text())
    others = [json.loads(path.read_text()) if path.exists() else None for path in OTHERS]
    plain = {name: json.loads(path.read_text()) if (path := RESULTS / f"{name}.json").exists() else None for name in PLAIN}
    pages = {PAGE: page(result, *others, plain=plain)}
    readme = README.read_text()
    if MARKED.search(readme):
        pages[README] = MARKED.sub(lambda match: match[1] + headline(result) + match[2], readme)
    return pages


def refresh() -> None:
    """Write the documents."""
    for path, text in rendered().items():
        path.write_text(text)


if __name__ == "__main__":
    refresh()
