"""What a version holds beside its model: written once, read back whole, absent where nothing was given."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from registry import parts as parts_module
from registry.columns import Column
from registry.golden import Golden, GoldenRequest, golden_of, tensor_of
from registry.manifest import PART_TITLES
from registry.names import blob_key
from registry.parts import MAX_CARD_BYTES, Parts, StoredParts, read_parts
from registry.profile import encode
from registry.profiling import profile_of
from registry.publish import Published, publish
from registry.schema import Range, contract_file
from registry.serving import Serving
from registry.store import Store
from registry.training import TrainingRecord, training_record
from registry.verify import verify

OnnxFile = Callable[..., Path]
NOW_S = 1_700_000_000.25
RECORD = {
    "git_sha": "0" * 40,
    "git_dirty": False,
    "lock_digest": "sha256:" + "1" * 64,
    "dataset_digest": "sha256:" + "2" * 64,
    "dataset_rows": 1000,
    "parameters": {"trees": 60, "rate": 0.1, "features": ["x", "t"], "note": None},
    "seed": 7,
    "metrics": {"all": {"auc": 0.9}, "carrier=UA": {"auc": 0.8}},
    "base_version": 3,
}
X = np.ones((2, 4), np.float32)


def _put(store: Store, path: Path, parts: Parts, **options: Any) -> Published:
    return publish(store, path, name="m", publisher="ann", now_s=NOW_S, parts=parts, **options)


def _read(store: Store, version: int = 1) -> StoredParts:
    return read_parts(store.manifest("m", version), store.read_blob)


def test_all_parts(store: Store, onnx_file: OnnxFile) -> None:
    """Each part is a layer with a media type of its own and comes back as it was, the golden requests with the model's answers."""
    parts = Parts(
        contract=contract_file({"inputs": {"x": {"range": {"min": 0}, "unit": "km"}}}),
        golden=golden_of({"x": X}),
        training=training_record(RECORD),
        card="# Flights\n\nSays **which** are late.\n",
        serving=Serving(format=1, max_batch_size=8),
        profile=encode(profile_of([Column("input", "x", X)]).profile),
    )
    _put(store, onnx_file(2.0), parts)
    manifest = store.manifest("m", 1)
    assert {title: PART_TITLES[title] for title in PART_TITLES} == {layer.title: layer.media_type for layer in manifest.parts}
    found = _read(store)
    assert (parts.training, parts.card, parts.serving, parts.profile) == (found.training, found.card, found.serving, found.profile)
    assert found.schema is not None
    assert (Range(min=0), "km") == (found.schema.inputs[0].range, found.schema.inputs[0].unit)
    assert found.golden is not None
    assert [tensor_of(np.full((rows, 3), 10, np.float32)) for rows in (1, 1, 2)] == [
        request.outputs["y"] for request in found.golden.requests
    ]
    assert [] == verify(store)


def test_no_parts_no_change(store: Store, onnx_file: OnnxFile, no_trial: Callable[..., None]) -> None:
    """A manifest without parts is, to the byte, what it was before there were parts."""
    _put(store, onnx_file(), Parts(), trial=no_trial)
    manifest = store.manifest("m", 1)
    assert ["model.onnx"] == [layer.title for layer in manifest.layers]
    written = store.read_blob(store.record("m", 1).manifest)
    layer, config = manifest.layers[0], manifest.config
    expected = (
        '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/vnd.tidegate.model.v1",'
        f'"config":{{"mediaType":"application/vnd.tidegate.model.contract.v1+json","digest":"{config.digest}","size":{config.size}}},'
        f'"layers":[{{"mediaType":"application/vnd.tidegate.model.onnx.v1","digest":"{layer.digest}","size":{layer.size},'
        '"annotations":{"org.opencontainers.image.title":"model.onnx"}}]}'
    )
    assert expected == written.decode()
    assert StoredParts(None, None, None, None, None, None) == _read(store)


def test_a_part_changes_the_digest(store: Store, onnx_file: OnnxFile, no_trial: Callable[..., None]) -> None:
    """Another card is another version, of the same model file."""
    first, second, again = (_put(store, onnx_file(), Parts(card=card), trial=no_trial) for card in ("a", "b", "a"))
    assert first.digest == again.digest != second.digest
    assert first.model_digest == second.model_digest


class TestGolden:
    """Requests with and without answers."""

    def test_right_answers(self, store: Store, onnx_file: OnnxFile) -> None:
        """Answers within the tolerance are kept as they were given."""
        request = GoldenRequest(inputs={"x": tensor_of(X)}, outputs={"y": tensor_of(np.full((2, 3), 10.0001, np.float32))})
        _put(store, onnx_file(2.0), Parts(golden=Golden(requests=(request,))))
        assert Golden(requests=(request,)) == _read(store).golden

    @pytest.mark.parametrize(
        ("inputs", "outputs", "text"),
        [
            (
                {"x": X},
                {"y": np.full((2, 3), 11, np.float32)},
                "golden request 1 is answered otherwise: output 'y' has 6 of 6 values differ",
            ),
            (
                {"x": X},
                {"y": np.full((1, 3), 10, np.float32)},
                "golden request 1 is answered otherwise: output 'y' has tensor(float) of shape",
            ),
            ({"x": X}, {"z": X}, "golden request 1 does not have the model's inputs, or asks for an output that it does not have"),
            ({}, {}, "golden request 1 does not have the model's inputs"),
            ({"x": X, "w": X}, {}, "golden request 1 does not have the model's inputs"),
            ({"x": X.astype(np.float64)}, {}, "golden request 1 has tensor(double) for input 'x', which is tensor(float)"),
            ({"x": X[:, :3]}, {}, "golden request 1 fails: "),
        ],
    )
    def test_refused(
        self, store: Store, onnx_file: OnnxFile, inputs: dict[str, Any], outputs: dict[str, Any], text: str, kind_of: Callable[..., str]
    ) -> None:
        """Wrong answers and requests that are none for this model; nothing is stored."""
        request = GoldenRequest(
            inputs={name: tensor_of(array) for name, array in inputs.items()},
            outputs={name: tensor_of(array) for name, array in outputs.items()},
        )
        before = sorted(store.medium.root.rglob("*"))
        assert kind_of(lambda: _put(store, onnx_file(2.0), Parts(golden=Golden(requests=(request,))))).startswith("invalid_model: " + text)
        assert before == sorted(store.medium.root.rglob("*"))

    def test_answers_need_a_trial(
        self, store: Store, onnx_file: OnnxFile, no_trial: Callable[..., None], kind_of: Callable[..., str]
    ) -> None:
        """Without one nothing could fill them in."""
        text = kind_of(lambda: _put(store, onnx_file(), Parts(golden=golden_of({"x": X})), trial=no_trial))
        assert "invalid_model: golden requests without answers need a trial that answers them" == text


class TestTraining:
    """Where a version comes from."""

    def test_bytes(self) -> None:
        """The format is inside, and the order in which things were said does not matter."""
        record = training_record(RECORD)
        turned = training_record(dict(reversed(RECORD.items())))
        assert msgspec.json.encode(record, order="deterministic") == msgspec.json.encode(turned, order="deterministic")
        assert 1 == json.loads(msgspec.json.encode(record))["format"]

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            ({"git_sha": "main"}, "the training record is not one: "),
            ({"git_dirty": None}, "the training record is refused: a commit needs to say whether files differed from it"),
            ({"lock_digest": "md5:0"}, "the training record is not one: "),
            ({"base_version": 0}, "the training record is not one: "),
            ({"seed": 1.5}, "the training record is not one: "),
            ({"metrics": {"all": {"auc": float("nan")}}}, "the training record is refused: a parameter or metric is not finite"),
            ({"parameters": {"rates": [0.1, float("inf")]}}, "the training record is refused: a parameter or metric is not finite"),
            ({"parameters": {"x": "x" * (1 << 20)}}, "the training record is refused: it has more than 1048576 bytes"),
            ({"format": 2}, "the training record is not one: "),
            ({"model": "x"}, "the training record is not one: Object contains unknown field `model`"),
        ],
    )
    def test_refused(self, change: dict[str, Any], text: str, kind_of: Callable[..., str]) -> None:
        """Values of the wrong kind, that do not fit together, or that JSON cannot hold."""
        assert kind_of(lambda: training_record(RECORD | change)).startswith("invalid_model: " + text)

    def test_checked_again_at_publish(self, store: Store, onnx_file: OnnxFile, kind_of: Callable[..., str]) -> None:
        """A record that was built by hand passes the same checks."""
        record = TrainingRecord(format=1, metrics={"all": {"auc": float("inf")}})
        assert "not finite" in kind_of(lambda: _put(store, onnx_file(), Parts(training=record)))


@pytest.mark.parametrize("card", ["", " \n", "a\x1b[2J", "a\0", "\ud800", "x" * (MAX_CARD_BYTES + 1)])
def test_refused_cards(store: Store, onnx_file: OnnxFile, card: str, kind_of: Callable[..., str]) -> None:
    """Nothing to read, too much of it, or something that would drive a terminal."""
    assert kind_of(lambda: _put(store, onnx_file(), Parts(card=card))).startswith("invalid_model: the model card ")


def test_refused_profiles(store: Store, onnx_file: OnnxFile, kind_of: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is none, and so is what contradicts itself or is too much."""
    content = encode(profile_of([Column("input", "x", X)]).profile)
    for profile in (b"", b"{}", content.replace(b'"rows":2', b'"rows":3')):
        assert kind_of(lambda profile=profile: _put(store, onnx_file(), Parts(profile=profile))).startswith(
            "invalid_model: the reference profile is "
        )  # type: ignore[misc]
    monkeypatch.setattr(parts_module, "MAX_PROFILE_BYTES", 99)
    assert "invalid_model: the reference profile has more than 99 bytes" == kind_of(
        lambda: _put(store, onnx_file(), Parts(profile=content))
    )


@pytest.mark.parametrize("title", sorted(PART_TITLES))
def test_damaged_parts(store: Store, onnx_file: OnnxFile, no_trial: Callable[..., None], title: str, kind_of: Callable[..., str]) -> None:
    """Content that is not of the part's format is damage that names the blob."""
    manifest = _published_manifest(store, onnx_file, no_trial)
    layer = manifest.layers[0]
    broken = msgspec.structs.replace(layer, media_type=PART_TITLES[title], annotations={"org.opencontainers.image.title": title})
    text = kind_of(lambda: read_parts(msgspec.structs.replace(manifest, layers=(broken,)), lambda digest: b"\xff{}"))
    assert text.startswith("damaged: blobs/sha256/")


def _published_manifest(store: Store, onnx_file: OnnxFile, no_trial: Callable[..., None]) -> Any:
    _put(store, onnx_file(), Parts(), trial=no_trial)
    return store.manifest("m", 1)


class TestLoading:
    """What a session and its batches are made by comes with the loaded version."""

    def test_schema_and_serving(self, store: Store, onnx_file: OnnxFile, no_trial: Callable[..., None]) -> None:
        """The other parts are not read: damage to them is `verify`'s to find."""
        parts = Parts(contract=contract_file({"inputs": {"x": {"unit": "km"}}}), serving=Serving(format=1, max_batch_size=8), card="# m")
        _put(store, onnx_file(), parts, trial=no_trial)
        _put(store, onnx_file(), Parts(), trial=no_trial)
        _damage(store, "card.md")
        with store.load_verified("m", 1) as model, store.load_verified("m", 2) as plain:
            assert parts.serving == model.serving
            assert model.schema is not None
            assert "km" == model.schema.inputs[0].unit
            assert (None, None) == (plain.schema, plain.serving)

    @pytest.mark.parametrize("title", ["schema.json", "serving.json"])
    def test_damage(
        self, store: Store, onnx_file: OnnxFile, no_trial: Callable[..., None], kind_of: Callable[..., str], title: str
    ) -> None:
        """Named by its key."""
        parts = Parts(contract=contract_file({}), serving=Serving(format=1))
        _put(store, onnx_file(), parts, trial=no_trial)
        key = _damage(store, title)
        assert f"damaged: {key} does not hold what its name says" == kind_of(lambda: store.load_verified("m", 1))


def _damage(store: Store, title: str) -> str:
    """Change a part's blob: its key."""
    (part,) = (layer for layer in store.manifest("m", 1).parts if layer.title == title)
    path = Path(store.medium.root) / blob_key(part.digest)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b" ")
    return blob_key(part.digest)
