"""ModelInferRequest with every input's `contents` left as the bytes they came in.

Packed floats are on the wire what a runtime takes; as a parsed list they would become Python objects only to be packed again,
and packed integers would take up to eight times their size. So the decoder reads `contents` itself, and this is the same contract
with that one field as bytes (repeated, because protobuf merges a message that comes in pieces by joining them). It is derived from
the contract, so it cannot fall behind.
"""

from __future__ import annotations

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from gateway.pb import inference_pb2
from registry.pb import model_config_pb2


def _unparsed() -> type[Message]:
    pool = DescriptorPool()
    pool.AddSerializedFile(model_config_pb2.DESCRIPTOR.serialized_pb)
    file = FileDescriptorProto.FromString(inference_pb2.DESCRIPTOR.serialized_pb)
    request = next(message for message in file.message_type if message.name == "ModelInferRequest")
    tensor = next(message for message in request.nested_type if message.name == "InferInputTensor")
    contents = next(field for field in tensor.field if field.name == "contents")
    contents.ClearField("type_name")
    contents.type = FieldDescriptorProto.TYPE_BYTES
    contents.label = FieldDescriptorProto.LABEL_REPEATED
    pool.AddSerializedFile(file.SerializeToString())
    return GetMessageClass(pool.FindMessageTypeByName("inference.ModelInferRequest"))


UnparsedInferRequest = _unparsed()
