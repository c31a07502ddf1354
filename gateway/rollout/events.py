"""What a rate counts: the grammar of `event` in a plan, and which records it is true of. The only reader of that grammar.

event = term { "or" term }        term = server_error | rejected_input | bad_output | latency_ms > NUMBER
"""

from __future__ import annotations

import difflib
import math
import re

import msgspec
import numpy as np

from gateway.rollout.plan import Plan
from gateway.rollout.records import Flag

MAX_LATENCY_MS = 3_600_000.0
FLAGS = {"server_error": Flag.SERVER_ERROR, "rejected_input": Flag.REJECTED_INPUT, "bad_output": Flag.BAD_OUTPUT}
_LATENCY = re.compile(r"latency_ms\s*>\s*([0-9]+(?:\.[0-9]+)?)")
_LIKE_LATENCY = re.compile(r"\s*(latency|duration)[a-z_]*\s*([<>=]*)")
_ELSEWHERE = {"error": "server_error", "errors": "server_error", "5xx": "server_error", "4xx": "rejected_input", "output_nan": "bad_output",
              "output_out_of_range": "bad_output"}  # fmt: skip


class Condition(msgspec.Struct, frozen=True):
    """What makes a request count: any of the flags, or to be slower than a bound."""

    flags: Flag = Flag(0)
    above_s: float = math.inf

    def met(self, flags: np.ndarray, latency_s: np.ndarray) -> np.ndarray:
        """Of which requests it is true, bool [n]. flags: uint16 [n]; latency_s: [n], NaN where there is none."""
        return np.asarray((flags & np.uint16(self.flags)) != 0) | (latency_s > self.above_s)


def parse(text: str) -> Condition:
    """The condition that an event's text states. Raises `ValueError` with what to write."""
    flags, above_s = Flag(0), math.inf
    for term in re.split(r"\s+or\s+", text.strip()):
        if match := _LATENCY.fullmatch(term):
            above_s = min(above_s, _seconds(float(match[1])))
        elif term in FLAGS:
            flags |= FLAGS[term]
        else:
            raise ValueError(f"{term!r} is no event{_advice(term)}")
    return Condition(flags, above_s)


def slo_s(plan: Plan) -> tuple[float, ...]:
    """The bounds on latency that the plan's rates count by, in seconds, ascending and each once. Raises `ValueError`, as `parse`."""
    rates = [parse(metric.event).above_s for metric in plan.spec.analysis.metrics if metric.type == "rate"]
    return tuple(sorted({bound for bound in rates if math.isfinite(bound)}))


def _seconds(milliseconds: float) -> float:
    if not 0 < milliseconds <= MAX_LATENCY_MS:
        raise ValueError(f"a bound on latency is above 0 and at most {MAX_LATENCY_MS:.0f} ms")
    return milliseconds / 1e3


def _advice(term: str) -> str:
    if not term:
        return f": write {', '.join(FLAGS)} or latency_ms > 50"
    if match := _LIKE_LATENCY.match(term):
        return ": only > is known; write latency_ms > 50" if match[2] not in ("", ">") else ": write latency_ms > 50, a plain number of ms"
    if term in _ELSEWHERE:
        return f"; did you mean {_ELSEWHERE[term]!r}?"
    close = difflib.get_close_matches(term, FLAGS, 1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(FLAGS)} and latency_ms > NUMBER"
