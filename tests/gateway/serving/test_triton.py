"""A Triton-style repository served as it is: every honoured field of `config.pbtxt` has its effect, and what is refused does not serve.

Models are loaded here and now, by ONNX Runtime itself; which fields there are is held against `registry/triton_fields.py`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from gateway.config import Batching, Config, ModelSettings, Repository, Versions
from gateway.serving import loading
from gateway.serving.index import entries
from gateway.serving.model import Model
from gateway.serving.routing import Routes
from gateway.serving.sources import open_repository, wish
from gateway.serving.versions import Version
from registry.pb import model_config_pb2 as pb
from registry.queueing import Queueing, QueuePolicy
from registry.trials import TrialChild, Verdict
from registry.triton_fields import HONOURED, REFUSED
from tests.gateway.serving import graphs
from tests.gateway.serving.served import served

X = 'input [ { name: "x" data_type: TYPE_FP32 dims: [ 2 ] } ]'
Y = 'output [ { name: "y" data_type: TYPE_FP32 dims: [ 2 ] } ]'
ROWS = f"max_batch_size: 8 {X} {Y}"
ROW = np.array([[1, 2]], np.float32)


def place(root: Path, config: str | None = None, *protos: onnx.ModelProto, model: str = "m", file: str = "model.onnx") -> Path:
    """A model with these versions, or one that multiplies by its number, and its config.pbtxt."""
    for number, proto in enumerate(protos or (graphs.twice(weight=1.0),), 1):
        graphs.saved(root / model / str(number) / file, proto)
    if config is not None:
        (root / model / "config.pbtxt").write_text(config)
    return root


def load(root: Path, batching: Batching | None = None, **models: ModelSettings) -> Routes:
    return served(Config(repository=Repository(path=root), models=models, batching=batching or Batching()))


def serving(root: Path, config: str, *protos: onnx.ModelProto, own: ModelSettings | None = None, **options: Any) -> Version:
    """The version that answers, with this config.pbtxt."""
    routes = load(place(root, config, *protos, **options), m=own or ModelSettings())
    assert {} == routes.failed
    return routes.resolve("m", "")


def reason(root: Path, config: str, *protos: onnx.ModelProto, **models: ModelSettings) -> str:
    """Why the model does not serve; its neighbour does, and the index says both."""
    place(root, None, model="neighbour")
    routes = load(place(root, config, *protos), **models)
    ((key, why),) = routes.failed.items()
    assert ("m", [1]) == (key[0], routes.numbers("neighbour"))
    listed = {(entry.name, entry.state): entry.reason for entry in entries(routes)}
    assert {("m", "UNAVAILABLE"): why, ("neighbour", "READY"): ""} == listed
    return why


def said(version: Version) -> Any:
    """What is kept of the file for those who ask."""
    return pb.ModelConfig.FromString(version.description.configuration or b"")


def ask(version: Version, *arrays: np.ndarray) -> list[list]:
    return [output.tolist() for output in version.model.run(list(arrays))]


# --- queues --------------------------------------------------------------------------------------------------------------------------

QUEUE = "timeout_action: DELAY default_timeout_microseconds: 9 allow_timeout_override: true max_queue_size: 5"
QUEUES = f"default_queue_policy {{ {QUEUE} }} priority_queue_policy {{ key: 1 value {{ {QUEUE} }} }}"
QUEUES = f"max_batch_size: 8 {X} {Y} dynamic_batching {{ priority_levels: 2 default_priority_level: 2 {QUEUES} }}"
POLICIES = ("default_queue_policy", "priority_queue_policy")
POLICY_FIELDS = ("timeout_action", "default_timeout_microseconds", "allow_timeout_override", "max_queue_size")
DELAYING = QueuePolicy(timeout_action="delay", default_timeout_us=9, allow_timeout_override=True, max_queue_size=5)


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (
            None,
            Queueing(
                priority_levels=2,
                default_priority_level=2,
                default_queue_policy=DELAYING,
                priority_queue_policy={"1": DELAYING},
            ),
        ),
        (Queueing(), Queueing()),
    ],
)
def test_how_requests_wait(tmp_path: Path, own: Queueing | None, expected: Queueing) -> None:
    """Levels and policies reach the version; what they do there is in test_queueing. The model's settings here win."""
    assert expected == serving(tmp_path, QUEUES, own=ModelSettings(queue=own)).queueing


# --- name, kind, file ----------------------------------------------------------------------------------------------------------------


def test_a_model_is_the_one_that_its_file_is_of(tmp_path: Path) -> None:
    """name, platform and backend agree, or it does not serve."""
    whole = 'name: "m" platform: "onnxruntime_onnx" backend: "onnxruntime"'
    assert [ROW.tolist()] == ask(serving(tmp_path, whole), ROW)
    assert "m/config.pbtxt is of a model 'n'" == reason(tmp_path, 'name: "n"')
    assert "m/config.pbtxt is not of an ONNX model, but of 'python'" == reason(tmp_path, 'backend: "python"')
    assert "m/config.pbtxt is not of an ONNX model, but of 'tensorrt_plan'" == reason(tmp_path, 'platform: "tensorrt_plan"')


def test_a_model_may_lie_in_another_file(tmp_path: Path) -> None:
    """default_model_filename."""
    version = serving(tmp_path, 'default_model_filename: "net.onnx"', graphs.twice(weight=3.0), file="net.onnx")
    assert [[[3.0, 6.0]]] == ask(version, ROW)
    assert "net.onnx" == said(version).default_model_filename


# --- rows ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "own", "rows", "joins"),
    [
        (f"max_batch_size: 4 dynamic_batching {{}} {X} {Y}", {}, 4, True),
        (f"max_batch_size: 4 {X} {Y}", {}, 4, False),
        (f"max_batch_size: 4 {X} {Y}", {"dynamic_batching": True, "max_batch_size": 2}, 2, True),
        (f"max_batch_size: 4 dynamic_batching {{}} {X} {Y}", {"dynamic_batching": False}, 4, False),
        ('input [ { name: "x" dims: [ -1, 2 ] } ] output [ { name: "y" } ]', {}, 0, False),
        ('max_batch_size: 0 input [ { name: "x" dims: [ -1, 2 ] } ]', {"max_batch_size": 16}, 16, False),
        ("max_batch_size: 0", {}, 0, True),
        ("max_batch_size: 4", {}, 4, True),
        ("", {}, 64, True),
        ('name: "m"', {"max_batch_size": 2}, 2, True),
    ],
)
def test_rows_of_a_run(tmp_path: Path, config: str, own: dict[str, Any], rows: int, joins: bool) -> None:
    """max_batch_size and dynamic_batching: the model's settings here win, then the file, then the general ones.

    What lists its inputs or outputs is taken word for word; what lists none is completed from the graph, as Triton does.
    """
    routes = load(place(tmp_path, config), Batching(max_batch_size=64), m=ModelSettings(**own))
    version = routes.resolve("m", "")
    assert (rows, joins) == (version.signature.max_batch_size, version.joins)


@pytest.mark.parametrize(
    ("config", "own", "delay_s"),
    [
        ("dynamic_batching { max_queue_delay_microseconds: 1500 }", {}, 1.5e-3),
        ("dynamic_batching { max_queue_delay_microseconds: 0 }", {}, 0.0),
        ("dynamic_batching {}", {}, 4e-3),
        ("dynamic_batching { max_queue_delay_microseconds: 1500 }", {"max_queue_delay_ms": 2.0}, 2e-3),
        (ROWS, {}, 0.0),
    ],
)
def test_waiting_for_more_rows(tmp_path: Path, config: str, own: dict[str, Any], delay_s: float) -> None:
    """max_queue_delay_microseconds, of which 0 is something else than silence; where nothing is joined there is nothing to wait for."""
    routes = load(place(tmp_path, config), Batching(max_queue_delay_ms=4.0), m=ModelSettings(**own))
    assert delay_s == routes.resolve("m", "").max_delay_s


@pytest.mark.parametrize("config", ["max_batch_size: 4", f"max_batch_size: 4 {X} {Y}"])
def test_rows_need_a_free_first_dimension(tmp_path: Path, config: str) -> None:
    """As Triton has it: a max_batch_size above 0 is a promise of the graph."""
    expected = "config.pbtxt has a max_batch_size above 0, and the first dimension of 'x', [1,2], is not free"
    assert expected == reason(tmp_path, config, graphs.twice(batch=1))


def test_what_a_file_asks_too_much_of(tmp_path: Path) -> None:
    """The reason names field and setting, and the setting decides."""
    for config, own, text in (
        ("instance_group { count: 65 }", "instances", "(instance_group.count) asks for instances 65, and this server has at most 64"),
        (
            "max_batch_size: 9999999", "max_batch_size",
            "(max_batch_size) asks for max_batch_size 9999999, and this server has at most 1048576",
        ),
        (
            "dynamic_batching { max_queue_delay_microseconds: 99000000 }", "max_queue_delay_ms",
            "(dynamic_batching.max_queue_delay_microseconds) asks for max_queue_delay_ms 99000.0, and this server has at most 60000",
        ),
    ):  # fmt: skip
        assert f"its config.pbtxt {text}: set models.m.{own}" == reason(tmp_path, config)
        assert {} == load(tmp_path, m=ModelSettings(**{own: 1})).failed  # type: ignore[arg-type]


# --- which versions ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "own", "numbers"),
    [
        ("", {}, [3]), ("version_policy { latest {} }", {}, [3]), ("version_policy { latest { num_versions: 2 } }", {}, [2, 3]),
        ("version_policy { all {} }", {}, [1, 2, 3]), ("version_policy { specific { versions: [ 1, 3 ] } }", {}, [1, 3]),
        ("version_policy { all {} }", {"versions": Versions(specific=(2,))}, [2]),
    ],
)  # fmt: skip
def test_versions_by_their_policy(tmp_path: Path, config: str, own: dict[str, Any], numbers: list[int]) -> None:
    """The settings of the model win."""
    protos = [graphs.twice(weight=float(number)) for number in (1, 2, 3)]
    assert numbers == load(place(tmp_path, config, *protos), m=ModelSettings(**own)).numbers("m")


def test_versions_that_are_not_there_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The others serve; where there is none, the index says why."""
    with caplog.at_level(logging.WARNING):
        assert [1] == load(place(tmp_path, "version_policy { specific { versions: [ 1, 7 ] } }")).numbers("m")
    assert ["model 'm' has no version 7, which its config.pbtxt chooses"] == caplog.messages
    routes = load(place(tmp_path, "version_policy { specific { versions: [ 7 ] } }"))
    assert {"m": "none of the chosen versions is there"} == routes.idle


# --- inputs and outputs ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ('input { name: "q" }', "config.pbtxt lists inputs without 'x', which the model needs"),
        (f'output {{ name: "q" }} {X.replace("[ 2 ]", "[ -1, 2 ]")}', "config.pbtxt lists output 'q', which the model does not have"),
        ('input [ { name: "x" }, { name: "q" } ]', "config.pbtxt lists input 'q', which the model does not have"),
        ('input { name: "x" data_type: TYPE_INT64 }', "input 'x' is tensor(float) in the model and INT64 in config.pbtxt"),
        ('input { name: "x" dims: [ -1, 3 ] }', "input 'x' has shape [n, 2] in the model and [-1, 3] in config.pbtxt"),
        ('input { name: "x" dims: [ 2 ] }', "input 'x' has shape [n, 2] in the model and [2] in config.pbtxt"),
        ('max_batch_size: 2 output { name: "y" dims: [ -1, 2 ] }', "output 'y' has shape [n, 2] in the model and [-1, -1, 2] in"),
        ('output { name: "y" data_type: TYPE_FP16 }', "output 'y' is tensor(float) in the model and FP16 in config.pbtxt"),
        ('input { name: "x" dims: [ -1, 2, 1 ] reshape { shape: [ -1, 1, 2 ] } }', "input 'x' has shape [n, 2] in the model and "),
    ],
)
def test_ports_are_held_against_the_graph(tmp_path: Path, config: str, text: str) -> None:
    """Names, types and dims; with a reshape, the shape behind it."""
    assert reason(tmp_path, config).startswith(text)


def test_sizes_that_the_graph_leaves_free_are_fixed(tmp_path: Path) -> None:
    """And shown; the batch stays free."""
    config = 'max_batch_size: 4 input [ { name: "a" dims: [ 3 ] }, { name: "b" dims: [ -1 ] } ] output { name: "y" dims: [ 3 ] }'
    proto = graphs.graph(
        [graphs.helper.make_node("Add", ["a", "b"], ["y"])], [graphs.value("a", 1, "n", "k"), graphs.value("b", 1, "n", "k")],
        [graphs.value("y", 1, "n", "k")],
    )  # fmt: skip
    signature = serving(tmp_path, config, proto).signature
    shapes = {spec.name: spec.shape for spec in (*signature.inputs, *signature.outputs)}
    assert {"a": (-1, 3), "b": (-1, -1), "y": (-1, 3)} == shapes


def two_outputs() -> onnx.ModelProto:
    """y = x + x, z = x * x."""
    nodes = [graphs.helper.make_node(op, ["x", "x"], [name]) for op, name in (("Add", "y"), ("Mul", "z"))]
    return graphs.graph(nodes, [graphs.value("x", 1, "n", 2)], [graphs.value("y", 1, "n", 2), graphs.value("z", 1, "n", 2)])


def test_only_outputs_that_are_listed_are_given(tmp_path: Path) -> None:
    """In their order."""
    version = serving(tmp_path, f'max_batch_size: 8 {X} output [ {{ name: "z" }} ]', two_outputs())
    assert (["z"], [[[1.0, 4.0]]]) == ([spec.name for spec in version.signature.outputs], ask(version, ROW))
    both = serving(tmp_path, f'max_batch_size: 8 {X} output [ {{ name: "z" }}, {{ name: "y" }} ]', two_outputs())
    assert [[[1.0, 4.0]], [[2.0, 4.0]]] == ask(both, ROW)


RESHAPED = """max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 format: FORMAT_NCHW dims: [ 1, 2, 1 ] reshape { shape: [ 2 ] } } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 1, 2 ] reshape { shape: [ 2 ] } label_filename: "labels.txt" } ]"""


@pytest.mark.parametrize("isolation", ["none", "process"])
def test_callers_may_see_other_shapes_than_the_graph(tmp_path: Path, isolation: Any) -> None:
    """reshape, with the batch in front; also where the model runs in a process of its own."""
    version = serving(tmp_path, RESHAPED, graphs.twice(), own=ModelSettings(isolation=isolation))
    try:
        assert ((-1, 1, 2, 1), (-1, 1, 2), 8) == (
            version.signature.inputs[0].shape, version.signature.outputs[0].shape, version.signature.max_batch_size
        )  # fmt: skip
        rows = np.arange(6, dtype=np.float32).reshape(3, 1, 2, 1)
        assert [(rows * 2).reshape(3, 1, 2).tolist()] == ask(version, rows)
    finally:
        version.end()


def test_a_graph_may_have_a_first_dimension_of_one(tmp_path: Path) -> None:
    """As exported image models have it: without a batch, callers leave it out, and answers come without it."""
    port = '{{ name: "{}" dims: [ 2 ] reshape {{ shape: [ 1, 2 ] }} }}'
    config = f"max_batch_size: 0 input [ {port.format('x')} ] output [ {port.format('y')} ]"
    version = serving(tmp_path, config, graphs.twice(batch=1))
    assert (0, (2,), [[2.0, 4.0]]) == (version.signature.max_batch_size, version.signature.inputs[0].shape, ask(version, ROW[0]))


def test_a_scalar_may_be_seen_as_one_value(tmp_path: Path) -> None:
    """Triton has no empty dims: a model of rows without features takes [ 1 ], reshaped to nothing."""
    proto = graphs.graph([graphs.helper.make_node("Neg", ["x"], ["y"])], [graphs.value("x", 1, "n")], [graphs.value("y", 1, "n")])
    port = '{{ name: "{}" data_type: TYPE_FP32 dims: [ 1 ] reshape {{ }} }}'
    version = serving(tmp_path, f"max_batch_size: 8 input [ {port.format('x')} ] output [ {port.format('y')} ]", proto)
    assert [[[-1.0], [-2.0]]] == ask(version, np.array([[1], [2]], np.float32))


def test_one_value_may_be_a_scalar_of_the_graph(tmp_path: Path) -> None:
    """Without a batch, Triton writes [ 1 ] for a tensor without dimensions; callers and warm-ups send that."""
    proto = graphs.graph([graphs.helper.make_node("Neg", ["x"], ["y"])], [graphs.value("x", 1)], [graphs.value("y", 1)])
    port = '{{ name: "{}" data_type: TYPE_FP32 dims: [ 1 ] }}'
    warm = 'model_warmup { name: "w" batch_size: 1 inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 1 ] zero_data: true } } }'
    version = serving(tmp_path, f"input [ {port.format('x')} ] output [ {port.format('y')} ] {warm}", proto)
    assert ((1,), [[-2.0]]) == (version.signature.inputs[0].shape, ask(version, np.array([2], np.float32)))
    with open_repository(Repository(path=tmp_path)).ref("m", 1).open() as verified, TrialChild() as child:
        assert Verdict.PASSED is child.tried(verified).verdict


def test_a_graph_that_does_not_give_what_is_reshaped_fails_the_run(tmp_path: Path) -> None:
    """An output whose size only a run shows."""
    node, inputs = graphs.helper.make_node("Compress", ["x", "which"], ["y"], axis=1), [graphs.value("x", 1, "n", 2)]
    proto = graphs.graph([node], inputs, [graphs.value("y", 1, "n", "k")], which=np.array([True, False]))
    config = f'max_batch_size: 8 {X} output {{ name: "y" dims: [ 1, 3 ] reshape {{ shape: [ 3 ] }} }}'
    with pytest.raises(Exception, match=r"returned an output that is not of the shape from which config\.pbtxt reshapes it"):
        serving(tmp_path, config, proto).model.run([ROW])


def test_formats_and_labels_are_kept_for_those_who_ask(tmp_path: Path) -> None:
    """Nothing else depends on them; that labels are not used is said."""
    port = said(serving(tmp_path, RESHAPED))
    assert (pb.ModelInput.FORMAT_NCHW, "labels.txt") == (port.input[0].format, port.output[0].label_filename)
    config = Config(repository=Repository(path=tmp_path))
    (note,) = wish(config, open_repository(config.repository).listing()).notes
    assert note.startswith("m/config.pbtxt sets 'output.label_filename', for which nothing is done: labels belong to the classification")


def test_preferred_sizes_change_nothing(tmp_path: Path) -> None:
    """Batches are what arrived together; that is said."""
    version = serving(tmp_path, "max_batch_size: 8 dynamic_batching { preferred_batch_size: [ 4, 8 ] }")
    assert (8, [4, 8]) == (version.batch_limit(((2,),)), list(said(version).dynamic_batching.preferred_batch_size))
    config = Config(repository=Repository(path=tmp_path))
    (note,) = wish(config, open_repository(config.repository).listing()).notes
    assert note.endswith("for which nothing is done: a batch is what arrived together, of whatever size")


# --- sessions ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "own", "expected"),
    [
        ("", {}, (1, 1, "ORT_SEQUENTIAL", "ORT_ENABLE_ALL")),
        ("optimization { graph { level: -1 } }", {}, (1, 1, "ORT_SEQUENTIAL", "ORT_ENABLE_BASIC")),
        ("optimization { graph { level: 1 } }", {}, (1, 1, "ORT_SEQUENTIAL", "ORT_ENABLE_EXTENDED")),
        ("optimization { graph { level: 2 } }", {}, (1, 1, "ORT_SEQUENTIAL", "ORT_DISABLE_ALL")),
        ('parameters { key: "intra_op_thread_count" value { string_value: "2" } }', {}, (2, 1, "ORT_SEQUENTIAL", "ORT_ENABLE_ALL")),
        (
            'parameters { key: "intra_op_thread_count" value { string_value: "2" } }', {"intra_op_threads": 3},
            (3, 1, "ORT_SEQUENTIAL", "ORT_ENABLE_ALL"),
        ),
        (
            'parameters { key: "inter_op_thread_count" value { string_value: "2" } }'
            'parameters { key: "execution_mode" value { string_value: "1" } }', {}, (1, 2, "ORT_PARALLEL", "ORT_ENABLE_ALL"),
        ),
    ],
)  # fmt: skip
def test_a_session_is_set_up_as_the_file_says(tmp_path: Path, config: str, own: dict[str, Any], expected: tuple) -> None:
    """optimization.graph.level, and the parameters that Triton's ONNX Runtime backend reads."""
    version = serving(tmp_path, config, own=ModelSettings(**own))
    assert isinstance(version.model, Model)
    options = version.model._session.get_session_options()
    found = options.intra_op_num_threads, options.inter_op_num_threads, options.execution_mode.name, options.graph_optimization_level.name
    assert expected == found
    assert [ROW.tolist()] == ask(version, ROW)


def test_other_parameters_are_the_models_own(tmp_path: Path) -> None:
    """Kept; those of the session are in the file as it was said."""
    config = 'parameters { key: "owner" value { string_value: "ann" } } parameters { key: "execution_mode" value { string_value: "0" } }'
    version = serving(tmp_path, config)
    assert {"owner": "ann"} == version.description.parameters
    assert {"owner", "execution_mode"} == set(said(version).parameters)


def test_one_instance_on_the_processor(tmp_path: Path) -> None:
    """instance_group: its name is kept, other kinds are refused."""
    version = serving(tmp_path, 'instance_group [ { name: "g" count: 1 kind: KIND_CPU rate_limiter {} } ]')
    assert "g" == said(version).instance_group[0].name
    serving(tmp_path, "instance_group [ { kind: KIND_AUTO } ]")
    assert 1 == serving(tmp_path, "instance_group [ { count: 3 } ]").instances  # of one core


@pytest.mark.parametrize(
    ("config", "provider"),
    [
        ("instance_group [ { kind: KIND_GPU gpus: [ 1 ] } ]", "cuda"),
        ('instance_group [ { kind: KIND_GPU } ] optimization { execution_accelerators { gpu_execution_accelerator [ { name: "cuda" '
         'parameters { key: "use_tf32" value: "0" } } ] } }', "cuda"),
        ('optimization { execution_accelerators { cpu_execution_accelerator [ { name: "openvino" } ] } }', "openvino"),
    ],
)  # fmt: skip
def test_a_provider_that_is_not_here_fails_the_version_by_name(tmp_path: Path, config: str, provider: str) -> None:
    """Unless the server's own settings say where else it runs."""
    expected = f"provider '{provider}' is not in this installation of ONNX Runtime, which has cpu"
    assert expected == reason(tmp_path, config)
    routes = load(tmp_path, m=ModelSettings(providers=(provider, "cpu")))
    placement = routes.resolve("m", "").description.placement
    assert ("cpu", ((provider, "it is not in this installation of ONNX Runtime"),)) == (placement.provider, placement.missed)
    placement = load(tmp_path, m=ModelSettings(providers=("cpu",))).resolve("m", "").description.placement
    assert ("cpu", ()) == (placement.provider, placement.missed)


# --- warm-up -------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[np.ndarray]]:
    """The inputs of every run that a warm-up asks for."""
    found: list[list[np.ndarray]] = []
    real = loading.warm_up

    def recorded(model: Any, samples: Any) -> None:
        run = model.run
        model.run = lambda arrays: (found.append(list(arrays)), run(arrays))
        real(model, samples)
        model.run = run

    monkeypatch.setattr(loading, "warm_up", recorded)
    return found


def warmup(values: str, **fields: int) -> str:
    numbers = " ".join(f"{name}: {value}" for name, value in fields.items())
    filling = f'inputs {{ key: "x" value {{ data_type: TYPE_FP32 dims: [ 2 ] {values} }} }}'
    return f'{ROWS} model_warmup [ {{ name: "w" {numbers} {filling} }} ]'


@pytest.mark.parametrize(
    ("values", "fields", "expected"),
    [
        ("zero_data: true", {"batch_size": 1}, [[[0.0, 0.0]]]),
        ("zero_data: true", {"batch_size": 3, "count": 2}, [[[0.0, 0.0]] * 3] * 2),
        ('input_data_file: "row"', {"batch_size": 2}, [[[0.5, -1.0]] * 2]),
        ("zero_data: true", {}, []),
    ],
)
def test_a_version_is_warmed_up_before_it_serves(
    tmp_path: Path, asked: list[list[np.ndarray]], values: str, fields: dict[str, int], expected: list
) -> None:
    """With zeros or a file's data, for all rows of a batch alike, as often as is said."""
    (tmp_path / "m" / "warmup").mkdir(parents=True)
    (tmp_path / "m" / "warmup" / "row").write_bytes(np.array([0.5, -1], "<f4").tobytes())
    serving(tmp_path, warmup(values, **fields))
    assert expected == [arrays[0].tolist() for arrays in asked]


def test_random_values_are_the_same_each_time(tmp_path: Path, asked: list[list[np.ndarray]]) -> None:
    """So a version that loads here loads everywhere."""
    config = warmup("random_data: true", batch_size=1)
    for _ in range(2):
        serving(tmp_path, config)
    first, second = (arrays[0] for arrays in asked)
    assert ((1, 2), True) == (first.shape, bool((first > 0).all()))
    assert first.tolist() == second.tolist()


def test_a_sample_without_ports_fits_the_graph(tmp_path: Path, asked: list[list[np.ndarray]]) -> None:
    """Where nothing says whether there is a batch, the graph does."""
    serving(tmp_path, warmup("zero_data: true", batch_size=2).removeprefix(ROWS))
    assert [(2, 2)] == [arrays[0].shape for arrays in asked]


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (warmup("zero_data: true", batch_size=1).replace('key: "x"', 'key: "q"'), "warm-up sample 'w' does not have the model's inputs"),
        (
            warmup("zero_data: true", batch_size=1).replace("dims: [ 2 ] zero", "dims: [ 3 ] zero"),
            "warm-up sample 'w' fails: input 'x' has shape [-1,2], the sample has [1,3]",
        ),
        (
            warmup("zero_data: true", batch_size=1).replace("TYPE_FP32 dims: [ 2 ] zero", "TYPE_FP64 dims: [ 2 ] zero"),
            "warm-up sample 'w' fails: input 'x' is FP32, the sample has FP64",
        ),
        (warmup('input_data_file: "none"', batch_size=1), "m/warmup/none cannot be read: warmup is no directory, or a symbolic link"),
    ],
)
def test_a_warm_up_that_cannot_be_asked_fails_its_version(tmp_path: Path, config: str, text: str) -> None:
    """By the name of the sample."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "warmup").write_bytes(b"")
    assert text == reason(tmp_path, config)


def test_a_warm_up_that_fails_fails_its_version(tmp_path: Path) -> None:
    """With what the model says."""
    config = 'model_warmup { name: "w" batch_size: 1 inputs { key: "id" value { data_type: TYPE_INT64 zero_data: true } } }'
    assert reason(tmp_path, config, graphs.picky()).startswith("warm-up sample 'w' fails: model 'm' failed on this input: ")


# --- all of it -----------------------------------------------------------------------------------------------------------------------

# Path → the test here that sees its effect.
EFFECTS = {
    "name": test_a_model_is_the_one_that_its_file_is_of,
    "platform": test_a_model_is_the_one_that_its_file_is_of,
    "backend": test_a_model_is_the_one_that_its_file_is_of,
    "default_model_filename": test_a_model_may_lie_in_another_file,
    "max_batch_size": test_rows_of_a_run,
    "dynamic_batching.max_queue_delay_microseconds": test_waiting_for_more_rows,
    "dynamic_batching.priority_levels": test_how_requests_wait,
    "dynamic_batching.default_priority_level": test_how_requests_wait,
    **{f"dynamic_batching.{place}.{field}": test_how_requests_wait for place in POLICIES for field in POLICY_FIELDS},
    "dynamic_batching.preferred_batch_size": test_preferred_sizes_change_nothing,
    "version_policy.latest.num_versions": test_versions_by_their_policy,
    "version_policy.all": test_versions_by_their_policy,
    "version_policy.specific.versions": test_versions_by_their_policy,
    "input.name": test_ports_are_held_against_the_graph,
    "input.data_type": test_ports_are_held_against_the_graph,
    "input.dims": test_sizes_that_the_graph_leaves_free_are_fixed,
    "input.format": test_formats_and_labels_are_kept_for_those_who_ask,
    "input.reshape.shape": test_callers_may_see_other_shapes_than_the_graph,
    "output.name": test_only_outputs_that_are_listed_are_given,
    "output.data_type": test_ports_are_held_against_the_graph,
    "output.dims": test_sizes_that_the_graph_leaves_free_are_fixed,
    "output.label_filename": test_formats_and_labels_are_kept_for_those_who_ask,
    "output.reshape.shape": test_callers_may_see_other_shapes_than_the_graph,
    "instance_group.name": test_one_instance_on_the_processor,
    "instance_group.kind": test_a_provider_that_is_not_here_fails_the_version_by_name,
    "instance_group.gpus": test_a_provider_that_is_not_here_fails_the_version_by_name,
    "instance_group.count": test_what_a_file_asks_too_much_of,
    "optimization.graph.level": test_a_session_is_set_up_as_the_file_says,
    "parameters.string_value": test_other_parameters_are_the_models_own,
    "model_warmup.name": test_a_warm_up_that_fails_fails_its_version,
    "model_warmup.batch_size": test_a_version_is_warmed_up_before_it_serves,
    "model_warmup.count": test_a_version_is_warmed_up_before_it_serves,
    "model_warmup.inputs.data_type": test_a_warm_up_that_cannot_be_asked_fails_its_version,
    "model_warmup.inputs.dims": test_a_warm_up_that_cannot_be_asked_fails_its_version,
    "model_warmup.inputs.zero_data": test_a_version_is_warmed_up_before_it_serves,
    "model_warmup.inputs.random_data": test_random_values_are_the_same_each_time,
    "model_warmup.inputs.input_data_file": test_a_version_is_warmed_up_before_it_serves,
}
EFFECTS |= {
    f"optimization.execution_accelerators.{kind}_execution_accelerator.{field}": test_a_provider_that_is_not_here_fails_the_version_by_name
    for kind in ("gpu", "cpu")
    for field in ("name", "parameters")
}
ABOUT_DEVICES = {f"optimization.{way}put_pinned_memory.enable" for way in ("in", "out")}


def test_every_honoured_field_has_an_effect_that_is_seen() -> None:
    """Fields that only hold others aside, and what is about copies to devices."""
    holders = {path.rpartition(".")[0] for path in (*HONOURED, *REFUSED)}
    assert EFFECTS.keys() | ABOUT_DEVICES == HONOURED - holders


def test_what_is_refused_does_not_serve(tmp_path: Path) -> None:
    """Its neighbour does; the reason is in the index."""
    expected = "m/config.pbtxt sets 'response_cache.enable', which cannot be honoured: answers are not cached; remove it"
    assert expected == reason(tmp_path, "response_cache { enable: true }")
    assert reason(tmp_path, "max_batch_size: x").startswith("m/config.pbtxt cannot be read: 1:17 ")


def test_no_tensor_type_is_lost(tmp_path: Path) -> None:
    """Each of Triton's data types is the protocol's."""
    for name in graphs.DATATYPES:
        port = f'name: "{{}}" data_type: TYPE_{name.replace("BYTES", "STRING")} dims: [ 2 ]'
        config = f"max_batch_size: 2 input {{ {port.format('x')} }} output {{ {port.format('y')} }}"
        assert name == serving(tmp_path, config, graphs.mirror(name)).signature.inputs[0].datatype
