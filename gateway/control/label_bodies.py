"""Requests that bring labels, on both transports: what is in them, and what is answered. Pure.

What an item lacks is said of the item; what the request lacks is said of all of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.errors import Code, TidegateError
from gateway.pb import tidegate_pb2 as pb
from gateway.protocol import v2_grpc
from registry.label import DEFAULT_NAME, Item, Label, label_of
from registry.labels import Outcome

MAX_LABELS = 10_000  # of one request
Given = Label | str  # or why it is none


class _Named(msgspec.Struct):
    model: str = ""


class _Peek(msgspec.Struct):
    """Enough to know whose labels these are."""

    labels: list[_Named]
    model: str = ""


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    labels: list[msgspec.Raw]
    model: str = ""


class Result(msgspec.Struct, omit_defaults=True):
    """What became of one label."""

    label_id: str
    status: str
    reason: str = ""


class LabelsAnswer(msgspec.Struct):
    """`results` in the order of the request."""

    accepted: int
    duplicates: int
    refused: int
    results: list[Result]


def models_in(content: bytes, *, message: bool) -> set[str]:
    """The models that a request names. Raises TidegateError for what is no such request, and for one that is too large."""
    if message:
        request = v2_grpc.parse(pb.LabelsRequest, content)
        names, model = [label.model for label in request.labels], request.model
    else:
        try:
            peek = msgspec.json.decode(content, type=_Peek)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise TidegateError(Code.INVALID_ARGUMENT, f"the body is no request with labels: {error}") from None
        names, model = [label.model for label in peek.labels], peek.model
    if not 0 < len(names) <= MAX_LABELS:
        raise TidegateError(Code.INVALID_ARGUMENT, f"{len(names)} labels, where 1 to {MAX_LABELS} are allowed in a request")
    return {name or model for name in names}


def labels_in(content: bytes, *, message: bool) -> tuple[list[str], list[Given]]:
    """The ids of all items, "" where one has none, and the labels or why they are none. Raises TidegateError as `models_in`."""
    if message:
        request = v2_grpc.parse(pb.LabelsRequest, content)
        return [label.label_id for label in request.labels], [_of_message(label, request.model) for label in request.labels]
    try:
        body = msgspec.json.decode(content, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TidegateError(Code.INVALID_ARGUMENT, f"the body is no request with labels: {error}") from None
    given = [_of_json(raw, body.model) for raw in body.labels]
    return [_id_of(raw) if isinstance(label, str) else label.label_id for raw, label in zip(body.labels, given, strict=True)], given


def answer_of(ids: Sequence[str], outcomes: Sequence[Outcome], *, message: bool) -> bytes:
    """What goes out."""
    words = [outcome.fate.value for outcome in outcomes]
    results = [Result(name, word, outcome.reason) for name, word, outcome in zip(ids, words, outcomes, strict=True)]
    counts = [words.count(word) for word in ("accepted", "duplicate", "refused")]
    if not message:
        return msgspec.json.encode(LabelsAnswer(counts[0], counts[1], counts[2], results))
    fates = [pb.LabelFate(label_id=one.label_id, status=one.status, reason=one.reason) for one in results]
    return pb.LabelsResponse(accepted=counts[0], duplicates=counts[1], refused=counts[2], results=fates).SerializeToString()


def _of_json(raw: msgspec.Raw, model: str) -> Given:
    try:
        return label_of(msgspec.json.decode(raw, type=Item), model=model)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        return str(error)[:300]


def _of_message(label: pb.Label, model: str) -> Given:
    what = label.WhichOneof("what")
    return Label(
        label_id=label.label_id,
        model=label.model or model,
        name=label.name or DEFAULT_NAME,
        value=label.value if what == "value" else None,
        text=label.text if what == "text" else None,
        request_id=label.request_id or None,
        client_request_id=label.client_request_id or None,
        unit_hash=label.unit_hash or None,
        row=label.row,
        event_us=label.event_us if label.HasField("event_us") else None,
        source=label.source,
        weight=label.weight if label.HasField("weight") else 1.0,
        final=label.final,
        supersedes=label.supersedes or None,
    )


class _Identified(msgspec.Struct):
    label_id: str = ""


def _id_of(raw: msgspec.Raw) -> str:
    try:
        return msgspec.json.decode(raw, type=_Identified).label_id[:256]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
