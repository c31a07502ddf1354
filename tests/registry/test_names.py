"""The grammar of names."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.names import MAX_VERSION, blob_key, check_label, check_model_name, digest_of, is_plain_file_name, number_of, numbered


@pytest.mark.parametrize("name", ["m", "A1", "flights-late_2013.v1", "9", "a" * 128])
def test_model_names(name: str) -> None:
    """Letters, digits, dot, dash and underscore, up to 128."""
    assert name == check_model_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "a b", "-a", "_a", "a\n", "a\0", "ä", "a" * 129])
def test_refused_model_names(name: str, kind_of: Callable[..., str]) -> None:
    """Whatever could be a path, a hidden file or a different name on another system."""
    assert kind_of(lambda: check_model_name(name)).startswith("invalid_name: model name ")


@pytest.mark.parametrize("label", ["", "a\nb", "x" * 257, "\x1b[31m"])
def test_refused_labels(label: str, kind_of: Callable[..., str]) -> None:
    """People and publish ids are one printable line."""
    assert "invalid_name: publisher must be 1 to 256 printable characters" == kind_of(lambda: check_label(label, what="publisher"))


@pytest.mark.parametrize("name", ["weights.bin", "model.onnx_data", "layer 1", "onnx::MatMul_4", "ü" * 127])
def test_plain_file_names(name: str) -> None:
    """Names as exporters make them."""
    assert is_plain_file_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", ".x", "a/b", "/a", "a\\b", "a\0b", "a\n", "ü" * 128])
def test_refused_file_names(name: str) -> None:
    """Names that leave the directory or fit in none."""
    assert not is_plain_file_name(name)


@given(st.integers(1, MAX_VERSION))
def test_numbers_come_back(number: int) -> None:
    """A numbered file name is read as its number."""
    assert number == number_of(numbered(number))


@pytest.mark.parametrize(
    "name", ["00000000.json", "1.json", "000000001.json", "00000001.json~", "00000001", "0000000\u0661.json", "99999999999999999999.json"]
)
def test_other_files_have_no_number(name: str) -> None:
    """Only the canonical spelling counts, so one number has one file."""
    assert number_of(name) is None


def test_blob_key() -> None:
    """Blobs lie in 256 directories by the first two digits."""
    assert "blobs/sha256/e3/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" == blob_key(digest_of(b""))
