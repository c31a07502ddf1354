"""Manifests and contracts: deterministic to write, strict to read."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import contract as contracts
from registry.contract import Contract, Port
from registry.manifest import CONFIG_TYPE, DATA_TYPE, MODEL_FILE, MODEL_TYPE, Descriptor, Manifest, decode, encode, file_layer, manifest_of
from registry.names import digest_of, is_plain_file_name

_CONFIG = Descriptor(media_type=CONFIG_TYPE, digest=digest_of(b"contract"), size=8)
_TITLES = st.text(min_size=1, max_size=20).filter(is_plain_file_name).filter(lambda title: title != MODEL_FILE)


def _manifest(*titles: str) -> Manifest:
    layers = [file_layer(title=title, media_type=DATA_TYPE, digest=digest_of(title.encode()), size=len(title)) for title in titles]
    return manifest_of(_CONFIG, [*layers, file_layer(title=MODEL_FILE, media_type=MODEL_TYPE, digest=digest_of(b"model"), size=5)])


@given(st.sets(_TITLES, max_size=5).flatmap(lambda titles: st.permutations(sorted(titles))))
def test_same_files_same_bytes(titles: list[str]) -> None:
    """The order in which files were found does not matter, and what is written is read back."""
    assert encode(_manifest(*sorted(titles))) == encode(_manifest(*titles))
    assert _manifest(*titles) == decode(encode(_manifest(*titles)), key="k")


def test_it_is_an_oci_manifest() -> None:
    """The field names and fixed values of the OCI image specification."""
    written = json.loads(encode(_manifest("weights.bin")))
    assert ["schemaVersion", "mediaType", "artifactType", "config", "layers"] == list(written)
    assert (2, "application/vnd.oci.image.manifest.v1+json", "application/vnd.tidegate.model.v1") == tuple(written.values())[:3]
    assert {"mediaType": CONFIG_TYPE, "digest": _CONFIG.digest, "size": 8} == written["config"]
    assert {"org.opencontainers.image.title": "weights.bin"} == written["layers"][1]["annotations"]


def test_parts() -> None:
    """The model, its data and all blobs by name."""
    manifest = _manifest("b.bin", "a.bin")
    assert MODEL_FILE == manifest.model.title
    assert ["a.bin", "b.bin"] == [layer.title for layer in manifest.external_data]
    assert 4 == len(manifest.blobs)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b'"schemaVersion":2', b'"schemaVersion":3', "Invalid enum value 3"),
        (b'"layers"', b'"more":1,"layers"', "unknown field `more`"),
        (b'"layers"', b'"blobs"', "unknown field `blobs`"),
        (b"image.manifest.v1+json", b"image.index.v1+json", "Invalid enum value"),
        (b'"size":5', b'"size":-5', ">= 0"),
        (b'"size":5', b'"size":"5"', "Expected `int`"),
        (b"sha256:", b"sha512:", "regex"),
        (b"a.bin", b"../a", "leaves its directory"),
        (b"a.bin", b"z.bin", "not in order"),
        (b"a.bin", b"b.bin", "repeat"),
        (b':"model.onnx"', b':"other.onnx"', "not exactly one model"),
        (b"vnd.tidegate.model.onnx", b"vnd.tidegate.model.code", "unknown media type"),
        (b"model.contract.v1", b"model.contract.v9", "unknown media type"),
        (b"model.onnx.v1", b"model.external-data.v1", "not exactly one model"),
        (b"model.external-data.v1", b"model.card.v1+markdown", "a part has the name of another"),
        (b'{"schemaVersion"', b'{ "schemaVersion"', "not canonical"),
        (b"b.bin", b"\xff.bin", "not a manifest"),
    ],
)
def test_strict(old: bytes, new: bytes, reason: str, kind_of: Callable[..., str]) -> None:
    """Anything that `encode` would not write is damage, and the key is named."""
    content = encode(_manifest("a.bin", "b.bin")).replace(old, new, 1)
    text = kind_of(lambda: decode(content, key="blobs/k"))
    assert text.startswith("damaged: blobs/k is not a manifest: ")
    assert reason in text


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"{", b"{}", b"\x00" * 20, b"[" * 10_000])
def test_not_even_json(content: bytes, kind_of: Callable[..., str]) -> None:
    """Garbage has the same error as a wrong field."""
    assert kind_of(lambda: decode(content, key="k")).startswith("damaged: k is not a manifest: ")
    assert kind_of(lambda: contracts.decode(content, key="k")).startswith("damaged: k is not a model contract: ")


def test_contract_comes_back() -> None:
    """Sizes, names and unknown dimensions survive, and equal contracts have equal bytes."""
    port = Port(name="x", type="tensor(float)", shape=("batch", 4, None))
    whole = Contract(ir_version=8, opsets={"": 17, "ai.onnx.ml": 3}, producer="tests 1", inputs=(port,), outputs=())
    turned = Contract(ir_version=8, opsets={"ai.onnx.ml": 3, "": 17}, producer="tests 1", inputs=(port,), outputs=())
    assert whole == contracts.decode(contracts.encode(whole), key="k")
    assert contracts.encode(whole) == contracts.encode(turned)
