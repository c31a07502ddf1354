"""The judgement of the credentials bench: ratios within pairs, their interval, and what makes a bar lose its value."""

from __future__ import annotations

from benchmarks.credentials import judge, with_field
from benchmarks.workloads import Workload


def runs(*figures, faults=()):
    return {"runs": [{"rate": figure, "per_cpu_s": 2 * figure, "faults": list(faults)} for figure in figures]}


def bars(measurements, wrong=()):
    return {bar["name"]: bar for bar in judge(measurements, list(wrong))}


WHOLE = {
    "rest_json_open": runs(10, 100, 20), "rest_json_identified": runs(9, 95, 10), "rest_json_metered": runs(8, 80, 20),
    "grpc_4x16_plaintext": runs(10, 10, 10), "grpc_4x16_tls": runs(7, 6, 5), "grpc_aio_4x16_tls": runs(1, 1, 2),
}  # fmt: skip


def test_each_pair_gives_a_ratio_and_the_median_is_the_bar():
    """Identity against open, TLS against plaintext, and TLS against grpcio's."""
    found = {name: (bar["value"], bar["holds"]) for name, bar in bars(WHOLE).items()}
    assert {
        "rest_json_with_key": (0.9, True), "rest_json_with_key_and_quotas": (0.8, True),
        "grpc_4x16_with_tls": (0.6, True), "grpc_4x16_tls_vs_grpc_aio": (6.0, True),
    } == found  # fmt: skip


def test_a_run_that_does_not_count_takes_the_value_of_its_bar():
    """A fault on either side; and wrong answers over TLS, of all bars with TLS."""
    broken = bars(WHOLE | {"rest_json_open": runs(10, 100, 20, faults=["refused"])})
    assert (None, False, [], 0.6) == (*[broken["rest_json_with_key"][key] for key in ("value", "holds", "interval")], 0.6)
    wrong = bars(WHOLE, ["an answer differs"])
    assert [None, None, 0.9] == [wrong[name]["value"] for name in ("grpc_4x16_with_tls", "grpc_4x16_tls_vs_grpc_aio", "rest_json_with_key")]


def test_the_interval_leaves_out_as_many_ranks_as_chance_allows():
    """Of twenty pairs the five lowest and the five highest."""
    twenty = {"a_open": runs(*[100] * 20), "a_identified": runs(*range(81, 101))}
    (bar,) = judge(twenty, [])
    assert ([0.86, 0.95], 0.905) == (bar["interval"], bar["value"])


def test_a_credential_is_a_field_of_every_request():
    """Behind the request line; without one the workload is as it was."""
    workload = Workload([b"POST / HTTP/1.1\r\nHost: x\r\n\r\nbody"], lambda samples: [], http=True)
    assert workload is with_field(workload, "")
    assert [b"POST / HTTP/1.1\r\nauthorization: Bearer k\r\nHost: x\r\n\r\nbody"] == with_field(workload, "k").wires
