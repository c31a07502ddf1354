"""Documents render numbers from the bench's JSON; nobody types them."""

from __future__ import annotations

from benchmarks import render

RESULT = {
    "machine": {"cpu": "a processor", "cores": 2, "memory_gib": 8.0, "system": "Linux"},
    "versions": {"python": "3.11.2", "onnxruntime": "1.32.0"},
    "measurements": {
        "gateway_grpc_4x16": {"runs": [{}, {}], "median": {"rate": 110_000.4, "mean_us": 581.23, "load_cpu": 0.4}},
        "grpc_aio_4x16": {"runs": [{}, {}], "median": {"rate": 2_700.0}},
        "gateway_start": {"runs": [{}], "median": {"ready_s": 1.9, "pss_mib": 180.2}},
    },
    "bars": [
        {"name": "grpc_4x16_vs_grpc_aio", "value": 40.7, "op": ">=", "bound": 40, "holds": True},
        {"name": "x", "value": None, "op": "<=", "bound": 2, "holds": False},
    ],
}


def test_documents_are_fresh():
    """The page and the README's table are what the committed JSON renders to."""
    stale = [path.name for path, text in render.rendered().items() if not path.exists() or path.read_text() != text]
    assert [] == stale, "run python -m benchmarks.render"


def test_the_page_shows_every_bar_and_measurement():
    """With a dash where nothing was measured, and failures in bold."""
    page = render.page(RESULT)
    assert "| grpc_4x16_vs_grpc_aio | 40.7 | >= 40 | yes |" in page
    assert "| x | - | <= 2 | **no** |" in page
    assert "| gateway_grpc_4x16 | 2 | 110,000 | 581 |" in page


def test_the_page_says_how_the_reload_bench_is_run_and_what_came_of_it():
    """Its bars stand there once it was run whole."""
    bare = render.page(RESULT)
    assert "make bench-reload" in bare
    page = render.page(RESULT, None, RESULT | {"bars": [{"name": "kills_wrong", "value": 0.0, "op": "==", "bound": 0, "holds": True}]})
    assert "| kills_wrong | 0 | == 0 | yes |" not in bare
    assert "| kills_wrong | 0 | == 0 | yes |" in page


def test_the_page_says_what_a_large_registry_costs():
    """Once it was measured."""
    bar = {"name": "models_s", "value": 0.5, "op": "<=", "bound": 1.0, "holds": True}
    assert "| models_s | 0.5 | <= 1 | yes |" in render.page(RESULT, RESULT | {"bars": [bar]})
    assert "make bench-registry" in render.page(RESULT)


def test_the_page_shows_the_bars_of_benches_that_have_nothing_else():
    """What each plays stands there before it was run."""
    bare = render.page(RESULT)
    assert [True] * len(render.PLAIN) == [f"make bench-{name}" in bare for name in render.PLAIN]
    bar = {"name": "alike_failed", "value": 0.01, "op": "<=", "bound": 0.033, "holds": True}
    assert "| alike_failed | 0.01 | <= 0.033 | yes |" in render.page(RESULT, plain={"alike": RESULT | {"bars": [bar]}})


def test_the_page_says_what_tenants_notice_of_each_other():
    """Bars, and the medians behind them."""
    share = [{"answered_of_demand": value, "small_p99_us": 10, "of_capacity": 1.0} for value in (0.9, 0.98, 0.99)]
    heavy = [{"p50_us": 100, "p99_us": value} for value in (200, 300)]
    measured = {"share": {"runs": share, "as_one": share[:1]}, "heavy": {"beside": heavy, "alone": heavy[:1]}}
    page = render.page(RESULT, tenants=RESULT | {"measurements": measured, "bars": RESULT["bars"][1:]})
    assert "| answered of what the small tenant asked | 0.98 | 0.9 |" in page
    assert "| p99 beside 8 MiB and alone, µs | 250 | 200 |" in page
    assert "make bench-tenants" in render.page(RESULT)


def test_the_page_says_what_counting_costs():
    """A value, a server, and who waits for it."""
    runs = [{"p50_us": 700.0, "p99_us": value, "max_us": 2000.0} for value in (1000.0, 3000.0)]
    measured = {
        "ns_a_value": {"runs": [], "median": {"counting": 1.2}},
        "tax": {"grpc_4x16_16_watched": {"runs": [], "median": {"rate": 200_000.0, "per_cpu_s": 210_000.0}}},
        "beside_wide": {"watched": {"runs": runs}},
    }
    page = render.page(RESULT, drift=RESULT | {"measurements": measured, "bars": RESULT["bars"][1:]})
    assert "| grpc_4x16_16_watched | 200,000 | 210,000 | - | - | - |" in page
    assert "| counting | 1.2 |" in page
    assert "| watched | 700 | 2,000 | 2,000 |" in page
    assert "make bench-drift" in render.page(RESULT)


def test_the_headline_stands_beside_its_baselines():
    """One row a question, the gateway first."""
    table = render.headline(RESULT)
    assert "**110,000** | grpc.aio 2,700, grpcio sync - |" in table
    assert "Ready in 1.9 s with 180.2 MiB." in table


def test_the_page_says_how_far_alarms_can_be_believed():
    """Shares of clean streams, ours beside others', and delays by detector and change."""
    rules = {name: {"streams": 0.5} for name in ("ks_cumulative", "ks_windows_of_1000", "psi_windows_of_500")}
    measured = {
        "false_alarms": {"daily": {"test_a": 0.0, "by_hour": 0.02, "test_a_without_time": 1.0}}, "rules": {"daily": rules},
        "after_quiet": {"clean_alarms": 0.4, "tidegate": {"mean_0.5": {"median_rows": 2.0}}, "ADWIN": {"mean_0.5": {"median_rows": None}}},
        "peers_at_defaults": {"independent": {"KSWIN": {"streams": 1.0}}},
    }  # fmt: skip
    page = render.page(RESULT, detect=RESULT | {"measurements": measured})
    assert "| daily | 0 | 0.02 | 1 | 0.5 | 0.5 | 0.5 |" in page
    assert "| ADWIN | - |" in page
    assert "that alarm: KSWIN 1." in page
    assert "make bench-detect" in render.page(RESULT)


def test_the_page_says_what_scoring_keeps():
    """Once it was measured: the bar, and the medians behind it."""
    run = {"rows_per_second": 95.0, "bare_rows_per_second": 100.0, "rows_per_cpu_s": 45.0, "bare_rows_per_cpu_s": 50.0}
    run |= {"run_rows": 64, "start_s": 0.5}
    page = render.page(RESULT, score=RESULT | {"measurements": {"mlp": {"rows": 1_000, "runs": [run, run]}}, "bars": RESULT["bars"][1:]})
    assert "| mlp | 1,000 | 95 | 100 | 0.950 | 0.900 | 64 | 0.50 |" in page
    assert "make bench-score" in render.page(RESULT)
