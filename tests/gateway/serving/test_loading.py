"""From a folder of models to versions that serve: what is chosen, what fails, and that it costs no other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gateway.clock import SystemClock
from gateway.config import Batching, Config, ModelSettings, Repository, Versions
from gateway.control.model_child import start_model_child
from gateway.errors import Code, TidegateError
from gateway.limits import ServingLimits
from gateway.serving.isolated import IsolatedModel
from gateway.serving.loading import Loader
from gateway.serving.model import RunFault
from gateway.serving.routing import Routes
from gateway.serving.sources import open_repository
from gateway.serving.versions import Version
from registry.errors import RegistryError
from registry.signatures import generate
from tests.gateway.serving import graphs
from tests.gateway.serving.served import served
from tests.gateway.serving.serving_fakes import FakeLoop, FakeModel


def load(root: Path, batching: Batching | None = None, **models: ModelSettings) -> Routes:
    """Everything in `root`; every look at the clock is a millisecond later."""
    config = Config(repository=Repository(path=root), models=models, batching=batching or Batching())
    return served(config)


def place(root: Path, model: str, version: int, proto=None) -> Path:
    return graphs.saved(root / model / str(version) / "model.onnx", proto or graphs.twice(weight=float(version)))


def test_the_latest_version_is_loaded_and_computes(tmp_path: Path) -> None:
    """Of every model, the one with the highest number, 10 being above 9."""
    for version in (1, 9, 10):
        place(tmp_path, "m", version)
    place(tmp_path, "other", 3)
    routes = load(tmp_path)
    assert ({"m": [10], "other": [3]}, {}) == ({name: routes.numbers(name) for name in routes.versions}, routes.failed)
    assert [[10.0, 20.0]] == routes.resolve("m", "").model.run([np.array([[1, 2]], np.float32)])[0].tolist()


def test_versions_and_rows_are_as_the_settings_say(tmp_path: Path) -> None:
    """Each model its own, where it has any."""
    for version in (1, 2, 3):
        place(tmp_path, "m", version)
        place(tmp_path, "other", version)
    own = ModelSettings(versions=Versions(specific=(1, 3, 7)), max_batch_size=4, max_queue_delay_ms=2.5)
    routes = load(tmp_path, Batching(max_batch_size=64), m=own)
    assert ([1, 3], [3]) == (routes.numbers("m"), routes.numbers("other"))
    first, other = routes.resolve("m", "1"), routes.resolve("other", "")
    assert ((4, 2.5e-3), (64, 0.0)) == tuple((v.signature.max_batch_size, v.max_delay_s) for v in (first, other))


def test_a_version_that_cannot_be_loaded_costs_no_other(tmp_path: Path) -> None:
    """Its reason is kept, without a path; its neighbours and its older version serve."""
    place(tmp_path, "m", 1)
    place(tmp_path, "m", 2).write_bytes(b"broken")
    place(tmp_path, "bad", 1, graphs.sequence())
    place(tmp_path, "good", 1)
    routes = load(tmp_path, m=ModelSettings(versions=Versions(all=True)))
    assert {("m", 2), ("bad", 1)} == set(routes.failed)
    assert not [reason for reason in routes.failed.values() if not reason or str(tmp_path) in reason]
    assert ([1], [1], []) == tuple(routes.numbers(name) for name in ("m", "good", "bad"))
    with pytest.raises(TidegateError) as caught:
        routes.resolve("bad", "")
    assert Code.UNAVAILABLE == caught.value.code


def test_a_loaded_version_is_warm(tmp_path: Path) -> None:
    """It has run already, so the first request's cost can be foretold."""
    place(tmp_path, "m", 1)
    version = load(tmp_path).resolve("m", "")
    assert 1e-3 == pytest.approx(version.cost.predict(1))
    assert version.horizon_s > 0.0


def test_a_version_to_which_zeros_are_no_input_serves_and_never_runs_inline(tmp_path: Path) -> None:
    """Zeros are our guess, so their failure says nothing of the model; what a run costs is not known until requests come."""
    place(tmp_path, "picky", 1, graphs.picky())
    routes = load(tmp_path)
    assert {} == routes.failed
    version = routes.resolve("picky", "")
    assert version.threaded
    assert [10.0] == version.model.run([np.array([5], np.int64)])[0].tolist()


def test_warming_stops_at_the_first_failure() -> None:
    """What is learned before it stays."""
    loop = FakeLoop()
    model = FakeModel(loop, per_run_s=0.25, per_row_s=0.0)
    run = model.run

    def failing(arrays, options=None):
        if len(arrays[0]) > 1:
            raise RunFault(Code.INTERNAL, "no")
        return run(arrays, options)

    model.run = failing
    version = Version(1, model, ServingLimits(), release=lambda version, item, code: None)
    version.warm(loop.now)
    assert ([1, 1, 1], True) == (model.batches, version.threaded)
    assert 0.25 == pytest.approx(version.cost.predict(1))


def test_an_empty_folder_is_an_empty_table(tmp_path: Path) -> None:
    """Nothing serves, nothing failed."""
    assert Routes({}, {}) == load(tmp_path)


def test_a_folder_of_models_has_no_aliases_and_no_keys(tmp_path: Path) -> None:
    """Choosing by alias chooses nothing there, and keys would have nothing to check."""
    place(tmp_path, "m", 1)
    routes = load(tmp_path, m=ModelSettings(versions=Versions(aliases=("champion",))))
    assert ({}, {"m": "a Triton-style repository has no aliases"}) == (routes.versions, routes.idle)
    key = tmp_path / "key.pem"
    key.write_bytes(generate().public.pem())
    with pytest.raises(RegistryError, match="a Triton-style repository has no signatures"):
        open_repository(Repository(path=tmp_path, keys=(key,)))


def test_a_version_is_isolated_where_it_is_asked_to_be_whatever_its_settings_say(tmp_path: Path) -> None:
    """With the bounds of its settings, once at a time; where they want it anyway, nothing is another."""
    place(tmp_path, "m", 1)
    (ref,) = open_repository(Repository(path=tmp_path)).listing().versions
    for own in (ModelSettings(instances=3, isolation_memory_bytes=1 << 30, run_timeout_s=7.0), ModelSettings(isolation="process")):
        config = Config(repository=Repository(path=tmp_path), models={"m": own})
        loader = Loader(config, lambda version, item, code: None, SystemClock.now, start_model_child, cores=4)
        version, _ = loader.load(ref, lambda state: None, isolated=True)
        model = version.model
        assert isinstance(model, IsolatedModel)
        assert (own.isolation_memory_bytes, own.run_timeout_s) == (model._bounds.memory_bytes, model._bounds.run_timeout_s)
        assert (1, True) == (version.instances, version.threaded)
        assert [[2.0, 4.0]] == model.run([np.array([[2, 4]], np.float32)])[0].tolist()
        version.end()
    here, _ = Loader(Config(repository=Repository(path=tmp_path)), lambda *args: None, SystemClock.now, start_model_child).load(
        ref, lambda state: None
    )
    assert not isinstance(here.model, IsolatedModel)
