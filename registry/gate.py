"""What publishing accepts in a model: every bound of the scanner with its default and its reason. Those of files are in limits.py."""

from __future__ import annotations

import msgspec

MIB = 1 << 20
STANDARD_DOMAINS = ("", "ai.onnx.ml", "com.microsoft")  # ONNX, its classic models, and what ONNX Runtime's own tools fuse operators into


class Gate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of one ONNX graph. A gateway's config may hold this struct as it is."""

    domains: tuple[str, ...] = STANDARD_DOMAINS  # whose operators may occur; "" is ONNX's own. Functions of the model need no entry
    min_ir_version: int = 3  # before it, initialisers had no names of their own
    max_ir_version: int = 14
    min_opset: int = 7  # of ONNX's own domain: ONNX Runtime promises to run 7 and later
    max_opset: int = 28
    max_nodes: int = 200_000  # with every call of a function replaced by its body; a large language model has some 10,000
    max_messages: int = 2_000_000  # of all kinds, protobuf's and not the graph's: 2 bytes of a file can be one that takes 100 in memory
    max_depth: int = 8  # of graphs within graphs; a loop in a branch of a loop is 3
    max_tensors: int = 100_000  # constants of all kinds
    max_elements: int = 1 << 34  # of one constant: 64 GiB of float32
    max_sparse_elements: int = 1 << 26  # of one sparse constant once it is dense, which the runtime makes it: 256 MiB of float32
    max_rank: int = 16
    max_ports: int = 1024  # inputs, and as many outputs
    max_name: int = 1024  # characters of any name
    max_metadata_bytes: int = 4 * MIB  # all of the model's own key-value pairs; tokenizers are put there


DEFAULT_GATE = Gate()
