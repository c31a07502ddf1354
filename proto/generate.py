"""Turns the contracts of this folder into Python modules: `make proto` writes `<package>/<name>_pb2.py` and `.pyi`.

protoc's own Python output registers messages in the process-wide pool, where they would clash with every other client of the
Open Inference Protocol (they all use the protobuf package `inference`). So we take protoc's descriptors and stubs, and write
modules that register in the private pool of `registry/pb/pool.py`. The same contracts give the same bytes.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2
from grpc_tools import protoc

HERE = Path(__file__).resolve().parent
# Contract → the package of its module, a file after the files that it imports. The registry reads repositories, so it has the first.
CONTRACTS = {"model_config.proto": "registry.pb", "inference.proto": "gateway.pb", "tidegate.proto": "gateway.pb"}
LITERAL_BYTES = 40  # of a descriptor on one line of a generated module


def compile_contracts(folder: Path) -> descriptor_pb2.FileDescriptorSet:
    """Run protoc; its stubs are left in `folder`. Raises `SystemExit` with protoc's status where a contract is wrong."""
    descriptors = folder / "contracts.bin"
    status = protoc.main(["protoc", f"-I{HERE}", f"--pyi_out={folder}", f"--descriptor_set_out={descriptors}", *CONTRACTS])
    if status:
        raise SystemExit(status)
    return descriptor_pb2.FileDescriptorSet.FromString(descriptors.read_bytes())


def module_name(contract: str) -> str:
    """The module of a contract, as protoc names it too."""
    return contract.removesuffix(".proto") + "_pb2"


def module_text(file: descriptor_pb2.FileDescriptorProto) -> str:
    """A module that registers `file` after its imports and holds its messages, enums and enum values."""
    serialized = file.SerializeToString(deterministic=True)
    chunks = [serialized[at : at + LITERAL_BYTES] for at in range(0, len(serialized), LITERAL_BYTES)]
    return "\n".join(
        [
            f'"""Generated from proto/{file.name} by `make proto`; edit that instead."""',
            "",
            *(f"from {CONTRACTS[needed]} import {module_name(needed)} as _{module_name(needed)}" for needed in file.dependency),
            "from registry.pb.pool import register",
            "",
            "DESCRIPTOR, _names = register(",
            *(f"    {chunk!r}" for chunk in chunks),
            ")",
            "globals().update(_names)",
            "",
        ]
    )


def stub_text(stub: str) -> str:
    """protoc's stub, importing other contracts' modules from their package; protoc leaves some parameters untyped."""
    for contract, package in CONTRACTS.items():
        stub = re.sub(rf"^import {module_name(contract)} as", f"from {package} import {module_name(contract)} as", stub, flags=re.MULTILINE)
    return f'# mypy: disable-error-code="type-arg, no-untyped-def"\n{stub}'


def generate() -> dict[str, str]:
    """Path below the root → content of everything that is generated."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        modules = {f"{module_name(file.name)}.py": module_text(file) for file in compile_contracts(folder).file}
        stubs = {path.name: stub_text(path.read_text()) for path in sorted(folder.glob("*.pyi"))}
    folders = {module_name(contract): package.replace(".", "/") for contract, package in CONTRACTS.items()}
    return {f"{folders[name.partition('.')[0]]}/{name}": text for name, text in (modules | stubs).items()}


def main() -> None:
    """Write the modules, and say which."""
    for name, text in generate().items():
        (HERE.parent / name).write_text(text)
        sys.stdout.write(f"{name}\n")


if __name__ == "__main__":
    main()
