"""Triton repositories: every setting is honoured or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from onnx import save

from registry.import_triton import import_model, import_repository
from registry.imported import Imported
from registry.parts import read_parts
from registry.publish import publish
from registry.queueing import Queueing, QueuePolicy
from registry.serving import Serving
from registry.store import Store

NOW_S = 1_700_000_000.25
CONFIG = """
name: "m"
platform: "onnxruntime_onnx"
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 3 ] } ]
instance_group [ { count: 1 kind: KIND_CPU } ]
dynamic_batching { max_queue_delay_microseconds: 1500 }
version_policy { all {} }
parameters { key: "owner" value { string_value: "ann" } }
"""
PORTS = ' input [ { name: "x" dims: [ -1, 4 ] } ] output [ { name: "y" dims: [ -1, 3 ] } ]'


@pytest.fixture
def repository(tmp_path: Path, gemm: Callable[..., Any]) -> Callable[..., Path]:
    """A factory: model m with versions 1, 2 and 10, whose weights are their numbers, and a config.pbtxt if one is given."""

    def write(config: str | None = None, *, file: str = "model.onnx") -> Path:
        root = tmp_path / "repository"
        for number in (1, 2, 10):
            (root / "m" / str(number)).mkdir(parents=True, exist_ok=True)
            (root / "m" / str(number) / file).write_bytes(gemm(float(number)).SerializeToString())
        if config is not None:
            (root / "m" / "config.pbtxt").write_text(config)
        return root

    return write


def _publish(store: Store, imported: Imported, **options: Any) -> int:
    return publish(store, imported.path, name=imported.name, publisher="ann", now_s=NOW_S, parts=imported.parts, **options).version


def test_a_whole_configuration(store: Store, repository: Callable[..., Path]) -> None:
    """Versions by the policy, what serving needs in a part of its own, names and types against the graph, with the real trial."""
    versions = import_repository(repository(CONFIG))
    assert [("m", 1), ("m", 2), ("m", 10)] == [(version.name, version.version) for version in versions]
    assert () == versions[0].dropped
    _publish(store, versions[2])
    parts = read_parts(store.manifest("m", 1), store.read_blob)
    assert (
        Serving(format=1, max_batch_size=8, max_queue_delay_ms=1.5, instances=1, providers=("cpu",), parameters={"owner": "ann"})
        == parts.serving
    )
    assert parts.schema is not None
    assert (("batch", 4), ("batch", 3)) == (parts.schema.inputs[0].shape, parts.schema.outputs[0].shape)


def test_without_a_configuration(store: Store, repository: Callable[..., Path], no_trial: Callable[..., None]) -> None:
    """The latest version, which batches if its graph can: Triton completes what is not there from the graph."""
    (latest,) = import_repository(repository())
    assert 10 == latest.version
    assert Serving(format=1) == latest.parts.serving
    assert 1 == _publish(store, latest, trial=no_trial)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (PORTS, Serving(format=1, batching=False, dynamic_batching=False)),
        ("max_batch_size: 4" + PORTS, Serving(format=1, max_batch_size=4, dynamic_batching=False)),
        ("max_batch_size: 4 dynamic_batching {}" + PORTS, Serving(format=1, max_batch_size=4)),
        ("max_batch_size: 4", Serving(format=1, max_batch_size=4)),
        ("max_batch_size: 0", Serving(format=1, batching=False)),
        ("dynamic_batching { max_queue_delay_microseconds: 0 }", Serving(format=1, max_queue_delay_ms=0.0)),
        ("dynamic_batching { max_queue_delay_microseconds: 250 }", Serving(format=1, max_queue_delay_ms=0.25)),
        (
            "dynamic_batching { default_queue_policy { max_queue_size: 4 } }",
            Serving(format=1, queue=Queueing(default_queue_policy=QueuePolicy(max_queue_size=4))),
        ),
        ("optimization { graph { level: -1 } }", Serving(format=1, optimization="basic")),
        ("optimization { graph { level: 1 } }", Serving(format=1, optimization="extended")),
        ("optimization { graph { level: 2 } }", Serving(format=1, optimization="none")),
        (
            'parameters { key: "intra_op_thread_count" value { string_value: "4" } }'
            'parameters { key: "inter_op_thread_count" value { string_value: "2" } }'
            'parameters { key: "execution_mode" value { string_value: "1" } }',
            Serving(format=1, intra_op_threads=4, inter_op_threads=2, execution="parallel"),
        ),
        (
            'parameters { key: "intra_op_thread_count" value { string_value: "0" } }'
            'parameters { key: "execution_mode" value { string_value: "0" } }',
            Serving(format=1, execution="sequential"),
        ),
    ],
)
def test_what_a_version_is_served_by(repository: Callable[..., Path], config: str, expected: Serving) -> None:
    """Word for word where ports are listed; what is not said is left to the server where they are not."""
    (latest,) = import_repository(repository(config))
    assert expected == latest.parts.serving


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("latest {}", [10]),
        ("latest { num_versions: 2 }", [2, 10]),
        ("latest { num_versions: 9 }", [1, 2, 10]),
        ("all {}", [1, 2, 10]),
        ("specific { versions: [ 10, 1 ] }", [1, 10]),
    ],
)
def test_version_policies(repository: Callable[..., Path], policy: str, expected: list[int]) -> None:
    """By number, not by text."""
    assert expected == [version.version for version in import_repository(repository(f"version_policy {{ {policy} }}"))]


def test_another_file_name(repository: Callable[..., Path]) -> None:
    """`default_model_filename` is honoured."""
    (latest,) = import_repository(repository('default_model_filename: "net.onnx"', file="net.onnx"))
    assert ("10", "net.onnx") == latest.path.parts[-2:]


def test_a_directory_with_external_data(store: Store, tmp_path: Path, gemm: Callable[..., Any]) -> None:
    """Triton lets `model.onnx` be a directory that holds the file and its data."""
    folder = tmp_path / "repository" / "m" / "1" / "model.onnx"
    folder.mkdir(parents=True)
    save(gemm(2.0), folder / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    (version,) = import_repository(tmp_path / "repository")
    assert 1 == _publish(store, version)
    assert ["weights.bin"] == [layer.title for layer in store.manifest("m", 1).external_data]


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ("optimization { graph { level: 3 } }", "optimization.graph.level"),
        ('model_warmup [ { name: "w" } ]', "model_warmup"),
        ('model_operations { op_library_filename: "ops.so" }', "model_operations.op_library_filename"),
        ("sequence_batching {}", "sequence_batching"),
        ('ensemble_scheduling { step [ { model_name: "a" } ] }', "ensemble_scheduling"),
        ("model_transaction_policy { decoupled: true }", "model_transaction_policy.decoupled"),
        ("response_cache { enable: true }", "response_cache.enable"),
        ('runtime: "python"', "runtime"),
        ('batch_input [ { target_name: "n" } ]', "batch_input"),
        ('metric_tags { key: "a" value: "b" }', "metric_tags"),
        ('cc_model_filenames { key: "7.5" value: "a" }', "cc_model_filenames"),
        ("dynamic_batching { preferred_batch_size: [ 4 ] }", "dynamic_batching.preferred_batch_size"),
        ("dynamic_batching { preserve_ordering: true }", "dynamic_batching.preserve_ordering"),
        ("instance_group [ { kind: KIND_MODEL } ]", "instance_group.kind"),
        ("instance_group [ { kind: KIND_CPU }, { kind: KIND_GPU } ]", "instance_group.kind"),
        ("instance_group [ { kind: KIND_GPU gpus: [ 0, 1 ] } ]", "instance_group.gpus"),
        ("instance_group [ { gpus: [ 0 ] } ]", "instance_group.gpus"),
        ("instance_group [ { passive: true } ]", "instance_group.passive"),
        ('instance_group [ { host_policy: "p" } ]', "instance_group.host_policy"),
        ('input [ { name: "x" optional: true } ]', "input.optional"),
        ('input [ { name: "x" dims: [ 4 ] reshape { shape: [ 2, 2 ] } } ]', "input.reshape"),
        ('output [ { name: "y" label_filename: "labels.txt" } ]', "output.label_filename"),
        ('input [ { name: "x" format: FORMAT_NCHW dims: [ 3, 2, 2 ] } ]', "input.format"),
        ('output [ { name: "y" dims: [ 3 ] reshape { shape: [ 3, 1 ] } } ]', "output.reshape"),
        ("optimization { input_pinned_memory { enable: true } }", "optimization.input_pinned_memory.enable"),
        ('parameters { key: "enable_mem_arena" value { string_value: "0" } }', "parameters.enable_mem_arena"),
        ('parameters { key: "session.use_env_allocators" value { string_value: "1" } }', "parameters.session.use_env_allocators"),
    ],
)
def test_refused_by_name(repository: Callable[..., Path], config: str, name: str, kind_of: Callable[..., str]) -> None:
    """What cannot be honoured is named; it, or the section that it is in, can be let go by name and is then reported."""
    root = repository(config)
    assert kind_of(lambda: import_repository(root)).startswith(f"invalid_model: m/config.pbtxt sets '{name}', which cannot be honoured: ")
    for allowed in {name, name.partition(".")[0]}:
        (latest,) = import_repository(root, may_drop=[allowed])
        assert (name,) == latest.dropped
    assert latest.parts.serving is not None
    assert {} == latest.parts.serving.parameters
    assert "cannot be honoured" in kind_of(lambda: import_repository(root, may_drop=[name + "x"]))


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ("max_batch_size: 'a'", "m/config.pbtxt cannot be read: 1:17"),
        (
            "max_batchsize: 8",
            'm/config.pbtxt cannot be read: 1:1 : Message type "inference.ModelConfig" has no field named "max_batchsize"',
        ),
        ("input [ { name: ", "m/config.pbtxt cannot be read: "),
        ("\x00", "m/config.pbtxt cannot be read: "),
        ('name: "other"', "m/config.pbtxt is of a model 'other'"),
        ('backend: "python"', "m/config.pbtxt is not of an ONNX model, but of 'python'"),
        ('platform: "tensorrt_plan"', "m/config.pbtxt is not of an ONNX model, but of 'tensorrt_plan'"),
        ('default_model_filename: "../x.onnx"', "m/config.pbtxt names '../x.onnx' as the model's file"),
        ("max_batch_size: -1", "m/config.pbtxt has a negative max_batch_size"),
        ("instance_group [ { count: -1 } ]", "m/config.pbtxt has an instance group with a negative count"),
        ("version_policy { specific { versions: [ 3 ] } }", "m/config.pbtxt asks for version 3, which is not there"),
        ("version_policy { specific {} }", "m/config.pbtxt has a version_policy that chooses no version"),
        ("input [ { dims: [ 1 ] } ]", "m/config.pbtxt has an input without a name, or one twice"),
        ('output [ { name: "y" dims: [ -2 ] } ]', "m/config.pbtxt has a size in the dims of 'y' that is neither above 0 nor -1"),
    ],
)
def test_refused(repository: Callable[..., Path], config: str, text: str, kind_of: Callable[..., str]) -> None:
    """What cannot be read, and what says nothing that could be done."""
    assert kind_of(lambda: import_repository(repository(config))).startswith("invalid_model: " + text)


@pytest.mark.parametrize(
    ("port", "text"),
    [
        ('input [ { name: "x" data_type: TYPE_INT64 } ]', "input 'x' is tensor(float) in the model and INT64 in the contract file"),
        ('input [ { name: "x" dims: [ 5 ] } ]', "input 'x' has shape [batch, 4] in the model and [-1, 5] in the contract file"),
        ('input [ { name: "X" } ]', "the contract file describes input 'X', which the model does not have"),
        ('output [ { name: "y" dims: [ 3, 1 ] } ]', "output 'y' has shape [batch, 3] in the model and [-1, 3, 1] in the contract file"),
    ],
)
def test_against_the_graph(
    store: Store, repository: Callable[..., Path], no_trial: Callable[..., None], port: str, text: str, kind_of: Callable[..., str]
) -> None:
    """A configuration that is not of this model is found when the version is published."""
    (latest,) = import_repository(repository("max_batch_size: 4\n" + port))
    assert "invalid_model: " + text == kind_of(lambda: _publish(store, latest, trial=no_trial))


def test_links_are_refused_where_they_are_published(
    store: Store, repository: Callable[..., Path], no_trial: Callable[..., None], kind_of: Callable[..., str]
) -> None:
    """A repository may be served with links in it, but nothing is published through one."""
    root = repository()
    (root / "m" / "10" / "model.onnx").rename(root / "m" / "10" / "real.onnx")
    (root / "m" / "10" / "model.onnx").symlink_to("real.onnx")
    assert "invalid_model: 'model.onnx' is a symbolic link" == kind_of(lambda: _publish(store, import_repository(root)[0], trial=no_trial))


def test_an_unknown_model(repository: Callable[..., Path], kind_of: Callable[..., str]) -> None:
    """By name."""
    assert "not_found: the repository has no version of a model 'other'" == kind_of(lambda: import_model(repository(), "other"))
