"""What a load brings with it: bundled in sealed memory, received by another process, and laid over a Triton-style repository."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.discovery import open_source
from registry.errors import Kind, RegistryError
from registry.names import digest_of
from registry.overlay import Overlay, bundled, name_in, path_of
from registry.sealed import seal_parts
from registry.store import Store
from registry.verified import VersionPolicy

TWO_ROWS = '{"max_batch_size": 2}'


@contextmanager
def brought(configuration: str = "{}", files: dict | None = None, model: str = "m") -> Iterator[Overlay]:
    """As a process has it that was told where it lies."""
    with bundled(model, configuration, files or {}) as file:
        overlay = Overlay.received(os.getpid(), file.fileno())
    yield overlay
    overlay.close()


def put(root: Path, key: str, content: bytes = b"onnx bytes") -> None:
    path = root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


names = st.text(st.sampled_from("ab.é✓-_ 1"), min_size=1, max_size=9).filter(lambda name: not name.startswith("."))


@settings(max_examples=60)
@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=50), st.dictionaries(st.tuples(st.integers(1, 1 << 62), names), st.binary())
)
def test_what_is_bundled_is_received(configuration: str, files: dict) -> None:
    """Every byte of every file, under its version and name; what holds the same has the same name, and other descriptors."""
    with brought(configuration, files) as overlay, brought(configuration, files) as again, closing(overlay.copy()) as copy:
        assert ("m", configuration) == (overlay.model, overlay.configuration)
        assert {number for number, _ in files} == set(overlay.versions)
        assert {(number, name) for number in overlay.versions for name in overlay.files(number)} == set(files)
        for (number, name), content in files.items():
            with overlay.sealed(number, name).file as file:
                assert content == os.pread(file.fileno(), len(content) + 1, 0)
        assert overlay.name == again.name == copy.name
        assert 3 == len({one.bundle.fd for one in (overlay, again, copy)})


def test_other_content_has_another_name() -> None:
    """Of the model, its configuration or any file."""
    with (
        brought() as one,
        brought(TWO_ROWS) as two,
        brought(model="n") as three,
        brought(files={(1, "a"): b"x"}) as four,
        brought(files={(2, "a"): b"x"}) as five,
        brought(files={(1, "a"): b"y"}) as six,
    ):
        assert 6 == len({overlay.name for overlay in (one, two, three, four, five, six)})
        assert (one.name, "") == (name_in(one.marked("content")), name_in("content"))


def test_what_is_gone_or_can_still_change_or_is_something_else_is_not_received(tmp_path: Path) -> None:
    """A descriptor that was closed, is another file now, or an unsealed one, or a pipe that nobody writes into."""
    file = bundled("m", "{}", {})
    descriptor = file.fileno()
    file.close()
    reading, writing = os.pipe()
    plain = os.open(tmp_path / "file", os.O_CREAT | os.O_RDWR)
    loose = os.memfd_create("loose", os.MFD_ALLOW_SEALING)
    other = seal_parts([b"\xff" * 100], name="other")
    short = seal_parts([b"x"], name="short")
    for found in (descriptor, reading, plain, loose, other.fileno(), short.fileno()):
        with pytest.raises(RegistryError, match="what came with the load is") as caught:
            Overlay.received(os.getpid(), found)
        assert caught.value.kind is Kind.CONFLICT
    for number in (reading, writing, plain, loose):
        os.close(number)
    other.close()
    short.close()


def header(*parts: object) -> bytes:
    text = json.dumps(parts).encode()
    return len(text).to_bytes(8, "big") + text


FORGED = [
    header("m", "{}", []) + b"x", header("m", "{}", [[1, "a", 2]]) + b"x", header("m", "{}", [[1, "a", -1], [1, "b", 2]]) + b"x",
    header("m", "{}", [[0, "a", 1]]) + b"x", header("m", "{}", [[1, "../a", 1]]) + b"x", header("m", " " * (256 << 10) + "{}", []),
    header("m", "{}", [[1, str(number), 0] for number in range(257)]), header("m", "{}"), header("m", 1, []), header(),
    (1 << 63).to_bytes(8, "big") + b"[]",
]  # fmt: skip


@pytest.mark.parametrize("content", FORGED)
def test_a_bundle_that_nobody_here_has_made_is_none(content: bytes) -> None:
    """Sizes that are not there, paths that lead out, too much of anything."""
    with seal_parts([content], name="forged") as file, pytest.raises(RegistryError, match="no bundle"):
        Overlay.received(os.getpid(), file.fileno())


def test_a_bundle_that_is_too_large_is_not_even_hashed() -> None:
    """Its bound is the caller's."""
    with bundled("m", "{}", {(1, "a"): bytes(1000)}) as file:
        with pytest.raises(RegistryError, match="more than 1000 bytes"):
            Overlay.received(os.getpid(), file.fileno(), max_bytes=1000)
        Overlay.received(os.getpid(), file.fileno(), max_bytes=1100).close()


def test_nobody_can_change_it() -> None:
    """Neither who made it nor who received it."""
    with bundled("m", "{}", {(1, "a"): b"x"}) as file:
        for deed in (lambda: os.pwrite(file.fileno(), b"y", 0), lambda: os.ftruncate(file.fileno(), 0)):
            with pytest.raises(PermissionError):
                deed()


@pytest.mark.parametrize(
    ("text", "expected"), [("1/model.onnx", (1, "model.onnx")), ("9223372036854775807/w bin", ((1 << 63) - 1, "w bin"))]
)
def test_a_path_is_a_version_and_a_plain_name(text: str, expected: tuple[int, str]) -> None:
    """As Triton's clients write it."""
    assert expected == path_of(text)


BAD_PATHS = [
    "", "model.onnx", "1/", "1", "0/model.onnx", "01/model.onnx", "-1/a", "٣/a", f"{2**63}/a", "1/../a", "../1/a", "/1/a", "1//a",
    "1/a/b", "1/.hidden", "1/a\\b", "1/a\n", "1/a\0", "1/..", "warmup/row", "1/" + "é" * 128, "file:///etc/passwd", "1/\ud800\n",
]  # fmt: skip


@pytest.mark.parametrize("text", BAD_PATHS)
def test_any_other_path_is_refused(text: str) -> None:
    """Nothing leads out of a version, on no system."""
    with pytest.raises(RegistryError, match=r"is no file of a version, as 1/model\.onnx is"):
        path_of(text)


class TestRepository:
    """Over a directory that stays as it is."""

    def test_a_configuration_takes_the_place_of_the_file(self, tmp_path: Path) -> None:
        """With other content of the same versions, until there is none any more."""
        put(tmp_path, "m/1/model.onnx")
        put(tmp_path, "m/2/model.onnx")
        put(tmp_path, "m/config.pbtxt", b"max_batch_size: 8")
        source = open_source(tmp_path)
        before = source.listing()
        with brought('{"max_batch_size": 2, "version_policy": {"all": {}}}') as overlay:
            source.overlay("m", overlay)
            assert source.overlaid("m") is overlay
            found = source.listing()
            assert ({"m": VersionPolicy(all=True)}, [1, 2]) == (found.policies, [ref.version for ref in found.versions])
            assert {overlay.name} == {name_in(ref.content) for ref in found.versions}
            assert found.versions[0].content == source.ref("m", 1).content
            with found.versions[0].open() as opened:
                assert (2, False, digest_of(b"onnx bytes")) == (opened.serving.max_batch_size, opened.submitted, opened.digest)
            source.overlay("m", None)
        assert before == source.listing()
        with source.ref("m", 1).open() as opened:
            assert opened.serving is not None
            assert 8 == opened.serving.max_batch_size

    def test_files_take_the_place_of_all_versions(self, tmp_path: Path) -> None:
        """Of a model that is there or of none, with external data; the rest of the repository is as before."""
        put(tmp_path, "m/1/model.onnx")
        put(tmp_path, "a/1/model.onnx")
        source = open_source(tmp_path)
        files = {(2, "net.onnx"): b"with a location", (2, "w.bin"): b"weights", (3, "net.onnx"): b"plain", (3, "notes"): b"n"}
        for model in ("m", "new"):
            with brought('{"default_model_filename": "net.onnx"}', files, model) as overlay:
                source.overlay(model, overlay)
                listed = {(ref.model, ref.version): ref for ref in source.listing().versions}
                assert [("a", 1)] + [("m", 1)] * (model == "new") + [(model, 2), (model, 3)] == sorted(listed)
                with listed[model, 2].open() as two, listed[model, 3].open() as three:
                    assert (["w.bin"], []) == (list(two.external_data), list(three.external_data))
                    assert (digest_of(b"with a location"), digest_of(b"weights")) == (two.digest, two.external_data["w.bin"].digest)
                    assert (True, b"plain") == (three.submitted, Path(three.path).read_bytes())
                source.overlay(model, None)
        assert [("a", 1), ("m", 1)] == [(ref.model, ref.version) for ref in source.listing().versions]

    def test_a_file_that_did_not_come_is_missing(self, tmp_path: Path) -> None:
        """Nothing of the directory stands in for it, nor for the data of a warm-up."""
        put(tmp_path, "m/1/model.onnx")
        put(tmp_path, "m/warmup/row", b"\0" * 4)
        source = open_source(tmp_path)
        with brought("{}", {(1, "other.onnx"): b"x"}) as overlay:
            source.overlay("m", overlay)
            with pytest.raises(RegistryError, match=r"version 1 of model 'm' has no file model\.onnx in its load"):
                source.ref("m", 1).open()
        sample = '{"name": "w", "batch_size": 1, "inputs": {"x": {"data_type": "TYPE_FP32", "dims": [1], "input_data_file": "row"}}}'
        found = pytest.raises(RegistryError, match="warmup/row is not among the files of this load")
        with brought(f'{{"model_warmup": [{sample}]}}', {(1, "model.onnx"): b"x"}) as overlay, found:
            source.overlay("m", overlay)
        with brought(f'{{"model_warmup": [{sample}]}}') as overlay:
            source.overlay("m", overlay)
            with source.ref("m", 1).open() as opened:
                assert b"\0" * 4 == opened.warmup[0].inputs["x"].data

    @pytest.mark.parametrize("bad", ['{"name": "n"}', '{"sequence_batching": {}}', "{"])
    def test_what_cannot_be_honoured_changes_nothing(self, tmp_path: Path, bad: str) -> None:
        """The overlay of before holds, or none."""
        put(tmp_path, "m/1/model.onnx")
        source = open_source(tmp_path)
        with brought(bad) as wrong, brought(TWO_ROWS) as good:
            for before in (None, good):
                source.overlay("m", before)
                with pytest.raises(RegistryError, match="the configuration in this load of 'm'") as caught:
                    source.overlay("m", wrong)
                assert (Kind.INVALID_MODEL, before) == (caught.value.kind, source.overlaid("m"))
        with brought() as overlay, pytest.raises(RegistryError, match="model name"):
            source.overlay("../m", overlay)

    def test_the_directory_of_one_model_has_no_other(self, tmp_path: Path) -> None:
        """What comes for it takes its place."""
        put(tmp_path, "model.onnx")
        source = open_source(tmp_path, model="m")
        with brought("{}", {(7, "model.onnx"): b"x"}) as overlay:
            source.overlay("m", overlay)
            assert [("m", 7)] == [(ref.model, ref.version) for ref in source.listing().versions]
            with pytest.raises(RegistryError, match="this server has the one model 'm'") as caught:
                source.overlay("n", overlay)
            assert caught.value.kind is Kind.NOT_FOUND


def test_a_registry_is_served_as_it_was_published(tmp_path: Path) -> None:
    """And says what to do instead."""
    Store.create(tmp_path / "registry")
    source = open_source(tmp_path / "registry")
    with (
        brought() as overlay,
        pytest.raises(RegistryError, match=r"publish a version of 'm' with another configuration, or change models\.m") as caught,
    ):
        source.overlay("m", overlay)
    assert caught.value.kind is Kind.UNSUPPORTED
    source.overlay("m", None)
    assert source.overlaid("m") is None
