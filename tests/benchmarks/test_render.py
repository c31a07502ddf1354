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


def test_the_page_says_what_tenants_notice_of_each_other():
    """Bars, and the medians behind them."""
    share = [{"answered_of_demand": value, "small_p99_us": 10, "of_capacity": 1.0} for value in (0.9, 0.98, 0.99)]
    heavy = [{"p50_us": 100, "p99_us": value} for value in (200, 300)]
    measured = {"share": {"runs": share, "as_one": share[:1]}, "heavy": {"beside": heavy, "alone": heavy[:1]}}
    page = render.page(RESULT, tenants=RESULT | {"measurements": measured, "bars": RESULT["bars"][1:]})
    assert "| answered of what the small tenant asked | 0.98 | 0.9 |" in page
    assert "| p99 beside 8 MiB and alone, µs | 250 | 200 |" in page
    assert "make bench-tenants" in render.page(RESULT)


def test_the_headline_stands_beside_its_baselines():
    """One row a question, the gateway first."""
    table = render.headline(RESULT)
    assert "**110,000** | grpc.aio 2,700, grpcio sync - |" in table
    assert "Ready in 1.9 s with 180.2 MiB." in table
