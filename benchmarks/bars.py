"""The bars of the serving bench: which figure each one is made of, and its bound. Pure: measurements in, verdicts out.

A measurement is `{"runs": [...]}` with one entry a round; rounds alternate between the things compared, so a ratio is taken within each
round and the median over rounds is judged. A bar whose runs are missing or do not count does not hold.
"""

from __future__ import annotations

import operator
import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

Measurements = Mapping[str, Mapping[str, Any]]
OPERATORS: dict[str, Callable[[float, float], bool]] = {">=": operator.ge, "<=": operator.le}


@dataclass(frozen=True, slots=True)
class Bar:
    """One judged bar. `value` is None where a figure is missing."""

    name: str
    value: float | None
    op: str
    bound: float
    holds: bool


@dataclass(frozen=True, slots=True)
class Rule:
    """How a bar is made: `figure` of measurement `top`, divided by that of `bottom` where there is one."""

    name: str
    op: str
    bound: float
    top: str
    bottom: str | None = None
    figure: str = "rate"


RULES = (
    Rule("grpc_4x16_vs_grpc_aio", ">=", 40, "gateway_grpc_4x16", "grpc_aio_4x16"),
    Rule("grpc_64x1_vs_grpc_aio", ">=", 20, "gateway_grpc_64x1", "grpc_aio_64x1"),
    Rule("grpc_1x1_mean_latency_vs_grpc_aio", "<=", 0.5, "gateway_grpc_1x1", "grpc_aio_1x1", "mean_us"),
    Rule("headers_plain_vs_constant", ">=", 0.6, "gateway_headers_plain", "gateway_grpc_4x16"),
    Rule("headers_plain_indexed_vs_constant", ">=", 0.6, "gateway_headers_plain_indexed", "gateway_grpc_4x16"),
    Rule("headers_huffman_vs_constant", ">=", 0.6, "gateway_headers_huffman", "gateway_grpc_4x16"),
    Rule("headers_huffman_indexed_vs_constant", ">=", 0.6, "gateway_headers_huffman_indexed", "gateway_grpc_4x16"),
    Rule("rest_json_64_vs_starlette", ">=", 3.5, "gateway_rest_json", "starlette_json"),
    Rule("rest_binary_vs_json", ">=", 1.0, "gateway_rest_binary", "gateway_rest_json"),
    Rule("grpc_typed_vs_raw", ">=", 0.7, "gateway_grpc_typed", "gateway_grpc_4x16"),
    Rule("two_shapes_vs_one", ">=", 0.7, "gateway_two_shapes", "gateway_one_shape"),
    Rule("mlp_rows_vs_bare_onnxruntime", ">=", 0.65, "gateway_mlp", "onnxruntime_mlp"),
    Rule("mlp_mean_batch", ">=", 16, "gateway_mlp", figure="mean_batch"),
    Rule("tensor_1mib_vs_grpcio_echo", ">=", 0.8, "gateway_tensor", "grpcio_echo"),
    Rule("tensor_1mib_rss_growth_in_flights", "<=", 6, "gateway_rss", figure="growth_in_flights"),
    Rule("ready_s", "<=", 2.5, "gateway_start", figure="ready_s"),
    Rule("pss_mib", "<=", 220, "gateway_start", figure="pss_mib"),
)


def judge(measurements: Measurements, *, only_measured: bool = False) -> list[Bar]:
    """One bar per rule; with `only_measured`, the rules of which nothing was measured are left out."""
    rules = [rule for rule in RULES if not only_measured or rule.top in measurements]
    return [_bar(rule, measurements) for rule in rules]


def per_cpu(measurements: Measurements) -> dict[str, float]:
    """The ratios of rates per second of the server's processor time: what a bar would be on a machine that does nothing else."""
    rules = [replace(rule, figure="per_cpu_s") for rule in RULES if rule.figure == "rate"]
    ratios = {rule.name: _value(rule, measurements) for rule in rules}
    return {name: round(ratio, 4) for name, ratio in ratios.items() if ratio is not None}


def documents(bars: list[Bar]) -> list[dict[str, Any]]:
    """Bars as JSON."""
    return [asdict(bar) for bar in bars]


def _bar(rule: Rule, measurements: Measurements) -> Bar:
    value = _value(rule, measurements)
    counts = not any(run.get("faults") for name in (rule.top, rule.bottom) if name for run in measurements.get(name, {}).get("runs", ()))
    holds = counts and value is not None and OPERATORS[rule.op](value, rule.bound)
    return Bar(rule.name, None if value is None else round(value, 4), rule.op, rule.bound, holds)


def _value(rule: Rule, measurements: Measurements) -> float | None:
    top = _figures(measurements, rule.top, rule.figure)
    if rule.bottom is None:
        return statistics.median(top) if top else None
    bottom = _figures(measurements, rule.bottom, rule.figure)
    ratios = [above / below for above, below in zip(top, bottom, strict=False) if below]
    return statistics.median(ratios) if ratios and len(top) == len(bottom) else None


def _figures(measurements: Measurements, name: str, figure: str) -> list[float]:
    figures = [run.get(figure) for run in measurements.get(name, {}).get("runs", ())]
    return [] if None in figures else figures
