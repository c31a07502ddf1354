"""The private descriptor pool of our contracts.

The messages of the Open Inference Protocol share the protobuf package `inference` with every client of it. Two of them in the
default pool refuse to load in one process; here, ours stand beside any other. Knows no particular message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message_factory import GetMessageClass

POOL = DescriptorPool()


def register(serialized: bytes) -> tuple[FileDescriptor, Mapping[str, Any]]:
    """Add a serialized FileDescriptorProto, whose imports are already in the pool.

    Returns its descriptor and what a generated module holds: message classes, enum wrappers and enum values, by name.
    """
    file = POOL.AddSerializedFile(serialized)  # None in the pure-Python implementation, which we do not support
    names: dict[str, Any] = {name: GetMessageClass(message) for name, message in file.message_types_by_name.items()}
    for name, enum in file.enum_types_by_name.items():
        names[name] = EnumTypeWrapper(enum)
        names.update((value.name, value.number) for value in enum.values)
    return file, names
