"""The judgement of measurements, and what makes a run count."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.bars import RULES, judge, per_cpu
from benchmarks.load.tools import ToolError, read_h2load, read_wrk
from benchmarks.measures import fastest
from benchmarks.replayer import Report
from benchmarks.runs import faults
from benchmarks.scrape import Counts, read_counts


def measured(**figures):
    """Measurements with one run per value of each list."""
    return {name: {"runs": [{"rate": value, "faults": []} for value in values]} for name, values in figures.items()}


def bar(measurements, name="rest_binary_vs_json"):
    """The bar of that name."""
    return next(each for each in judge(measurements) if each.name == name)


def test_a_ratio_is_the_median_over_rounds():
    """A round in which the machine slowed both sides leaves the ratio as it is."""
    assert 2.0 == bar(measured(gateway_rest_binary=[2, 20, 9], gateway_rest_json=[1, 10, 3])).value


def test_the_fastest_is_fastest_in_the_median_not_once():
    """A lucky round makes no batch size the best one."""
    documents = measured(lucky=[90, 10, 10], steady=[20, 30, 40])
    assert documents["steady"] is fastest(documents.values())


@pytest.mark.parametrize(("top", "holds"), [([10], True), ([9.9], False)])
def test_a_bar_holds_from_its_bound_on(top, holds):
    """`>= 1.0`."""
    assert holds == bar(measured(gateway_rest_binary=top, gateway_rest_json=[10])).holds


def test_an_upper_bar_fails_above_its_bound():
    """`<= 2.5` seconds."""
    starts = {"gateway_start": {"runs": [{"ready_s": value, "pss_mib": 100, "faults": []} for value in (2.4, 2.6, 2.7)]}}
    assert (2.6, False) == (bar(starts, "ready_s").value, bar(starts, "ready_s").holds)


@pytest.mark.parametrize("missing", [{}, {"gateway_rest_json": []}])
def test_a_bar_without_figures_does_not_hold(missing):
    """What was not measured is not achieved."""
    verdict = bar({**measured(gateway_rest_binary=[10]), **measured(**missing)})
    assert (None, False) == (verdict.value, verdict.holds)


def test_a_bar_does_not_hold_on_runs_that_do_not_count():
    """One fault in either side's runs is enough."""
    measurements = measured(gateway_rest_binary=[50, 50], gateway_rest_json=[10, 10])
    measurements["gateway_rest_json"]["runs"][1]["faults"] = ["a wrong answer"]
    assert (5.0, False) == (bar(measurements).value, bar(measurements).holds)


def test_ratios_per_processor_second_are_told_where_both_sides_have_them():
    """On a busy machine they say more than ratios by the clock."""
    measurements = measured(gateway_rest_binary=[10], gateway_rest_json=[10], gateway_one_shape=[1], gateway_two_shapes=[1])
    measurements["gateway_rest_binary"]["runs"][0]["per_cpu_s"] = 30
    measurements["gateway_rest_json"]["runs"][0]["per_cpu_s"] = 20
    assert {"rest_binary_vs_json": 1.5} == per_cpu(measurements)


def test_every_bar_is_reported_unless_only_a_part_was_measured():
    """The whole bench cannot pass by leaving a group out."""
    assert len(RULES) == len(judge({}))
    assert ["rest_binary_vs_json"] == [each.name for each in judge(measured(gateway_rest_binary=[1]), only_measured=True)]


def test_every_measurement_of_a_rule_is_measured():
    """The names in the rules are those that `benchmarks.measures` writes."""
    source = (Path(__file__).parents[2] / "benchmarks" / "measures.py").read_text()
    names = {name for rule in RULES for name in (rule.top, rule.bottom) if name}
    written = {name for name in names if f'"{name}"' in source}
    templates = {name for name in names if re.fullmatch("gateway_headers_(plain|huffman)(_indexed)?", name)}
    assert names == written | templates


def report(**changes):
    """A report of a clean run of ten answers."""
    clean = {
        "ok": 10, "counted": 10, "seconds": 1.0, "elapsed_s": 1.5, "answer_bytes": 100, "mean_us": 1.0, "p50_us": 1.0, "p99_us": 1.0,
        "max_us": 1.0,
        "load_cpu": 0.5, "statuses": {0: 10}, "samples": [(0, b"x")],
    }  # fmt: skip
    return Report(**{**clean, **changes})


@pytest.mark.parametrize(
    ("changes", "added", "wrong", "part"),
    [
        ({"statuses": {0: 10, 8: 2}}, Counts(10, 10, 2), [], "2 answers were not OK"),
        ({}, Counts(11, 10, 2), [], "the server counted 11 OK answers and 10 rows, the client 10"),
        ({}, Counts(10, 9, 2), [], "the server counted"),
        ({}, None, ["output label"], "output label"),
        ({"samples": []}, None, [], "no answer was sampled"),
        ({"counted": 0}, None, [], "no answer within"),
    ],
)
def test_a_run_does_not_count_when_anything_disagrees(changes, added, wrong, part):
    """Statuses, the server's own counts and the sampled answers each have a veto."""
    assert part in faults(report(**changes), added, wrong)[0]


def test_a_clean_run_counts():
    """With and without a server that counts."""
    assert [] == faults(report(), Counts(10, 10, 3), []) == faults(report(), None, [])


def test_metrics_are_added_over_models_and_protocols_and_only_ok_counts():
    """Refused requests are counted apart, abandoned ones not at all."""
    page = (
        "# TYPE tidegate_requests counter\n"
        'tidegate_requests_total{model="a",protocol="grpc",code="OK"} 3\n'
        'tidegate_requests_total{model="b",protocol="http",code="OK"} 4\n'
        'tidegate_requests_total{model="a",protocol="grpc",code="OVERLOADED"} 9\n'
        'tidegate_requests_total{model="a",protocol="grpc",code="CANCELLED"} 64\n'
        "# TYPE tidegate_batch_rows histogram\n"
        'tidegate_batch_rows_bucket{model="a",le="+Inf"} 2\n'
        'tidegate_batch_rows_sum{model="a"} 7\ntidegate_batch_rows_count{model="a"} 2\n'
    )
    assert Counts(7, 7, 2, 9) == read_counts(page)
    assert Counts(3, 2, 1, 8) == Counts(7, 7, 2, 9).since(Counts(4, 5, 1, 1))


COUNTS = "requests: 9 total, 9 started, 9 done, {} succeeded, {} failed, 0 errored, 0 timeout\n"
H2LOAD = "finished in 3.01s, 134768.00 req/s, 19.03MB/s\n" + COUNTS


def test_the_tools_reports_are_read_and_their_failures_are_failures():
    """A rate is worth nothing when requests failed."""
    assert 134768.0 == read_h2load(H2LOAD.format(9, 0))
    for bad in (H2LOAD.format(8, 1), H2LOAD.format(0, 0), ""):
        with pytest.raises(ToolError):
            read_h2load(bad)
    assert 3010.02 == read_wrk("Requests/sec:   3010.02\n")
    for bad in ("Requests/sec: 1.0\n  Non-2xx or 3xx responses: 3", "Socket errors: connect 0, read 3\nRequests/sec: 1", ""):
        with pytest.raises(ToolError):
            read_wrk(bad)
