"""What is known of a model's traffic, as messages of tidegate.Monitoring. The document of the HTTP surface has the same names.

To make a message of a document takes 100 ms for 64 features: the evaluating process does it, and who answers puts the pieces together.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from google.protobuf import json_format

from gateway.pb import tidegate_pb2 as pb
from gateway.protocol.v2_grpc_answer import varint

_TAG = bytes([pb.ModelDriftResponse.VERSIONS_FIELD_NUMBER << 3 | 2])  # of a field with a length


class VersionMessage(msgspec.Struct, frozen=True):
    """A `Findings` message, and whose it is."""

    version: str
    message: bytes


def version_messages(findings: str) -> str:
    """JSON of a list of `VersionMessage`, for that of a list of `drift.findings.VersionFindings`."""
    made = [json_format.ParseDict(row, pb.Findings()) for row in msgspec.json.decode(findings)]
    return msgspec.json.encode([VersionMessage(one.version, one.SerializeToString()) for one in made]).decode()


def drift_message(model: str, versions: Sequence[VersionMessage]) -> bytes:
    """The ModelDriftResponse of the document that GET /v2/models/{model}/drift answers with."""
    head: bytes = pb.ModelDriftResponse(model=model).SerializeToString()
    return head + b"".join([part for one in versions for part in (_TAG, varint(len(one.message)), one.message)])
