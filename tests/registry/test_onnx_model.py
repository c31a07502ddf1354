"""What is read out of an ONNX file, and what is refused in it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from onnx import ModelProto, TensorProto, helper

from registry.contract import Port
from registry.onnx_model import check, contract_of, external_sizes, parse

Gemm = Callable[..., ModelProto]


def _externalize(tensor: TensorProto, **entries: str) -> None:
    tensor.ClearField("raw_data")
    tensor.ClearField("external_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)


def test_contract(gemm: Gemm) -> None:
    """Inputs without initialisers, named and free dimensions, operator sets, producer."""
    model = gemm()
    model.graph.input.append(helper.make_tensor_value_info("W", TensorProto.FLOAT, [4, 3]))
    contract = contract_of(parse(model.SerializeToString()))
    assert (8, {"": 17}, "tests") == (contract.ir_version, contract.opsets, contract.producer)
    assert (Port(name="x", type="tensor(float)", shape=("batch", 4)),) == contract.inputs
    assert (Port(name="y", type="tensor(float)", shape=("batch", 3)),) == contract.outputs


def test_types_and_shapes(gemm: Gemm) -> None:
    """Sequences, maps, optionals and sparse tensors as ONNX writes them; unknown sizes and ranks."""
    model = gemm()
    string = helper.make_tensor_type_proto(TensorProto.STRING, [None, 2])
    mapping = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    kinds = [
        string,
        helper.make_sequence_type_proto(mapping),
        helper.make_optional_type_proto(string),
        helper.make_sparse_tensor_type_proto(TensorProto.DOUBLE, [1]),
        helper.make_tensor_type_proto(9999, []),
    ]
    del model.graph.output[:]
    for number, kind in enumerate(kinds):
        model.graph.output.add(name=str(number)).type.CopyFrom(kind)
    model.graph.output.add(name="untyped")
    outputs = contract_of(model).outputs
    expected = [
        "tensor(string)",
        "seq(map(int64,tensor(float)))",
        "optional(tensor(string))",
        "sparse_tensor(double)",
        "tensor(unknown)",
        "unknown",
    ]
    assert expected == [port.type for port in outputs]
    assert [(None, 2), None, None, None, (), None] == [port.shape for port in outputs]


@pytest.mark.parametrize("content", [b"", b"\x00", b"not a model", b"\x08\x08", b"\xff" * 100, b"<html>"])
def test_other_files(content: bytes, kind_of: Callable[..., str]) -> None:
    """Anything that is not an ONNX model, among them a message without a graph."""
    assert kind_of(lambda: parse(content)).startswith("invalid_model: the file is not an ONNX model")


def test_a_cut_model(gemm: Gemm, kind_of: Callable[..., str]) -> None:
    """Every prefix of a model is refused by the parser or by the checker, never by a crash."""
    content = gemm().SerializeToString()
    for length in range(len(content)):
        assert kind_of(lambda part=content[:length]: check(parse(part), part)).startswith("invalid_model: ")  # type: ignore[misc]


def test_the_checker_speaks(gemm: Gemm, kind_of: Callable[..., str]) -> None:
    """An operator without its inputs: ONNX's own reason in one line."""
    model = gemm()
    model.graph.node[0].input.pop()
    model.graph.node[0].input.pop()
    content = model.SerializeToString()
    text = kind_of(lambda: check(parse(content), content))
    assert text.startswith("invalid_model: the ONNX checker refuses the model: Node")
    assert "\n" not in text


def test_external_data_everywhere(gemm: Gemm) -> None:
    """Initialisers, sparse initialisers, attributes, subgraphs and functions are all looked at; the furthest byte counts."""
    model = gemm()
    tensor = TensorProto(data_type=TensorProto.FLOAT, dims=[1], name="t")
    places = {
        "initializer": model.graph.initializer.add(),
        "sparse": model.graph.sparse_initializer.add().values,
        "attribute": model.graph.node[0].attribute.add(name="t", type=4).t,
        "tensors": model.graph.node[0].attribute.add(name="ts", type=9).tensors.add(),
        "subgraph": model.graph.node[0].attribute.add(name="g", type=5).g.initializer.add(),
        "function": model.functions.add().node.add().attribute.add(name="t", type=4).t,
        "training": model.training_info.add().initialization.initializer.add(),
    }
    for name, place in places.items():
        place.CopyFrom(tensor)
        _externalize(place, location=f"{name}.bin", offset="8", length="4")
    _externalize(model.graph.initializer.add(), location="attribute.bin", offset="4096", length="1")
    assert {f"{name}.bin": 4097 if name == "attribute" else 12 for name in places} == external_sizes(parse(model.SerializeToString()))


def test_external_data_is_checked_without_its_files(gemm: Gemm) -> None:
    """The checker would look for weights.bin in the working directory; whether it exists is not its business here."""
    model = gemm()
    _externalize(model.graph.initializer[0], location="weights.bin", length="48")
    content = model.SerializeToString()
    check(parse(content), content)


@pytest.mark.parametrize(
    "location", ["", ".", "..", "../w.bin", "/etc/passwd", "a/w.bin", "a\\w.bin", ".hidden", "w\n", "*/_ORT_MEM_ADDR_/*"]
)
def test_refused_locations(gemm: Gemm, location: str, kind_of: Callable[..., str]) -> None:
    """Only a plain name beside the model, so that no path, and no address in memory, is followed."""
    model = gemm()
    _externalize(model.graph.initializer[0], location=location)
    text = f"invalid_model: tensor 'W' has its data in {location!r}; external data must be a file beside the model, without a path"
    assert text == kind_of(lambda: external_sizes(model))


@pytest.mark.parametrize("entries", [{"offset": "-1"}, {"length": "1e3"}, {"length": "9" * 19}, {"offset": "\u0661"}, {"length": " 4"}])
def test_refused_offsets(gemm: Gemm, entries: dict[str, str], kind_of: Callable[..., str]) -> None:
    """Numbers of bytes, in plain digits."""
    model = gemm()
    _externalize(model.graph.initializer[0], location="w.bin", **entries)
    assert "invalid_model: tensor 'W' has an offset or length that is not a number of bytes" == kind_of(lambda: external_sizes(model))


@pytest.mark.parametrize("extra", [("location", "b.bin"), ("url", "x")])
def test_refused_keys(gemm: Gemm, extra: tuple[str, str], kind_of: Callable[..., str]) -> None:
    """Repeated keys mean different things to different readers, unknown ones nothing."""
    model = gemm()
    _externalize(model.graph.initializer[0], location="a.bin")
    model.graph.initializer[0].external_data.add(key=extra[0], value=extra[1])
    assert "invalid_model: tensor 'W' has repeated or unknown keys in its external data" == kind_of(lambda: external_sizes(model))


def test_external_entries_without_the_flag_count(gemm: Gemm, kind_of: Callable[..., str]) -> None:
    """A reader that ignores `data_location` would follow them."""
    model = gemm()
    model.graph.initializer[0].external_data.add(key="location", value="../w.bin")
    assert "external data must be a file beside the model" in kind_of(lambda: external_sizes(model))
