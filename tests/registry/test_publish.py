"""From a file to a version, or to a reason and nothing else."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto

from registry.gate import Gate
from registry.limits import RegistryLimits
from registry.publish import Published, publish
from registry.store import Store
from registry.trial import Submitted, load_in_child
from registry.verified import VerifiedModel
from registry.verify import verify

Gemm = Callable[..., ModelProto]
OnnxFile = Callable[..., Path]
NOW_S = 1_700_000_000.25


@pytest.fixture
def put(store: Store, no_trial: Callable[..., None]) -> Callable[..., Published]:
    """`publish` into `store` without the child process, by ann, as model m."""

    def call(path: Path, **options: Any) -> Published:
        return publish(store, path, **({"name": "m", "publisher": "ann", "now_s": NOW_S, "trial": no_trial} | options))

    return call


@pytest.fixture
def refusal(store: Store, put: Callable[..., Published], kind_of: Callable[..., str]) -> Callable[..., str]:
    """Publishes what must be refused, checks that nothing of it stays, and gives the reason."""

    def call(path: Path, **options: Any) -> str:
        before = sorted(store.medium.root.rglob("*"))
        text = kind_of(lambda: put(path, **options))
        assert before == sorted(store.medium.root.rglob("*"))
        return text.removeprefix("invalid_model: ")

    return call


def _run(model: VerifiedModel) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    maps = model.external_maps()
    if maps:
        options.add_external_initializers_from_files_in_memory(list(maps), list(maps.values()), [len(data) for data in maps.values()])
    session = onnxruntime.InferenceSession(model.path, options, providers=["CPUExecutionProvider"])
    model.close()
    return session.run(None, {"x": np.ones((1, 4), np.float32)})[0]


@pytest.mark.parametrize("external", [False, True])
def test_publish_and_run(store: Store, onnx_file: OnnxFile, external: bool) -> None:
    """With the real trial: the version loads from sealed memory, external data included, and answers as the model does."""
    path = onnx_file(2.0, external=external)
    published = publish(store, path, name="m", publisher="ann", now_s=NOW_S)
    assert ("m", 1, True) == (published.model, published.version, published.new)
    assert "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest() == published.model_digest
    assert published.digest == store.record("m", 1).manifest
    model = store.load_verified("m", 1)
    assert published.model_digest == model.digest
    assert (["weights.bin"] if external else []) == list(model.external_data)
    assert [[10.0, 10.0, 10.0]] == _run(model).tolist()
    assert [] == verify(store)


def test_progress(put: Callable[..., Published], onnx_file: OnnxFile) -> None:
    """The bytes of the model and of its external data are told as they are staged."""
    path, counted = onnx_file(external=True), []
    put(path, progress=counted.append)
    assert [path.stat().st_size, path.with_name("weights.bin").stat().st_size] == counted


def test_same_file_same_digest(put: Callable[..., Published], onnx_file: OnnxFile) -> None:
    """Published twice without an id, a file is two versions with one digest."""
    first, second = put(onnx_file()), put(onnx_file(), now_s=5.0, publisher="bob")
    assert (1, 2) == (first.version, second.version)
    assert (first.digest, first.model_digest) == (second.digest, second.model_digest)


def test_a_repeated_publish(put: Callable[..., Published], onnx_file: OnnxFile, kind_of: Callable[..., str]) -> None:
    """One id is one version; other content under it is a conflict."""
    first = put(onnx_file(1.0), publish_id="run-7")
    again = put(onnx_file(1.0), publish_id="run-7", now_s=NOW_S + 60)
    assert (1, 1, True, False, first.digest) == (first.version, again.version, first.new, again.new, again.digest)
    text = kind_of(lambda: put(onnx_file(2.0), publish_id="run-7"))
    assert "conflict: publish id 'run-7' already stands for version 1 of model 'm' with other content" == text


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"name": "../m"}, "invalid_name: model name '../m' does not match"),
        ({"publisher": ""}, "invalid_name: publisher must be"),
        ({"publish_id": ""}, "invalid_name: publish id must be"),
    ],
)
def test_refused_names(refusal: Callable[..., str], onnx_file: OnnxFile, options: dict[str, Any], text: str) -> None:
    """Before the file is opened."""
    assert refusal(onnx_file(), **options).startswith(text)


class TestFiles:
    """What is taken from the submitter's directory."""

    def test_a_symbolic_link(self, refusal: Callable[..., str], onnx_file: OnnxFile) -> None:
        """A link could lead anywhere, also later."""
        link = onnx_file().with_name("link.onnx")
        link.symlink_to(onnx_file())
        assert "'link.onnx' is a symbolic link" == refusal(link)

    def test_a_hard_link(self, refusal: Callable[..., str], onnx_file: OnnxFile) -> None:
        """A second name may belong to somebody who should not see it published."""
        os.link(onnx_file(), onnx_file().with_name("second.onnx"))
        assert "'any.onnx' has several names (hard links)" == refusal(onnx_file())

    def test_a_pipe(self, refusal: Callable[..., str], tmp_path: Path) -> None:
        """Refused at once instead of waited for."""
        os.mkfifo(tmp_path / "pipe.onnx")
        assert "'pipe.onnx' is not a regular file" == refusal(tmp_path / "pipe.onnx")

    def test_a_directory(self, refusal: Callable[..., str], tmp_path: Path) -> None:
        """A directory is no model."""
        assert "'" + tmp_path.name + "' is not a regular file" == refusal(tmp_path)

    def test_nothing(self, refusal: Callable[..., str], tmp_path: Path) -> None:
        """No file, no directory."""
        assert "'absent.onnx' cannot be read: No such file or directory" == refusal(tmp_path / "absent.onnx")
        assert "storage: cannot open the directory of m.onnx: No such file or directory" == refusal(tmp_path / "absent" / "m.onnx")

    @pytest.mark.parametrize("content", [b"", b"not a model"])
    def test_no_model(self, refusal: Callable[..., str], tmp_path: Path, content: bytes) -> None:
        """Empty and other files."""
        (tmp_path / "m.onnx").write_bytes(content)
        assert refusal(tmp_path / "m.onnx").startswith("the file is not an ONNX model")

    def test_a_large_model(self, tmp_path: Path, onnx_file: OnnxFile, no_trial: Callable[..., None], kind_of: Callable[..., str]) -> None:
        """`max_model_bytes` is counted while copying."""
        store = Store.create(tmp_path / "small", limits=RegistryLimits(max_model_bytes=100))
        text = kind_of(lambda: publish(store, onnx_file(), name="m", publisher="ann", now_s=NOW_S, trial=no_trial))
        assert "invalid_model: 'any.onnx' has more than the 100 bytes that are allowed" == text

    def test_external_data_that_is_a_link(self, refusal: Callable[..., str], onnx_file: OnnxFile) -> None:
        """The same rules hold for every file."""
        path = onnx_file(external=True)
        path.with_name("weights.bin").rename(path.with_name("real.bin"))
        path.with_name("weights.bin").symlink_to("real.bin")
        assert "'weights.bin' is a symbolic link" == refusal(path)
        path.with_name("weights.bin").unlink()
        os.link(path.with_name("real.bin"), path.with_name("weights.bin"))
        assert "'weights.bin' has several names (hard links)" == refusal(path)

    def test_missing_and_short_external_data(self, refusal: Callable[..., str], onnx_file: OnnxFile) -> None:
        """Every byte that the model refers to must be there."""
        path = onnx_file(external=True)
        weights = path.with_name("weights.bin")
        content = weights.read_bytes()
        weights.write_bytes(content[:-1])
        assert f"external data 'weights.bin' has {len(content) - 1} bytes where the model refers to {len(content)}" == refusal(path)
        weights.unlink()
        assert "'weights.bin' cannot be read: No such file or directory" == refusal(path)

    def test_external_data_with_the_models_name(self, refusal: Callable[..., str], onnx_file: OnnxFile, gemm: Gemm) -> None:
        """It would have to be stored under the name that the ONNX file gets."""
        model = gemm()
        model.graph.initializer[0].ClearField("raw_data")
        model.graph.initializer[0].data_location = TensorProto.EXTERNAL
        model.graph.initializer[0].external_data.add(key="location", value="model.onnx")
        assert "external data cannot be named model.onnx" == refusal(onnx_file(model=model))

    @pytest.mark.parametrize(
        ("limits", "text"),
        [
            (RegistryLimits(max_files=1), "invalid_model: the model has more than 1 files"),
            (RegistryLimits(max_data_bytes=10), "invalid_model: 'weights.bin' has more than the 10 bytes that are allowed"),
        ],
    )
    def test_limits_of_external_data(
        self,
        tmp_path: Path,
        onnx_file: OnnxFile,
        no_trial: Callable[..., None],
        limits: RegistryLimits,
        text: str,
        kind_of: Callable[..., str],
    ) -> None:
        """Number and size of files are bounded."""
        store = Store.create(tmp_path / "small", limits=limits)
        path = onnx_file(external=True)
        assert text == kind_of(lambda: publish(store, path, name="m", publisher="ann", now_s=NOW_S, trial=no_trial))

    def test_the_file_may_change_after_it_was_copied(self, store: Store, onnx_file: OnnxFile) -> None:
        """What was checked is what is stored: a later write to the submitted file goes nowhere."""
        path = onnx_file(2.0)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()

        def overwrite(files: Submitted, limits: RegistryLimits) -> None:
            path.write_bytes(b"something else")

        assert "sha256:" + digest == publish(store, path, name="m", publisher="ann", now_s=NOW_S, trial=overwrite).model_digest


class TestTrial:
    """Models that only the installed runtime can judge; each costs a child process."""

    @pytest.mark.parametrize(
        ("build", "text"),
        [
            ({"ir_version": 99}, "IR version 99 is not between 3 and 14"),
            ({"domain": "com.microsoft", "op": "Nothing"}, "the installed ONNX Runtime cannot load the model: "),
            ({"op": "Nothing"}, "the ONNX checker refuses the model: No Op registered for Nothing"),
        ],
        ids=["ir", "domain", "operator"],
    )
    def test_not_for_this_runtime(
        self, refusal: Callable[..., str], onnx_file: OnnxFile, gemm: Gemm, build: dict[str, Any], text: str
    ) -> None:
        """Too new a format, an operator that nobody has: named, without a path of this machine."""
        reason = refusal(onnx_file(model=gemm(**build)), trial=load_in_child)
        assert reason.startswith(text)
        assert "/proc" not in reason

    def test_a_new_operator_set(self, refusal: Callable[..., str], onnx_file: OnnxFile, gemm: Gemm) -> None:
        """An operator set past the gate's bounds, and one that the gate lets pass and the checker or the runtime does not know."""
        assert "operator set 999 is not between 7 and 28" == refusal(onnx_file(model=gemm(opset=999)))
        reason = refusal(onnx_file(model=gemm(opset=999)), trial=load_in_child, gate=Gate(max_opset=999))
        assert reason.startswith(("the ONNX checker", "the installed ONNX Runtime"))

    def test_the_time_limit(self, tmp_path: Path, onnx_file: OnnxFile, kind_of: Callable[..., str]) -> None:
        """A model that does not load in time is refused and the child is gone."""
        store = Store.create(tmp_path / "hasty", limits=RegistryLimits(trial_timeout_s=0.01))
        text = kind_of(lambda: publish(store, onnx_file(), name="m", publisher="ann", now_s=NOW_S))
        assert "invalid_model: the model hangs: the trial took more than 0.01 s and was ended" == text

    def test_the_memory_limit(self, tmp_path: Path, onnx_file: OnnxFile, kind_of: Callable[..., str]) -> None:
        """A child that cannot get memory is a refusal, not a crash of the publisher."""
        store = Store.create(tmp_path / "tight", limits=RegistryLimits(trial_memory_bytes=1 << 20))
        text = kind_of(lambda: publish(store, onnx_file(), name="m", publisher="ann", now_s=NOW_S))
        assert text.startswith("invalid_model: the model ")
        assert [] == store.models()
