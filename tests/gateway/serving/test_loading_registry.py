"""From a registry to versions that serve: aliases, what a version says of itself, keys, and what a damaged part costs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.clock import SystemClock
from gateway.config import Batching, Config, ModelSettings, Repository, Versions
from gateway.errors import TidegateError
from gateway.serving.loading import Loader
from gateway.serving.model import ModelFault
from gateway.serving.routing import Routes
from gateway.serving.sources import open_repository
from registry.errors import RegistryError
from registry.names import blob_key
from registry.parts import Parts
from registry.providers import CudaOptions, ProviderOptions
from registry.schema import contract_file
from registry.serving import Serving
from registry.signatures import attach, generate, sign
from registry.store import Store
from tests.gateway.serving import graphs
from tests.gateway.serving.isolation import Starter
from tests.gateway.serving.registries import golden, published
from tests.gateway.serving.served import served

ONE, TWO, THREE = (graphs.twice(weight=float(number)) for number in (1, 2, 3))


def load(root: Path, *, keys: tuple[Path, ...] = (), batching: Batching | None = None, **models: ModelSettings) -> Routes:
    """What a server with these settings serves; every look at the clock is a millisecond later."""
    config = Config(repository=Repository(path=root, keys=keys), models=models, batching=batching or Batching())
    return served(config)


def refusal(routes: Routes, model: str, version: str = "") -> str:
    with pytest.raises(TidegateError) as caught:
        routes.resolve(model, version)
    return f"{caught.value.code.name}: {caught.value.message}"


def damage(store: Store, digest: str) -> Path:
    """Change one byte of a blob."""
    path = Path(store.medium.root) / blob_key(digest)
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
    return path


def test_what_aliases_stand_for_serves_and_the_champion_answers(tmp_path: Path) -> None:
    """The newest version is not even loaded."""
    published(tmp_path / "r", "m", ONE, TWO, THREE, aliases={"champion": 1, "challenger": 2})
    routes = load(tmp_path / "r")
    assert [1, 2] == routes.numbers("m")
    assert (1, 1, 2, 2) == tuple(routes.resolve("m", version).number for version in ("", "champion", "challenger", "2"))
    assert "NOT_FOUND: Request for unknown model: 'm' version 3 is not found" == refusal(routes, "m", "3")
    assert [[10.0, 20.0]] == routes.resolve("m", "champion").model.run([np.array([[10, 20]], np.float32)])[0].tolist()


def test_a_model_that_nobody_decided_about_exists_and_serves_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log says what to do."""
    published(tmp_path / "r", "m", ONE)
    with caplog.at_level(logging.WARNING):
        routes = load(tmp_path / "r")
    assert ({}, {"m": False}) == (routes.versions, routes.readiness())
    assert "UNAVAILABLE: model 'm' serves no version: no alias stands for one" == refusal(routes, "m")
    advice = f"tidegate alias m champion N --registry {tmp_path / 'r'}, or set models.m.versions"
    assert [f"model 'm' serves no version: no alias stands for one; {advice}"] == caplog.messages


@pytest.mark.parametrize(
    ("versions", "served", "default"),
    [
        (Versions(latest=1), [3], 3),
        (Versions(latest=2), [2, 3], 2),
        (Versions(specific=(1, 3)), [1, 3], 3),
        (Versions(all=True), [1, 2, 3], 2),
        (Versions(aliases=("champion",)), [2], 2),
    ],
)
def test_the_settings_choose_and_the_champion_still_answers(tmp_path: Path, versions: Versions, served: list[int], default: int) -> None:
    """Among numbers that were chosen, the highest answers only where the champion is not among them."""
    published(tmp_path / "r", "m", ONE, TWO, THREE, aliases={"champion": 2, "challenger": 1})
    routes = load(tmp_path / "r", m=ModelSettings(versions=versions))
    assert (served, default) == (routes.numbers("m"), routes.resolve("m", "").number)


def test_without_a_champion_a_request_must_say_what_it_means(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Also where the only alias is another one; an alias that is chosen and not there is in the log."""
    published(tmp_path / "r", "m", ONE, aliases={"challenger": 1})
    with caplog.at_level(logging.WARNING):
        routes = load(tmp_path / "r", m=ModelSettings(versions=Versions(aliases=("challenger", "champion"))))
    assert "UNAVAILABLE: model 'm' has no champion: name a version or alias" == refusal(routes, "m")
    assert (1, ["model 'm' has no alias 'champion', which the settings choose"]) == (
        routes.resolve("m", "challenger").number, caplog.messages,
    )  # fmt: skip


def test_a_champion_that_cannot_be_loaded_is_not_replaced(tmp_path: Path) -> None:
    """Its neighbour serves those who name it."""
    store = published(tmp_path / "r", "m", ONE, TWO, aliases={"champion": 2, "challenger": 1})
    damage(store, store.manifest("m", 2).model.digest)
    for settings in (ModelSettings(), ModelSettings(versions=Versions(all=True))):
        routes = load(tmp_path / "r", m=settings)
        text = "UNAVAILABLE: Request for unknown model: 'm' alias champion stands for version 2, which is not at ready state"
        assert (text, text, False) == (refusal(routes, "m"), refusal(routes, "m", "champion"), routes.readiness()["m"])
        assert 1 == routes.resolve("m", "challenger").number


def test_a_broken_log_leaves_numbers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What an alias stands for is not guessed at; versions that the settings choose by number serve."""
    published(tmp_path / "r", "m", ONE, TWO, aliases={"champion": 1})
    for path in (tmp_path / "r/models/m/head.json", tmp_path / "r/models/m/log/00000002.json"):
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-3])
    with caplog.at_level(logging.WARNING):
        routes = load(tmp_path / "r")
    assert "UNAVAILABLE: model 'm' serves no version: no alias stands for one" == refusal(routes, "m")
    assert [line for line in caplog.messages if line.startswith("models/m/log/00000002.json")]
    assert [2] == load(tmp_path / "r", m=ModelSettings(versions=Versions(specific=(2,)))).numbers("m")


# --- what a version says of itself ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "own", "rows", "delay_s"),
    [
        ({}, {}, 64, 1e-3),
        ({"max_batch_size": 8, "max_queue_delay_ms": 2.5}, {}, 8, 2.5e-3),
        ({"max_queue_delay_ms": 0.0}, {}, 64, 0.0),
        ({"batching": False}, {}, 0, 1e-3),
        ({"batching": False, "max_batch_size": 8}, {}, 0, 1e-3),
        ({"max_batch_size": 8, "max_queue_delay_ms": 2.5}, {"max_batch_size": 4, "max_queue_delay_ms": 0.0}, 4, 0.0),
        ({"batching": False}, {"max_batch_size": 4}, 4, 1e-3),
        ({"max_batch_size": 1 << 30}, {"max_batch_size": 4}, 4, 1e-3),
        ({"instances": 1}, {}, 64, 1e-3),
        ({"instances": 4}, {"instances": 1}, 64, 1e-3),
    ],
)
def test_a_version_says_how_it_is_served(tmp_path: Path, said: dict[str, Any], own: dict[str, Any], rows: int, delay_s: float) -> None:
    """Above the general settings, below those of its model."""
    published(tmp_path / "r", "m", ONE, aliases={"champion": 1}, parts=Parts(serving=Serving(format=1, **said)))
    routes = load(tmp_path / "r", batching=Batching(max_batch_size=64, max_queue_delay_ms=1.0), m=ModelSettings(**own))
    version = routes.resolve("m", "")
    assert (rows, delay_s) == (version.signature.max_batch_size, version.max_delay_s)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"instances": 65}, "instances 65, and this server has at most 64: set models.m.instances"),
        ({"max_batch_size": 1 << 30}, "max_batch_size 1073741824, and this server has at most 1048576: set models.m.max_batch_size"),
        ({"max_queue_delay_ms": 1e6}, "max_queue_delay_ms 1000000.0, and this server has at most 60000: set models.m.max_queue_delay_ms"),
    ],
)
def test_what_a_version_asks_for_in_vain_fails_it(tmp_path: Path, said: dict[str, Any], text: str) -> None:
    """Nothing is passed over; the reason says which setting decides instead."""
    published(tmp_path / "r", "m", ONE, aliases={"champion": 1}, parts=Parts(serving=Serving(format=1, **said)))
    assert {("m", 1): f"its serving.json asks for {text}"} == load(tmp_path / "r").failed


@pytest.mark.parametrize(
    ("said", "own", "why"),
    [
        (
            {"provider_options": ProviderOptions(cuda=CudaOptions(device=1))}, {},
            "something is set of provider 'cuda', which is not among its providers: cpu",
        ),
        (
            {"providers": ("openvino",)}, {"provider_options": ProviderOptions(cuda=CudaOptions(device=1))},
            "something is set of provider 'cuda', which is not among its providers: openvino",
        ),
        (
            {"instances": 2}, {"isolation": "process"},
            "a model in a process of its own runs once at a time: set models.m.instances to 1",
        ),
        ({"providers": ("cuda",)}, {}, "provider 'cuda' is not in this installation of ONNX Runtime, which has cpu"),
        ({"providers": ("cuda",)}, {"isolation": "process"}, "provider 'cuda' is not in this installation of ONNX Runtime, which has cpu"),
    ],
)  # fmt: skip
def test_what_a_version_says_of_providers_is_done_or_fails_it(tmp_path: Path, said: dict, own: dict, why: str) -> None:
    """By name; the settings of its model decide otherwise."""
    published(tmp_path / "r", "m", ONE, aliases={"champion": 1}, parts=Parts(serving=Serving(format=1, **said)))
    assert {("m", 1): why} == load(tmp_path / "r", m=ModelSettings(**own)).failed
    assert {} == load(tmp_path / "r", m=ModelSettings(providers=("cpu",), instances=1)).failed


def test_an_isolated_model_tells_where_it_runs(tmp_path: Path) -> None:
    """Its process has chosen, and says what it missed."""
    published(tmp_path / "r", "m", ONE, aliases={"champion": 1})
    routes = load(tmp_path / "r", m=ModelSettings(providers=("cuda", "cpu"), isolation="process"))
    version = routes.resolve("m", "")
    placement = version.description.placement
    version.end()
    assert ("cpu", ["cuda"]) == (placement.provider, [provider for provider, _ in placement.missed])


def test_an_isolated_model_that_answers_its_golden_requests_otherwise_leaves_no_process(tmp_path: Path) -> None:
    """Nobody else knows of it."""
    published(tmp_path / "r", "m", TWO, aliases={"champion": 1}, parts=golden(3.0))
    config = Config(repository=Repository(path=tmp_path / "r"), models={"m": ModelSettings(isolation="process")})
    start = Starter()
    loader = Loader(config, lambda version, item, code: None, SystemClock.now, start)
    with pytest.raises(ModelFault, match="golden request 1 is answered otherwise"):
        loader.load(open_repository(config.repository).ref("m", 1), lambda state: None)
    (process,) = start.started
    assert process.status is not None


def test_a_damaged_part_fails_its_version_alone(tmp_path: Path) -> None:
    """Named by its key."""
    store = published(tmp_path / "r", "m", ONE, aliases={"champion": 1}, parts=Parts(serving=Serving(format=1, max_batch_size=8)))
    published(tmp_path / "r", "m", TWO, aliases={"challenger": 2})
    (part,) = (layer for layer in store.manifest("m", 1).parts if layer.title == "serving.json")
    damage(store, part.digest)
    routes = load(tmp_path / "r")
    assert {("m", 1): f"{blob_key(part.digest)} does not hold what its name says"} == routes.failed
    assert [2] == routes.numbers("m")


def test_sizes_that_the_author_fixed_are_those_of_the_signature(tmp_path: Path) -> None:
    """Where the graph leaves them free; what it fixes stays."""
    file = contract_file({"inputs": {"a": {"shape": [-1, 3]}}, "outputs": {"y": {"shape": [None, 3]}}})
    published(tmp_path / "r", "m", graphs.product(), aliases={"champion": 1}, parts=Parts(contract=file))
    signature = load(tmp_path / "r").resolve("m", "").signature
    shapes = {spec.name: spec.shape for spec in (*signature.inputs, *signature.outputs)}
    assert {"a": (-1, 3), "b": (-1, -1), "y": (-1, 3)} == shapes


def test_a_first_dimension_that_the_author_fixed_is_no_batch(tmp_path: Path) -> None:
    """A request is then exactly so many rows."""
    file = contract_file({"inputs": {"x": {"shape": [4, 2]}}})
    published(tmp_path / "r", "m", ONE, aliases={"champion": 1}, parts=Parts(contract=file))
    signature = load(tmp_path / "r").resolve("m", "").signature
    assert ((4, 2), 0) == (signature.inputs[0].shape, signature.max_batch_size)


# --- keys --------------------------------------------------------------------------------------------------------------------------


def test_signatures_that_the_policy_asks_for_are_checked_with_the_keys_of_the_settings(tmp_path: Path) -> None:
    """With the key it loads, without one or with another it fails with the reason."""
    store = published(tmp_path / "r", "m", ONE, aliases={"champion": 1})
    ours, other = generate(), generate()
    files = {name: tmp_path / f"{name}.pem" for name in ("ours", "other")}
    files["ours"].write_bytes(ours.public.pem())
    files["other"].write_bytes(other.public.pem())
    digest = store.record("m", 1).manifest
    attach(store.medium, digest, sign(store.read_blob(digest), ours))
    (tmp_path / "r" / "policy.yaml").write_text(f'format: 2\nload: {{require_signatures: ["{ours.public.key_id}"]}}\n')
    assert [1] == load(tmp_path / "r", keys=(files["other"], files["ours"])).numbers("m")
    without, wrong = load(tmp_path / "r").failed["m", 1], load(tmp_path / "r", keys=(files["other"],)).failed["m", 1]
    assert "the policy asks for signatures, and no keys to check them with were given" == without
    assert f"the signature of key '{ours.public.key_id}' is missing" == wrong
    with pytest.raises(RegistryError, match=r"none\.pem"):
        open_repository(Repository(path=tmp_path / "r", keys=(tmp_path / "none.pem",)))


def test_what_a_version_says_of_itself_is_told(tmp_path: Path) -> None:
    """Its parameters, whether its requests are joined; its session is set up as it says, unless its model's settings say otherwise."""
    said = Serving(format=1, dynamic_batching=False, max_queue_delay_ms=3.0, intra_op_threads=2, parameters={"owner": "ann"})
    published(tmp_path / "r", "m", ONE, aliases={"champion": 1}, parts=Parts(serving=said))
    version = load(tmp_path / "r").resolve("m", "")
    assert ({"owner": "ann"}, None, False, 0.0) == (
        version.description.parameters, version.description.configuration, version.joins, version.max_delay_s,
    )  # fmt: skip
    own = load(tmp_path / "r", m=ModelSettings(dynamic_batching=True, intra_op_threads=1)).resolve("m", "")
    assert (True, 3e-3) == (own.joins, own.max_delay_s)
    assert [2, 1] == [one.model._session.get_session_options().intra_op_num_threads for one in (version, own)]  # type: ignore[attr-defined]
