"""A session of ONNX Runtime: signature, datatypes, what may be batched, and faults without paths."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import onnx
import pytest

from gateway.errors import Code
from gateway.protocol.tensors import DATATYPES, TensorSpec
from gateway.serving.model import Model, ModelFault, RunFault, RunOptions
from gateway.serving.sessions import SessionSettings
from tests.gateway.serving import graphs


def loaded(folder: Path, proto: onnx.ModelProto, **settings: int) -> Model:
    return Model("m", str(graphs.saved(folder / "model.onnx", proto)), SessionSettings(**settings))


def test_the_signature_is_the_graphs(tmp_path: Path) -> None:
    """Names, datatypes and shapes, free dimensions as -1, and the rows of one run as set."""
    signature = loaded(tmp_path, graphs.twice(), max_batch_size=32).signature
    assert (TensorSpec("x", "FP32", (-1, 2)),) == signature.inputs
    assert (TensorSpec("y", "FP32", (-1, 2)),) == signature.outputs
    assert ("m", 32) == (signature.model, signature.max_batch_size)


@pytest.mark.parametrize("datatype", [name for name in DATATYPES if name != "BYTES"])
def test_every_datatype_goes_in_and_comes_out(datatype: str, tmp_path: Path) -> None:
    """Bit by bit; BF16 as the bits that it travels in, zero rows too."""
    model = loaded(tmp_path, graphs.mirror(datatype))
    kind = DATATYPES[datatype].numpy
    rows = np.array([[0, 1], [1, 0], [1, 1]]).astype(kind) if datatype == "BOOL" else np.array([[0, 1], [2, 99], [7, 3]]).astype(kind)
    for given in (rows, rows[:0]):
        (out,) = model.run([given])
        assert (datatype, given.dtype, given.shape) == (model.signature.outputs[0].datatype, out.dtype, out.shape)
        assert given.tobytes() == out.tobytes()


def test_texts_go_in_and_come_out(tmp_path: Path) -> None:
    """BYTES are arrays of str."""
    rows = np.array([["a", "ü"], ["", "\U0001f30a"]], object)
    assert rows.tolist() == loaded(tmp_path, graphs.mirror("BYTES")).run([rows])[0].tolist()


@pytest.mark.parametrize(
    ("proto", "batched"),
    [(graphs.twice(), 16), (graphs.twice(batch=1), 0), (graphs.centred(), 0), (graphs.squeezed(), 0), (graphs.picky(), 16)],
    ids=["rows alone", "fixed", "rows depend on each other", "rows lost", "zeros are no input"],
)
def test_only_what_is_independent_is_batched(proto: onnx.ModelProto, batched: int, tmp_path: Path) -> None:
    """A free first dimension promises nothing: two rows must give what each gives alone. Where zeros fail, the graph's word stands."""
    assert batched == loaded(tmp_path, proto, max_batch_size=16).signature.max_batch_size


def test_control_flow_is_found(tmp_path: Path) -> None:
    """Its time depends on the data."""
    assert (True, False) == tuple(
        loaded(tmp_path / name, proto).never_inline for name, proto in (("if", graphs.chooser()), ("mul", graphs.twice()))
    )


def test_zeros_are_a_valid_input_of_any_rows(tmp_path: Path) -> None:
    """Free dimensions are 1, texts empty; without a batch dimension the rows are the graph's."""
    (x,) = loaded(tmp_path / "a", graphs.twice()).zeros(5)
    (texts,) = loaded(tmp_path / "b", graphs.mirror("BYTES")).zeros(1)
    (fixed,) = loaded(tmp_path / "c", graphs.twice(batch=3)).zeros(5)
    assert ((5, 2), np.float32, 0.0) == (x.shape, x.dtype, x.sum())
    assert ([["", ""]], (3, 2)) == (texts.tolist(), fixed.shape)


def test_an_input_out_of_range_is_the_callers_fault(tmp_path: Path) -> None:
    """An id without a row in its table: INVALID_ARGUMENT, naming the model."""
    model = loaded(tmp_path, graphs.picky())
    with pytest.raises(RunFault) as caught:
        model.run([np.array([99], np.int64)])
    assert Code.INVALID_ARGUMENT == caught.value.code
    assert caught.value.message.startswith("model 'm' failed on this input: ")
    assert [20.0] == model.run([np.array([6], np.int64)])[0].tolist()


def test_a_failing_node_is_the_models_fault_and_its_text_has_no_path(tmp_path: Path) -> None:
    """Shapes that do not fit each other inside the graph."""
    model = loaded(tmp_path, graphs.product())
    with pytest.raises(RunFault) as caught:
        model.run([np.ones((2, 3), np.float32), np.ones((2, 4), np.float32)])
    assert Code.INTERNAL == caught.value.code
    assert not [word for word in ("/", "onnxruntime", ".cc", "\n") if word in caught.value.message]
    assert len(caught.value.message) < 400


def test_a_run_can_be_terminated(tmp_path: Path) -> None:
    """Options that say so before the run begins end it with a fault."""
    options = RunOptions()
    options.terminate = True
    with pytest.raises(RunFault):
        loaded(tmp_path, graphs.twice()).run([np.ones((1, 2), np.float32)], options)


@pytest.mark.parametrize("content", [b"", b"not a model", graphs.twice().SerializeToString()[:-20]], ids=["empty", "text", "cut"])
def test_a_file_that_is_no_model_is_named_by_its_reason_only(content: bytes, tmp_path: Path) -> None:
    """ModelFault, without the path."""
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFault) as caught:
        Model("m", str(path), SessionSettings())
    assert str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_an_output_that_is_no_tensor_is_refused(tmp_path: Path) -> None:
    """The protocol has tensors only; the text says which one is none."""
    with pytest.raises(ModelFault, match=r"output 'y' has type seq\(tensor\(float\)\)"):
        loaded(tmp_path, graphs.sequence())


def test_weights_outside_the_file_are_read_from_memory(tmp_path: Path) -> None:
    """By the name that the graph gives them, wherever they lie."""
    proto = graphs.twice(weight=3.0)
    proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.full((2,), 3.0, np.float32), "w"))
    onnx.save(proto, tmp_path / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    weights = tmp_path / "weights.bin"
    with weights.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    weights.unlink()
    model = Model("m", str(tmp_path / "model.onnx"), SessionSettings(), external={"weights.bin": content})
    assert [[3.0, 6.0]] == model.run([np.array([[1, 2]], np.float32)])[0].tolist()
