"""What a `config.pbtxt` asks for, read; and every way in which it can be none. What a session does with it is seen in tests/gateway."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import json_format, text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from registry import triton_config
from registry.errors import Kind, RegistryError
from registry.imported import Settings
from registry.pb import model_config_pb2 as pb
from registry.ports import View
from registry.queueing import Queueing, QueuePolicy
from registry.repository import Repository
from registry.triton_config import Configuration, notes, parse, parse_json, policy_of, read
from registry.triton_fields import HONOURED
from registry.verified import VersionPolicy
from registry.warmup import MAX_RUNS, MAX_SAMPLES, Filling

PORTS = 'input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ] output [ { name: "y" data_type: TYPE_FP32 dims: [ 3 ] } ]'


def configuration(text: str, **files: bytes) -> Configuration:
    return read(parse(text, name="m"), Settings("m/config.pbtxt", (), remedy="remove it"), lambda name: files[name])


# --- inputs and outputs ------------------------------------------------------------------------------------------------------------


def test_ports_are_as_the_graph_has_to_have_them() -> None:
    """With the batch in front where there is one; where callers see another shape, both are kept."""
    text = 'input [ { name: "x" data_type: TYPE_STRING dims: [ -1, 4 ] reshape { shape: [ -1, 2, 2 ] } }, { name: "z" } ]'
    whole, rows = configuration(text).ports, configuration("max_batch_size: 2 " + text).ports
    assert [("x", "BYTES", (-1, 2, 2)), ("z", None, None)] == [
        (name, terms.dtype, terms.shape) for name, terms in whole.contract.inputs.items()
    ]
    assert ((-1, -1, 2, 2), False, True) == (rows.contract.inputs["x"].shape, whole.batched, rows.batched)
    assert {"x": View(seen=(-1, -1, 4), graph=(-1, -1, 2, 2))} == rows.inputs
    assert {} == configuration(PORTS).ports.inputs


def test_an_image_has_a_format() -> None:
    """It is kept for those who ask."""
    made = configuration('input [ { name: "x" format: FORMAT_NCHW dims: [ 3, 8, 8 ] } ]')
    assert pb.ModelInput.FORMAT_NCHW == pb.ModelConfig.FromString(made.message).input[0].format


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None), ("version_policy {}", None), ("version_policy { latest {} }", VersionPolicy(latest=1)),
        ("version_policy { latest { num_versions: 3 } }", VersionPolicy(latest=3)), ("version_policy { all {} }", VersionPolicy(all=True)),
        ("version_policy { specific { versions: [ 3, 1, 3 ] } }", VersionPolicy(specific=(1, 3))),
    ],
)  # fmt: skip
def test_a_policy_names_versions(text: str, expected: VersionPolicy | None) -> None:
    """Nothing is not the same as the latest one: it leaves the choice to others."""
    assert expected == policy_of(parse(text, name="m")) == configuration(text).policy


def test_a_policy_chooses_by_number() -> None:
    """Of what is there."""
    numbers = (10, 1, 2)
    assert ([10], [2, 10], [1, 2, 10], [2]) == tuple(
        policy.chosen(numbers)
        for policy in (VersionPolicy(), VersionPolicy(latest=2), VersionPolicy(all=True), VersionPolicy(specific=(2, 3)))
    )


# --- warm-up -----------------------------------------------------------------------------------------------------------------------


def test_samples_are_read_with_their_data() -> None:
    """In their order; one of no rows is not asked, and said to be so."""
    text = """max_batch_size: 4 model_warmup [
      { name: "a" batch_size: 2 count: 3 inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 2 ] input_data_file: "row" } } },
      { name: "none" inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 2 ] zero_data: true } } },
      { name: "b" batch_size: 1 inputs { key: "x" value { data_type: TYPE_INT64 random_data: true } }
        inputs { key: "y" value { data_type: TYPE_STRING dims: [ 1 ] zero_data: true } } } ]"""
    row = np.array([1, 2], "<f4").tobytes()
    first, second = configuration(text, row=row).warmup
    assert ("a", 2, 3, True, "b", 1, 1) == (first.name, first.rows, first.runs, first.batched, second.name, second.rows, second.runs)
    assert {"x": Filling(datatype="FP32", dims=(2,), values="file", file="row", data=row)} == first.inputs
    assert [("x", "random", ()), ("y", "zero", (1,))] == [(name, one.values, one.dims) for name, one in second.inputs.items()]
    (note,) = notes(parse(text, name="m"))
    assert "m/config.pbtxt has a warm-up sample 'none' with a batch_size of 0, which is not asked" == note
    assert configuration(text.removeprefix("max_batch_size: 4"), row=row).warmup[0].batched is None


def sample(inputs: str = "", **fields: int) -> str:
    said = " ".join(f"{name}: {value}" for name, value in ({"batch_size": 1} | fields).items())
    return f'max_batch_size: 4 model_warmup [ {{ name: "s" {said} {inputs} }} ]'


def with_input(text: str) -> str:
    return sample(f'inputs {{ key: "x" value {{ {text} }} }}')


X = "m/config.pbtxt: input 'x' of warm-up sample 's' "


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (sample(batch_size=5), "m/config.pbtxt has a model_warmup.batch_size of 5 in 's', where at most 4 is allowed"),
        (sample(batch_size=2).replace("max_batch_size: 4", "max_batch_size: 0"), "m/config.pbtxt has a model_warmup.batch_size of 2 in"),
        (sample(count=MAX_RUNS + 1), "m/config.pbtxt has a model_warmup.count of 1001 in 's', where at most 1000 is allowed"),
        ("model_warmup {}" * (MAX_SAMPLES + 1), "m/config.pbtxt has more than 64 samples in model_warmup"),
        (with_input("zero_data: true"), X + "has no data_type, or none of zero_data, random_data and input_data_file"),
        (with_input("data_type: TYPE_FP32"), X + "has no data_type, or none of zero_data, random_data and input_data_file"),
        (with_input("data_type: TYPE_FP32 dims: [ -1 ] zero_data: true"), X + "has a size in its dims that is not above 0"),
        (with_input('data_type: TYPE_FP32 input_data_file: ""'), X + "names '', which is no file in the directory warmup"),
        (with_input('data_type: TYPE_FP32 input_data_file: "../x"'), X + "names '../x', which is no file in the directory warmup"),
        (with_input('data_type: TYPE_FP32 input_data_file: "/etc/passwd"'), X + "names '/etc/passwd', which is no file in the"),
        (with_input('data_type: TYPE_FP32 input_data_file: "a/b"'), X + "names 'a/b', which is no file in the directory warmup"),
        (with_input('data_type: TYPE_FP32 dims: [ 2 ] input_data_file: "f"'), X + "has 3 bytes in its file, where 8 are expected"),
    ],
)
def test_samples_that_cannot_be_asked(text: str, reason: str, kind_of: Callable[..., str]) -> None:
    """Each by its name, before any file is looked for."""
    assert kind_of(lambda: configuration(text, f=b"123")).startswith(f"invalid_model: {reason}")


class TestDataFiles:
    """Names in a `config.pbtxt` lead to files of the model's directory `warmup`, and nowhere else."""

    FILE = 'key: "x" value { data_type: TYPE_UINT8 dims: [ 3 ] input_data_file: "f" }'
    TEXT = f'model_warmup [ {{ name: "s" batch_size: 1 inputs {{ {FILE} }} }} ]'

    @pytest.fixture
    def model(self, tmp_path: Path) -> Path:
        """A model with one version and this configuration; opening it reads the file."""
        (tmp_path / "m" / "1").mkdir(parents=True)
        (tmp_path / "m" / "1" / "model.onnx").write_bytes(b"onnx")
        (tmp_path / "m" / "config.pbtxt").write_text(self.TEXT)
        return tmp_path / "m"

    def test_a_file_is_read(self, model: Path) -> None:
        """As it lies there."""
        (model / "warmup").mkdir()
        (model / "warmup" / "f").write_bytes(b"abc")
        with Repository(model.parent).ref("m", 1).open() as verified:
            assert b"abc" == verified.warmup[0].inputs["x"].data

    @pytest.mark.parametrize(
        ("make", "reason"),
        [
            (lambda warmup: None, "there is no such file"),
            (lambda warmup: warmup.mkdir(), "there is no such file"),
            (lambda warmup: warmup.write_bytes(b""), "warmup is no directory, or a symbolic link"),
            (lambda warmup: (warmup.mkdir(), (warmup / "f").mkdir()), "it is a directory"),
            (lambda warmup: (warmup.mkdir(), (warmup / "f").symlink_to(warmup.parent / "config.pbtxt")), "it is a symbolic link"),
            (lambda warmup: (warmup.with_name("w").mkdir(), warmup.symlink_to("w")), "warmup is no directory, or a symbolic link"),
        ],
    )
    def test_what_is_no_file_there(self, model: Path, make: Callable[[Path], object], reason: str, kind_of: Callable[..., str]) -> None:
        """No link is followed, also to a file that is there."""
        make(model / "warmup")
        assert f"invalid_model: m/warmup/f cannot be read: {reason}" == kind_of(Repository(model.parent).ref("m", 1).open)

    def test_files_have_a_bound_together(self, model: Path, monkeypatch: pytest.MonkeyPatch, kind_of: Callable[..., str]) -> None:
        """Of the model, not each."""
        two = self.TEXT.replace('"s"', '"a"') + self.TEXT
        (model / "config.pbtxt").write_text(two)
        (model / "warmup").mkdir()
        (model / "warmup" / "f").write_bytes(b"abc")
        monkeypatch.setattr("registry.repository.MAX_FILES_BYTES", 5)
        assert kind_of(Repository(model.parent).ref("m", 1).open).startswith("invalid_model: m/warmup/f is too large: ")


# --- queues ------------------------------------------------------------------------------------------------------------------------


def test_levels_and_policies_are_read() -> None:
    """All fields of both messages; a level without a policy of its own has the default one."""
    text = """dynamic_batching { priority_levels: 3 default_priority_level: 2
      default_queue_policy { default_timeout_microseconds: 5000 max_queue_size: 7 }
      priority_queue_policy { key: 3 value { timeout_action: DELAY default_timeout_microseconds: 1 allow_timeout_override: true } } }"""
    late = QueuePolicy(timeout_action="delay", default_timeout_us=1, allow_timeout_override=True)
    usual = QueuePolicy(default_timeout_us=5000, max_queue_size=7)
    queue = configuration(text).serving.queue
    assert Queueing(priority_levels=3, default_priority_level=2, default_queue_policy=usual, priority_queue_policy={"3": late}) == queue
    assert [usual, usual, late] == [queue.policy(level) for level in (1, 2, 3)]
    assert (True, False) == (queue.bounded, Queueing(default_queue_policy=late).bounded)


@pytest.mark.parametrize("text", ["", "dynamic_batching {}", "dynamic_batching { default_queue_policy { timeout_action: REJECT } }"])
def test_silence_about_queues_leaves_them_to_the_server(text: str) -> None:
    """Written-out defaults are silence."""
    assert configuration(text).serving.queue is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("priority_levels: 2", "wrong dynamic_batching.default_priority_level: expected a level from 1 to 2, got 0"),
        (
            "priority_levels: 2 default_priority_level: 3",
            "wrong dynamic_batching.default_priority_level: expected a level from 1 to 2, got 3",
        ),
        ("default_priority_level: 1", "wrong dynamic_batching.default_priority_level: there are no levels: set priority_levels"),
        ("priority_levels: 18446744073709551615", "dynamic_batching.priority_levels above 1048576"),
        ("priority_queue_policy { key: 1 value {} }", "priority_queue_policy: '1' is no level: there are none: set priority_levels"),
        (
            "priority_levels: 2 default_priority_level: 1 priority_queue_policy { key: 3 value {} }",
            "wrong dynamic_batching.priority_queue_policy: '3' is no level: they go from 1 to 2",
        ),
        (
            "priority_levels: 2 default_priority_level: 1 priority_queue_policy { key: 0 value {} }",
            "wrong dynamic_batching.priority_queue_policy: '0' is no level: they go from 1 to 2",
        ),
        ("default_queue_policy { default_timeout_microseconds: 3600000001 }", "default_timeout_microseconds above 3600000000"),
        ("default_queue_policy { timeout_action: 2 }", ""),
    ],
)
def test_queues_that_cannot_be(text: str, reason: str, kind_of: Callable[..., str]) -> None:
    """Refused as Triton refuses them, or because nobody means it."""
    refusal = kind_of(lambda: configuration(f"dynamic_batching {{ {text} }}"))
    assert refusal.startswith("invalid_model: m/config.pbtxt ")
    assert refusal.endswith(reason)


# --- what is none --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("max_batch_size: 8\nmax_batchsize: 8", 'cannot be read: 2:1 : Message type "inference.ModelConfig" has no field named'),
        ("name: 'm\n", "cannot be read: 1:7"),
        ("input [ { dims: [ 1, } ]", "cannot be read: 1:22"),
        ("max_batch_size: 99999999999", "cannot be read: 1:17"),
        ("max_batch_size: 1 max_batch_size: 2", "cannot be read: 1:35"),
        ("input { data_type: TYPE_FP4 }", "cannot be read: 1:20"),
        ("input { data_type: 99 }", "cannot be read: 1:20"),
        ("dynamic_batching {} ensemble_scheduling {}", "cannot be read: 1:21"),
        ('name: "\\xff"', "cannot be read: "),
        ('name: "n"', "is of a model 'n'"),
        ('backend: "python"', "is not of an ONNX model, but of 'python'"),
        ('platform: "tensorflow_savedmodel"', "is not of an ONNX model, but of 'tensorflow_savedmodel'"),
        ('default_model_filename: "a/b"', "names 'a/b' as the model's file"),
        ('default_model_filename: ".."', "names '..' as the model's file"),
        ("max_batch_size: -1", "has a negative max_batch_size"),
        ("version_policy { specific {} }", "has a version_policy that chooses no version"),
        ("instance_group { count: -1 }", "has an instance group with a negative count"),
        (
            "instance_group { kind: KIND_MODEL }",
            "sets 'instance_group.kind', which cannot be honoured: it is KIND_CPU, KIND_GPU or KIND_AUTO",
        ),
        ("optimization { graph { level: 7 } }", "sets 'optimization.graph.level', which cannot be honoured: it is -1, 0, 1 or 2"),
        ('parameters { key: "intra_op_thread_count" value { string_value: "two" } }', "has 'two' for parameters.intra_op_thread_count"),
        ('parameters { key: "inter_op_thread_count" value { string_value: "-1" } }', "has '-1' for parameters.inter_op_thread_count"),
        ('parameters { key: "intra_op_thread_count" value { string_value: "9999" } }', "has '9999' for parameters.intra_op_thread_count"),
        ('parameters { key: "execution_mode" value { string_value: "2" } }', "has '2' for parameters.execution_mode, where 0 or 1"),
        ('parameters { key: "execution_mode" }', "has '' for parameters.execution_mode, where 0 or 1 is expected"),
        ('parameters { key: "memory.enable_memory_arena_shrinkage" }', "sets 'parameters.memory.enable_memory_arena_shrinkage', "),
        ("input { dims: [ 1 ] }", "has an input without a name, or one twice"),
        ('output [ { name: "y" }, { name: "y" } ]', "has an output without a name, or one twice"),
        ('input { name: "x" dims: [ 0 ] }', "has a size in the dims of 'x' that is neither above 0 nor -1"),
        ('input { name: "x" dims: [ 4 ] reshape { shape: [ 3 ] } }', "has a reshape of input 'x' that does not hold the elements"),
        ('output { name: "y" reshape { shape: [ 3 ] } }', "has a reshape of output 'y' that does not hold the elements of its dims"),
        ('output { name: "y" dims: [ -1, 2 ] reshape { shape: [ 2 ] } }', "has a reshape of output 'y' that does not hold"),
        ('input { name: "x" format: FORMAT_NHWC dims: [ 4 ] }', "has a format for input 'x', which needs 3 dims"),
    ],
)
def test_a_file_that_cannot_be_honoured(text: str, reason: str, kind_of: Callable[..., str]) -> None:
    """With line and column where it cannot be read, with the field where it can."""
    assert kind_of(lambda: configuration(text)).startswith(f"invalid_model: m/config.pbtxt {reason}")


WORDS = sorted({name.rpartition(".")[2] for name in HONOURED})
WORDS += ["{", "}", "[", "]", ":", ",", '"x"', "-1", "0", "2", "TYPE_FP32", "true", "\n"]


@settings(max_examples=300)
@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(WORDS), max_size=24).map(" ".join)))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Never anything else, whatever stands there."""
    found = Kind.INVALID_MODEL
    try:
        configuration(text, x=b"")
    except RegistryError as error:
        found = error.kind
    assert found is Kind.INVALID_MODEL


# --- the repository around it --------------------------------------------------------------------------------------------------------


class TestRepository:
    """Which content a version has, and what a listing says, with a `config.pbtxt` beside it."""

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        """Two models with versions 1 and 2."""
        for name in ("m", "n"):
            for number in "12":
                (tmp_path / name / number).mkdir(parents=True)
                (tmp_path / name / number / "model.onnx").write_bytes(b"onnx")
        return tmp_path

    def test_the_file_belongs_to_the_content_of_all_versions(self, root: Path) -> None:
        """Another text is other content, of this model only, the same text is not; also the data of its warm-up belongs to it."""
        repository = Repository(root)
        path, seen = root / "m" / "config.pbtxt", set()

        def contents() -> tuple[str, ...]:
            listed = repository.listing()
            assert [ref.content for ref in listed.versions] == [repository.ref(ref.model, ref.version).content for ref in listed.versions]
            return tuple(ref.content for ref in listed.versions)

        bare = contents()
        for text in ("max_batch_size: 2", "max_batch_size: 4", "nonsense"):
            path.write_text(text)
            assert bare[2:] == contents()[2:]
            seen.add(contents()[:2])
        path.write_text("nonsense ")
        path.write_text("nonsense")
        assert contents()[:2] in seen
        (root / "m" / "warmup").mkdir()
        (root / "m" / "warmup" / "f").write_bytes(b"1")
        seen.add(contents()[:2])
        path.unlink()
        assert (4, bare) == (len(seen), contents())

    def test_a_listing_says_which_versions_and_what_is_wrong(self, root: Path) -> None:
        """A model that cannot be opened is listed all the same, and costs no other anything."""
        (root / "m" / "config.pbtxt").write_text("version_policy { all {} } dynamic_batching { preferred_batch_size: [ 4 ] }")
        (root / "n" / "config.pbtxt").write_text("version_policy { latest { num_versions: 2 } } response_cache { enable: true }")
        listing = Repository(root).listing()
        assert {"m": VersionPolicy(all=True), "n": VersionPolicy(latest=2)} == listing.policies
        assert 4 == len(listing.versions)
        (problem,), (note,) = listing.problems, listing.notes
        assert "n/config.pbtxt sets 'response_cache.enable', which cannot be honoured: answers are not cached; remove it" == problem
        assert note.startswith("m/config.pbtxt sets 'dynamic_batching.preferred_batch_size', for which nothing is done: ")

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"\xff", "damaged: m/config.pbtxt is not UTF-8"),
            (b"x", "invalid_model: m/config.pbtxt cannot be read: 1:1"),
            (b"#" * (1 << 20) + b"#", "damaged: m/config.pbtxt is larger than 1048576 bytes"),
        ],
    )
    def test_a_file_that_is_none(self, root: Path, content: bytes, reason: str, kind_of: Callable[..., str]) -> None:
        """Its versions are listed, and cannot be opened; the neighbour can."""
        (root / "m" / "config.pbtxt").write_bytes(content)
        listing = Repository(root).listing()
        assert ([1, 2, 1, 2], {}) == ([ref.version for ref in listing.versions], listing.policies)
        assert [reason.partition(": ")[2]] == [problem[: len(reason.partition(": ")[2])] for problem in listing.problems]
        assert kind_of(listing.versions[1].open).startswith(reason)
        listing.versions[3].open().close()

    def test_a_file_that_cannot_be_read_is_worth_another_attempt(self, root: Path, kind_of: Callable[..., str]) -> None:
        """A directory of that name is a matter of the storage."""
        (root / "m" / "config.pbtxt").mkdir()
        assert kind_of(Repository(root).ref("m", 1).open).startswith("storage: cannot read m/config.pbtxt: ")

    def test_a_model_may_have_another_file(self, root: Path, kind_of: Callable[..., str]) -> None:
        """`default_model_filename`, which may be a directory as `model.onnx` may."""
        (root / "m" / "config.pbtxt").write_text('default_model_filename: "net.onnx"')
        repository = Repository(root)
        assert "not_found: version 1 of model 'm' has no file m/1/net.onnx" == kind_of(repository.ref("m", 1).open)
        (root / "m" / "1" / "net.onnx").write_bytes(b"net")
        (root / "m" / "2" / "net.onnx").mkdir()
        (root / "m" / "2" / "net.onnx" / "model.onnx").write_bytes(b"nested")
        sizes = []
        for number in (1, 2):
            with repository.ref("m", number).open() as verified:
                sizes.append(verified.file.size_bytes)
        assert [3, 6] == sizes


# --- JSON --------------------------------------------------------------------------------------------------------------------------

TEXTS = [
    "", "max_batch_size: 0", "max_batch_size: 8 dynamic_batching {}", "dynamic_batching { max_queue_delay_microseconds: 0 }", PORTS,
    'name: "m" platform: "onnxruntime_onnx" parameters { key: "intra_op_thread_count" value { string_value: "2" } }',
    "version_policy { specific { versions: [ 3, 1 ] } } instance_group [ { kind: KIND_CPU count: 1 } ]",
    "optimization { graph { level: -1 } }",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("camel", [False, True])
def test_json_asks_for_what_the_text_asks_for(text: str, camel: bool) -> None:
    """By either of protobuf's names for a field; a zero that stands there is no silence."""
    explicit = triton_config._explicit()()
    text_format.Parse(text, explicit)
    said = parse_json(json_format.MessageToJson(explicit, preserving_proto_field_name=not camel), name="m")
    plain = parse(text, name="m")
    assert (plain.message, plain.has_rows, plain.has_delay) == (said.message, said.has_rows, said.has_delay)
    settings = Settings("x", ())
    assert configuration(text) == read(said, settings, lambda name: b"")


BAD_JSON = [
    ("", "it is no JSON object"), ("[]", "it is no JSON object"), ("null", "it is no JSON object"), ('"{}"', "it is no JSON object"),
    ("{", "cannot be read"), ("{} {}", "cannot be read"), ('{"nothing": 1}', 'no field named "nothing"'),
    ('{"input": {"name": "x"}}', "cannot be read"), ('{"input": [{"nothing": 1}]}', 'no field named "nothing"'),
    ('{"max_batch_size": "many"}', "max_batch_size"), ('{"max_batch_size": 1e999}', "max_batch_size"),
    ('{"max_batch_size": 3000000000}', "max_batch_size"), ('{"max_batch_size": 1, "max_batch_size": 2}', "max_batch_size"),
    ('{"input": [{"data_type": "TYPE_FP99"}]}', "TYPE_FP99"), ('{"name": 1}', "name"), ('{"name": "n"}', "is of a model 'n'"),
    ('{"platform": "tensorrt_plan"}', "is not of an ONNX model"), ('{"input":' + "[" * 5000 + "]" * 5000 + "}", "cannot be read"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "part"), BAD_JSON)
def test_json_that_is_none_says_where(text: str, part: str) -> None:
    """One sentence, and no list of all fields that there are."""
    with pytest.raises(RegistryError) as caught:
        parse_json(text, name="m")
    assert (Kind.INVALID_MODEL, True) == (caught.value.kind, part in caught.value.message)
    assert caught.value.message.startswith("the configuration in this load of 'm' ")
    assert len(caught.value.message) < 400


fields = st.sampled_from([*pb.ModelConfig.DESCRIPTOR.fields_by_name, "more"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(fields | st.sampled_from(["name", "dims", "count", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=300)
@given(st.dictionaries(fields, values, max_size=4).map(json.dumps) | st.text(max_size=20).map(lambda text: "{" + text))
def test_any_json_is_honoured_or_refused(text: str) -> None:
    """Never anything else."""
    with contextlib.suppress(RegistryError):
        read(parse_json(text, name="m"), Settings("x", ()), lambda name: b"")
