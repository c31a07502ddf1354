"""Hostile models, each built here and each with the reason for which it must be refused. Nothing is downloaded.

A case takes a sound model apart at one place. `IN_PROCESS` are refused by what is read in the file, `IN_CHILD` only by the runtime.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto, helper, numpy_helper

Change = Callable[[ModelProto], None]


@dataclass(frozen=True)
class Case:
    """One model: `change` is made to a sound one, `files` lie beside it, `reason` begins the refusal."""

    name: str
    change: Change
    reason: str
    files: tuple[tuple[str, bytes], ...] = ()


def sound() -> ModelProto:
    """y = x · W + B."""
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "W", "B"], ["y"], name="gemm")],
        "sound",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(np.ones((4, 3), np.float32), "W"), numpy_helper.from_array(np.ones(3, np.float32), "B")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="tests")


def _w(model: ModelProto) -> TensorProto:
    return model.graph.initializer[0]


def _externalize(tensor: TensorProto, **entries: str) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)


def _external(**entries: str) -> Change:
    return lambda model: _externalize(_w(model), **entries)


def _both(model: ModelProto) -> None:
    raw = _w(model).raw_data
    _externalize(_w(model), location="w.bin")
    _w(model).raw_data = raw


def _repeated_key(model: ModelProto) -> None:
    _externalize(_w(model), location="w.bin")
    _w(model).external_data.add(key="location", value="../w.bin")


def _dims(*dims: int) -> Change:
    def change(model: ModelProto) -> None:
        _w(model).dims[:] = dims

    return change


def _named(path: str, name: str) -> Change:
    """Set a name somewhere below the graph or model, consistently enough that only the name is wrong."""

    def change(model: ModelProto) -> None:
        match path:
            case "input":
                model.graph.input[0].name = model.graph.node[0].input[0] = name
            case "output":
                model.graph.output[0].name = model.graph.node[0].output[0] = name
            case "initializer":
                model.graph.initializer[0].name = model.graph.node[0].input[1] = name
            case "node":
                model.graph.node[0].name = name
            case "dimension":
                model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = name
            case "producer":
                model.producer_name = name

    return change


def _attribute_tensor(model: ModelProto) -> None:
    node = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.ones(4, np.float32), "inner"))
    _externalize(node.attribute[0].t, location="../../secret")
    model.graph.node.append(node)


def _subgraph(node: NodeProto | None = None, *, initializer: TensorProto | None = None) -> GraphProto:
    graph = helper.make_graph(
        [node or helper.make_node("Identity", ["x"], ["inner"])],
        "branch",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    if initializer is not None:
        graph.initializer.append(initializer)
    return graph


def _if(model: ModelProto, graph: GraphProto) -> None:
    model.graph.node.append(helper.make_node("If", ["flag"], ["branched"], then_branch=graph, else_branch=_subgraph()))


def _subgraph_tensor(model: ModelProto) -> None:
    tensor = numpy_helper.from_array(np.ones(4, np.float32), "deep")
    _externalize(tensor, location="/etc/passwd")
    _if(model, _subgraph(initializer=tensor))


def _subgraph_domain(model: ModelProto) -> None:
    _if(model, _subgraph(helper.make_node("Run", ["x"], ["inner"], domain="ai.onnx.contrib")))


def _function(model: ModelProto, name: str, nodes: list[NodeProto], *, domain: str = "own") -> None:
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid("own", 1)] if domain == "own" else [])]
    model.functions.append(helper.make_function(domain, name, ["a"], ["b"], nodes, opsets))
    if domain == "own" and "own" not in [opset.domain for opset in model.opset_import]:
        model.opset_import.append(helper.make_opsetid("own", 1))


def _function_tensor(model: ModelProto) -> None:
    node = helper.make_node("Constant", [], ["b"], value=numpy_helper.from_array(np.ones(4, np.float32), "inner"))
    _externalize(node.attribute[0].t, location="a/b")
    _function(model, "f", [node])


def _function_domain(model: ModelProto) -> None:
    _function(model, "f", [helper.make_node("PyOp", ["a"], ["b"], domain="pyopmulti")])


def _many_nodes(model: ModelProto) -> None:
    """Two bytes each in the file, some hundred in memory."""
    model.graph.MergeFromString(b"\x0a\x00" * 300_000)


def _many_messages(model: ModelProto) -> None:
    """Descriptions of values, which no count of the graph has in it."""
    model.graph.MergeFromString(b"\x6a\x00" * 2_100_000)


def _function_cycle(model: ModelProto) -> None:
    for name, called in (("f", "g"), ("g", "f")):
        _function(model, name, [helper.make_node(called, ["a"], ["b"], domain="own")])


def _function_bomb(model: ModelProto) -> None:
    """Eight functions, each calling the next ten times: a hundred million nodes in two kilobytes."""
    for level in range(8):
        called, domain = (f"f{level + 1}", "own") if level < 7 else ("Neg", "")
        nodes = [helper.make_node(called, ["a" if i == 0 else f"t{i}"], ["b" if i == 9 else f"t{i + 1}"], domain=domain) for i in range(10)]
        _function(model, f"f{level}", nodes)
    model.graph.node.append(helper.make_node("f0", ["x"], ["bomb"], domain="own"))


def _function_shadow(model: ModelProto) -> None:
    _function(model, "Gemm", [helper.make_node("Neg", ["a"], ["b"])], domain="ai.onnx")


def _function_twice(model: ModelProto) -> None:
    for op in ("Neg", "Abs"):
        _function(model, "f", [helper.make_node(op, ["a"], ["b"])])


def _nested(model: ModelProto) -> None:
    graph = _subgraph()
    for _ in range(10):
        inner = helper.make_node("If", ["flag"], ["inner"], then_branch=graph, else_branch=_subgraph())
        graph = _subgraph(inner)
    _if(model, graph)


def _sparse(dims: list[int], *, external: bool = False, indices: int = 1) -> Change:
    def change(model: ModelProto) -> None:
        sparse = SparseTensorProto(dims=dims)
        sparse.values.CopyFrom(numpy_helper.from_array(np.ones(1, np.float32), "sparse"))
        sparse.indices.CopyFrom(numpy_helper.from_array(np.zeros(indices, np.int64), "where"))
        if external:
            _externalize(sparse.values, location="w.bin")
        model.graph.sparse_initializer.append(sparse)

    return change


def _node(op: str, domain: str = "", **attributes: object) -> Change:
    def change(model: ModelProto) -> None:
        model.graph.node.append(helper.make_node(op, ["x"], ["extra"], domain=domain, **attributes))
        if domain:
            model.opset_import.append(helper.make_opsetid(domain, 1))

    return change


def _opset(domain: str, version: int) -> Change:
    return lambda model: model.opset_import.append(helper.make_opsetid(domain, version))


def _metadata(*pairs: tuple[str, str]) -> Change:
    return lambda model: [model.metadata_props.add(key=key, value=value) for key, value in pairs] and None


def _training(model: ModelProto) -> None:
    model.training_info.add().algorithm.node.add(op_type="Neg")


def _unknown_field(model: ModelProto) -> None:
    node = model.graph.node.add()
    node.MergeFromString(b"\xc2\x3e\x04evil")  # field 1000, which no release of ONNX has


def _set(field: str, value: int) -> Change:
    return lambda model: setattr(model, field, value)


def _data_type(kind: int) -> Change:
    return lambda model: setattr(_w(model), "data_type", kind)


def _booleans(model: ModelProto) -> None:
    model.graph.initializer.append(TensorProto(name="flags", data_type=TensorProto.BOOL, dims=[4], raw_data=b"\x00\x01\xff\x00"))


def _typed(model: ModelProto) -> None:
    model.graph.initializer.append(TensorProto(name="few", data_type=TensorProto.INT64, dims=[1000], int64_data=[1]))


def _wrong_field(model: ModelProto) -> None:
    model.graph.initializer.append(TensorProto(name="odd", data_type=TensorProto.INT64, dims=[2], float_data=[1, 2]))


def _twice(model: ModelProto) -> None:
    _w(model).float_data.extend([2.0] * 12)


def _raw_texts(model: ModelProto) -> None:
    model.graph.initializer.append(TensorProto(name="texts", data_type=TensorProto.STRING, dims=[1], raw_data=b"x"))


def _segment(model: ModelProto) -> None:
    _w(model).segment.end = 1 << 40


def _ranks(model: ModelProto) -> None:
    _w(model).dims[:] = [1] * 40


def _negative_input(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = -4


def _many_inputs(model: ModelProto) -> None:
    for number in range(2000):
        model.graph.input.append(helper.make_tensor_value_info(f"x{number}", TensorProto.FLOAT, [1]))


def _attribute_twice(model: ModelProto) -> None:
    for alpha in (1.0, 2.0):
        model.graph.node[0].attribute.append(helper.make_attribute("alpha", alpha))


def _attribute_name(model: ModelProto) -> None:
    model.graph.node[0].attribute.append(AttributeProto(name='a"b', type=AttributeProto.FLOAT, f=1.0))


_PLAIN = "external data must be a file beside the model, without a path"
IN_PROCESS = (
    Case("external-parent", _external(location="../w.bin"), f"tensor 'W' has its data in '../w.bin'; {_PLAIN}"),
    Case("external-absolute", _external(location="/etc/passwd"), f"tensor 'W' has its data in '/etc/passwd'; {_PLAIN}"),
    Case("external-address", _external(location="*/_ORT_MEM_ADDR_/*", offset="4096"), "tensor 'W' has its data in '*/_ORT_MEM_ADDR_/*'"),
    Case("external-backslash", _external(location="..\\w.bin"), "tensor 'W' has its data in '..\\\\w.bin'"),
    Case("external-newline", _external(location="w\n.bin"), "tensor 'W' has its data in 'w\\n.bin'"),
    Case("external-hidden", _external(location=".netrc"), "tensor 'W' has its data in '.netrc'"),
    Case("external-attribute", _attribute_tensor, "tensor 'inner' has its data in '../../secret'"),
    Case("external-subgraph", _subgraph_tensor, "tensor 'deep' has its data in '/etc/passwd'"),
    Case("external-function", _function_tensor, "tensor 'inner' has its data in 'a/b'"),
    Case("external-missing", _external(location="w.bin"), "'w.bin' cannot be read: No such file or directory"),
    Case(
        "external-short",
        _external(location="w.bin"),
        "external data 'w.bin' has 47 bytes where the model refers to 48",
        (("w.bin", bytes(47)),),
    ),
    Case(
        "external-past-the-end",
        _external(location="w.bin", offset="1", length="48"),
        "external data 'w.bin' has 48 bytes where the model refers to 49",
        (("w.bin", bytes(48)),),
    ),
    Case("external-other-length", _external(location="w.bin", length="4"), "tensor 'W' declares 48 bytes and refers to 4 in 'w.bin'"),
    Case("external-negative-offset", _external(location="w.bin", offset="-1"), "tensor 'W' has an offset or length that is not a number"),
    Case("external-overflow", _external(location="w.bin", offset="18446744073709551615"), "tensor 'W' has an offset or length that is not"),
    Case("external-two-locations", _repeated_key, "tensor 'W' has repeated or unknown keys in its external data"),
    Case("external-and-inline", _both, "tensor 'W' has values both in the model and in external data"),
    Case("external-library-name", _external(location="ops.so"), "tensor 'W' has its data in 'ops.so', which is named as a program library"),
    Case(
        "external-library", _external(location="w.bin"), "external data 'w.bin' is a program library", (("w.bin", b"\x7fELF" + bytes(44)),)
    ),
    Case(
        "external-part-name", _external(location="golden.json"), "external data cannot be named golden.json", (("golden.json", bytes(48)),)
    ),
    Case("external-sparse", _sparse([8], external=True), "sparse tensor 'sparse' has external data"),
    Case("sparse-bomb", _sparse([1 << 20, 1 << 20]), "sparse tensor 'sparse' has 1099511627776 elements once it is dense"),
    Case("sparse-negative", _sparse([-8]), "sparse tensor 'sparse' has a shape that is negative"),
    Case("sparse-few-indices", _sparse([8], indices=0), "sparse tensor 'sparse' does not have one index for each value"),
    Case("size-too-large", _dims(1000, 1000), "tensor 'W' declares 4000000 bytes and has 48"),
    Case("size-too-small", _dims(1), "tensor 'W' declares 4 bytes and has 48"),
    Case("size-overflow", _dims(1 << 33, 1 << 33), "tensor 'W' declares 73786976294838206464 elements, more than"),
    Case("size-negative", _dims(-4, -3), "tensor 'W' has a negative dimension"),
    Case("size-rank", _ranks, "tensor 'W' has 40 dimensions, more than 16"),
    Case("size-typed", _typed, "tensor 'few' declares 1000 elements and has 1 values in int64_data"),
    Case("values-in-another-field", _wrong_field, "tensor 'odd' declares 2 elements and has 2 values in float_data"),
    Case("values-twice", _twice, "tensor 'W' has its values twice: float_data and raw_data"),
    Case("values-raw-texts", _raw_texts, "tensor 'texts' has texts as raw bytes"),
    Case("values-booleans", _booleans, "tensor 'flags' has a truth value that is neither 0 nor 1"),
    Case("values-segment", _segment, "tensor 'W' is one segment of a larger one"),
    Case("type-unknown", _data_type(99), "tensor 'W' has the element type 99, which is unknown"),
    Case(
        "domain-import", _opset("evil.ops", 1), "operator domain 'evil.ops' is not allowed; allowed are ai.onnx, ai.onnx.ml, com.microsoft"
    ),
    Case("domain-python", _node("PyOp", "pyopmulti"), "operator domain 'pyopmulti' is not allowed"),
    Case(
        "domain-without-import",
        lambda model: setattr(model.graph.node[0], "domain", "evil"),
        "operator 'Gemm' is of domain 'evil', which is not",
    ),
    Case("domain-subgraph", _subgraph_domain, "operator 'Run' is of domain 'ai.onnx.contrib', which is not allowed"),
    Case("domain-function", _function_domain, "operator 'PyOp' is of domain 'pyopmulti', which is not allowed"),
    Case("domain-twice", _opset("ai.onnx", 9), "an operator domain is imported in two versions"),
    Case(
        "operator-compiled",
        _node("EPContext", "com.microsoft", ep_cache_context="../x"),
        "operator 'EPContext' of domain 'com.microsoft' is not",
    ),
    Case("operator-unknown", _node("Nothing"), "the ONNX checker refuses the model: No Op registered for Nothing"),
    Case("function-cycle", _function_cycle, "function 'f' calls itself"),
    Case("function-bomb", _function_bomb, "the model has 111111112 nodes with its functions in place, more than 200000"),
    Case("nodes-many", _many_nodes, "the model has 300001 nodes, more than 200000"),
    Case("function-shadow", _function_shadow, "function 'Gemm' is defined in domain 'ai.onnx', which belongs to the runtime"),
    Case("function-twice", _function_twice, "function 'f' is defined twice"),
    Case("depth", _nested, "graphs are nested more than 8 deep"),
    Case("name-quote", _named("input", 'x"y'), "valueinfo name 'x\"y' has a control character, a quote or a backslash"),
    Case("name-newline", _named("input", "../../x\n"), "valueinfo name '../../x\\n' has a control character"),
    Case("name-backslash", _named("output", "y\\z"), "valueinfo name 'y\\\\z' has a control character, a quote or a backslash"),
    Case("name-escape", _named("node", "\x1b[2J"), "node name '\\x1b[2J' has a control character"),
    Case("name-nul", _named("initializer", "W\0"), "tensor name 'W\\x00' has a control character"),
    Case("name-direction", _named("producer", "a\u202eb"), "model producer_name 'a\\u202eb' has a control character"),
    Case("name-dimension", _named("dimension", "a'b"), 'dimension "a\'b" has a control character, a quote'),
    Case("name-attribute", _attribute_name, "attribute name 'a\"b' has a control character, a quote"),
    Case("name-long", _named("node", "n" * 5000), "a node name has more than 1024 characters"),
    Case("attribute-twice", _attribute_twice, "operator 'Gemm' has an attribute twice"),
    Case("format-old", _set("ir_version", 2), "IR version 2 is not between 3 and 14"),
    Case("format-new", _set("ir_version", 1 << 40), f"IR version {1 << 40} is not between 3 and 14"),
    Case("opset-old", lambda model: setattr(model.opset_import[0], "version", 6), "operator set 6 is not between 7 and 28"),
    Case("training", _training, "the model has training graphs"),
    Case("metadata-runtime", _metadata(("ort_config", "{}")), "metadata key 'ort_config' would configure the runtime"),
    Case("metadata-twice", _metadata(("a", "1"), ("a", "2")), "a metadata key occurs twice"),
    Case("metadata-large", _metadata(("a", "x" * (5 << 20))), "the model's metadata has more than 4194304 bytes"),
    Case("unknown-field", _unknown_field, "a NodeProto has a field that this release does not know"),
    Case("input-negative", _negative_input, "a value has a negative dimension"),
    Case("input-many", _many_inputs, "the model has 2001 inputs or outputs, more than 1024"),
)


def _endless(model: ModelProto) -> None:
    """A loop that runs as often as an int64 can count, decided by the input, so that only running it shows it."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Neg", ["state"], ["next"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, None),
        ],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, []), helper.make_tensor_value_info("next", TensorProto.FLOAT, None)],
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array((1 << 63) - 1, np.int64), "turns"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "start"))
    model.graph.node[0].output[0] = "sum"
    model.graph.node.append(helper.make_node("Loop", ["turns", "start", "sum"], ["y"], body=body))


def _hungry(model: ModelProto) -> None:
    """An array of a size that the input decides: a tebibyte for one row."""
    model.graph.initializer.append(numpy_helper.from_array(np.array([1 << 38], np.int64), "huge"))
    model.graph.node[0].output[0] = "sum"
    model.graph.node.extend(
        [
            helper.make_node("Shape", ["x"], ["rows"], start=0, end=1),
            helper.make_node("Mul", ["rows", "huge"], ["size"]),
            helper.make_node("ConstantOfShape", ["size"], ["zeros"]),
            helper.make_node("ReduceSum", ["zeros"], ["total"], keepdims=0),
            helper.make_node("Add", ["sum", "total"], ["y"]),
        ]
    )


def _mismatch(model: ModelProto) -> None:
    """Shapes that the checker does not compare and the runtime does."""
    tensor = numpy_helper.from_array(np.ones((5, 3), np.float32), "W")
    model.graph.initializer[0].CopyFrom(tensor)


def _vocabulary(model: ModelProto) -> None:
    """A row of a table that has none: only the request shows it."""
    model.graph.initializer.append(numpy_helper.from_array(np.array([9], np.int64), "row"))
    model.graph.node[0].output[0] = "sum"
    model.graph.node.extend(
        [helper.make_node("Gather", ["x", "row"], ["picked"], axis=1), helper.make_node("Add", ["sum", "picked"], ["y"])]
    )


IN_CHILD = (
    Case("messages-many", _many_messages, "the file has more than 2000000 messages"),
    Case("runs-for-ever", _endless, "the model hangs: the trial took more than"),
    Case("eats-memory", _hungry, "the model needs more memory than the"),
    Case("does-not-load", _mismatch, "the installed ONNX Runtime cannot load the model"),
    Case("fails-on-its-golden-request", _vocabulary, "golden request 1 fails"),
)
