"""Templates against the long way: whatever a message and whatever is done to its bytes, a template finds nothing or the same meaning."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Code, TidegateError
from gateway.limits import RequestLimits
from gateway.protocol import template
from gateway.protocol.binding import bind
from gateway.protocol.parameters import check_parameters
from gateway.protocol.template import Templates
from gateway.protocol.tensors import DATATYPES, Signature, TensorSpec
from gateway.protocol.v2_grpc import Decoder, read_parameters

LIMITS = RequestLimits(max_id_bytes=20)  # in the search; the cases by hand have longer ones, up to the encoding of 128 bytes
LONG = RequestLimits(max_id_bytes=160)
DECODER = Decoder(LIMITS)
Y = (TensorSpec("y", "FP32", (-1, 2)), TensorSpec("z", "FP32", (-1, 1)))


def _signature(model: str, *inputs: TensorSpec, batch: int = 8) -> Signature:
    return Signature(model, inputs, Y, batch)


_ROW = TensorSpec("x", "FP32", (-1, 2))
ROUTES = {
    ("m", 1): _signature("m", TensorSpec("x", "INT32", (-1, 2))),
    ("m", 2): _signature("m", _ROW),
    ("mm", 1): _signature("mm", _ROW),
    ("two", 1): _signature("two", _ROW, TensorSpec("n", "INT64", (-1, 1))),
    ("typed", 1): _signature("typed", TensorSpec("a", "FP64", (-1, 1)), TensorSpec("b", "FP32", (-1, 2))),
    ("free", 1): _signature("free", TensorSpec("x", "FP32", (-1, -1))),
    ("hollow", 1): _signature("hollow", TensorSpec("x", "FP32", (-1,)), TensorSpec("e", "FP32", (-1,)), batch=0),
    ("fixed", 1): _signature("fixed", TensorSpec("x", "BF16", (2, 2)), batch=0),
    ("flags", 1): _signature("flags", _ROW, TensorSpec("on", "BOOL", (-1, 3))),
    ("texts", 1): _signature("texts", TensorSpec("s", "BYTES", (-1, 1)), _ROW),
}
UNLEARNABLE = [item for item in ROUTES.items() if item[0][0] in {"flags", "texts"}]
LEARNABLE = [item for item in ROUTES.items() if item not in UNLEARNABLE and item[0] != ("m", 1)]


class Meaning(NamedTuple):
    """What a message asks for, its id and data apart."""

    version: tuple[str, int]
    rows: int
    shapes: tuple[tuple[int, ...], ...]
    outputs: tuple[int, ...] | None
    timeout: object
    size: int


def long_way(message: bytes | memoryview) -> tuple[Meaning, str, tuple[Any, ...], bool]:
    """Protobuf, the request's rules, the signature: (meaning, id, data of every input, whether in the signature's order)."""
    request = DECODER.decode(message)
    numbers = [number for model, number in ROUTES if model == request.model]
    number = int(request.version) if request.version.isdecimal() else max(numbers, default=0) if not request.version else 0
    if number not in numbers:
        raise TidegateError(Code.NOT_FOUND, "no such version")
    signature = ROUTES[request.model, number]
    bound = bind(signature, request, LIMITS, allow_empty=True)
    meaning = Meaning(
        (request.model, number), bound.rows, bound.shapes, bound.outputs, request.parameters.get("timeout"), bound.size
    )  # fmt: skip
    in_order = [tensor.name for tensor in request.inputs] == [spec.name for spec in signature.inputs]
    return meaning, request.id, tuple(data if isinstance(data, list) else bytes(data) for data in bound.data), in_order


def vary(meaning: Meaning, said: bytes) -> Meaning | None:
    """What the service does with a message that is known but for its parameters."""
    try:
        parameters = read_parameters(said, LIMITS)
        check_parameters(parameters, LIMITS)
    except TidegateError:
        return None
    return meaning._replace(timeout=parameters.get("timeout"))


def teach(templates: Templates, message: bytes | memoryview) -> None:
    """What the service does with a message that was not found."""
    try:
        meaning, _, _, in_order = long_way(message)
    except TidegateError:
        return
    if templates.wants(message) and in_order:
        templates.learn(message, meaning)


def id_of(field: bytes) -> str:
    """The id in an id field of fewer than 128 bytes."""
    assert not field or (field[0] == 0x1A and field[1] == len(field) - 2 < 128)
    return field[2:].decode()


def check(templates: Templates, message: bytes) -> bool:
    """The property, for the message as bytes and as a view; whether it was found."""
    for form in (message, memoryview(message)):
        found = templates.find(form)
        if found is not None:
            meaning, field, data = found
            expected = long_way(message)
            assert expected[:3] == (meaning, id_of(field), tuple(map(bytes, data)))
    return found is not None


# --- messages, written field by field so that every legal form of them exists -------------------------------------------------------

Field = tuple[int, bytes, int]  # number, payload, superfluous bytes of the length


def varint(value: int, padding: int = 0) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    for _ in range(padding):
        encoded[-1] |= 128
        encoded.append(0)
    return bytes(encoded)


def written(fields: list[Field]) -> bytes:
    """Length-delimited fields in the order given; a number below 0 is an unpacked float of field -number."""
    parts = []
    for number, payload, padding in fields:
        if number < 0:
            parts.append(varint(-number << 3 | 5) + payload)
        else:
            parts.append(varint(number << 3 | 2) + varint(len(payload), padding) + payload)
    return b"".join(parts)


def parameter(name: str, text: str) -> bytes:
    """An entry of the map of parameters."""
    return written([(1, name.encode(), 0), (2, written([(3, text.encode(), 0)]), 0)])


PADDING = st.sampled_from([0] * 40 + [1, 2])
LONG_IDS = ["", "é", *("q" * size for size in (19, 20, 21, 127, 128))]
IDS = st.one_of(st.text("abc123", max_size=12), st.text("abc123", max_size=12), st.sampled_from(LONG_IDS))


@st.composite
def input_fields(draw: st.DrawFn, spec: TensorSpec, rows: int, *, typed: bool) -> tuple[list[Field], bytes]:
    """One input as fields, and its raw data."""
    if spec.name == "e":
        rows = draw(st.sampled_from([0, 1]))
    shape = tuple([rows if i == 0 and size < 0 else 2 if size < 0 else size for i, size in enumerate(spec.shape)])
    count = 1
    for size in shape:
        count *= size
    if spec.datatype == "BYTES":
        texts = [draw(st.sampled_from([b"", b"a", "é".encode(), b"xyz"])) for _ in range(count)]
        data = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
        contents = [(8, text, 0) for text in texts]
    elif spec.datatype == "BOOL":
        data = draw(st.binary(min_size=count, max_size=count).map(lambda raw: bytes(byte & 1 for byte in raw)))
        contents = [(1, data, 0)]
    else:
        width = count * DATATYPES[spec.datatype].itemsize
        data = draw(st.binary(min_size=width, max_size=width))
        contents = [({"FP32": 6, "FP64": 7}.get(spec.datatype, 2), data, draw(PADDING))]
    fields: list[Field] = [
        (1, spec.name.encode(), draw(PADDING)), (2, spec.datatype.encode(), draw(PADDING)),
        (3, b"".join(map(varint, shape)), draw(PADDING)),
    ]  # fmt: skip
    if typed and count:
        if spec.datatype in {"INT32", "INT64"}:
            numbers = [draw(st.integers(0, 300)) for _ in range(count)]
            contents = [(3 if spec.datatype == "INT64" else 2, b"".join(map(varint, numbers)), 0)]
        fields += draw(split_contents(contents, spec))
    return fields, data


@st.composite
def split_contents(draw: st.DrawFn, contents: list[Field], spec: TensorSpec) -> list[Field]:
    """Typed contents whole, in two `contents`, in two chunks of one, or one number unpacked: all are the same to protobuf."""
    form = draw(st.sampled_from(["whole"] * 8 + ["two", "chunks", "unpacked"]))
    number, data, padding = contents[0]
    width = DATATYPES[spec.datatype].itemsize
    if form == "whole" or spec.datatype not in {"FP32", "FP64"} or len(data) < 2 * width:
        return [(5, written(contents), padding)]
    first, rest = data[:width], data[width:]
    if form == "two":
        return [(5, written([(number, first, 0)]), 0), (5, written([(number, rest, 0)]), 0)]
    if form == "unpacked" and spec.datatype == "FP32":
        return [(5, written([(-number, first, 0), (number, rest, 0)]), 0)]
    return [(5, written([(number, first, 0), (number, rest, 0)]), 0)]


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A message that means something, in one of its many forms: fields repeated, out of order, with long lengths."""
    (model, _), signature = draw(st.sampled_from(LEARNABLE * 3 + UNLEARNABLE))
    rows, typed = draw(st.integers(1, 3)), draw(st.integers(0, 2)) == 0
    fields: list[Field] = [(1, model.encode(), draw(PADDING))]
    version = draw(st.sampled_from([None, None, None, None, "", "1", "1", "2", "9"]))
    if version is not None:
        fields.append((2, version.encode(), draw(PADDING)))
    if draw(st.booleans()):
        fields.append((3, draw(IDS).encode(), draw(PADDING)))
    if draw(st.integers(0, 4)) == 0:
        fields.append((4, b"\x0a\x07timeout\x12\x03\x10\xe8\x07", draw(PADDING)))
    if draw(st.integers(0, 4)) == 0:
        fields.append((4, parameter("user", draw(st.sampled_from(["", "eve", "ann", "q" * 110, "q" * 111, "q" * 130]))), 0))
    raws: list[Field] = []
    for spec in signature.inputs:
        inner, data = draw(input_fields(spec, rows, typed=typed))
        fields.append((5, written(draw(disturbed(inner))), draw(PADDING)))
        raws.append((7, data, draw(PADDING)))
    if draw(st.integers(0, 2)) == 0:
        fields.append((6, written([(1, draw(st.sampled_from([b"y", b"z"])), 0)]), 0))
    return written(draw(disturbed(fields + ([] if typed else raws))))


@st.composite
def disturbed(draw: st.DrawFn, fields: list[Field]) -> list[Field]:
    """The fields as they are, or with one repeated, moved or taken away."""
    change = draw(st.sampled_from(["none"] * 8 + ["repeat", "move", "drop"]))
    at = draw(st.integers(0, len(fields) - 1))
    if change == "none":
        return fields
    rest = fields[:at] + fields[at + 1 :]
    if change == "drop":
        return rest
    to = draw(st.integers(0, len(rest)))
    among = fields if change == "repeat" else rest
    return [*among[:to], fields[at], *among[to:]]


def mutated(message: bytes, rng: random.Random) -> bytes:
    """The message with up to three changes: bits, bytes, cuts, insertions, and whole fields where a template looks for them."""
    for _ in range(rng.choice((0, 1, 1, 2))):
        at = rng.randrange(len(message) + 1)
        kind = rng.choice(["data", "data", "bit", "byte", "cut", "insert", "field", "field", "swap"])
        if kind == "bit" and at < len(message):
            message = message[:at] + bytes([message[at] ^ 1 << rng.randrange(8)]) + message[at + 1 :]
        elif kind == "byte":
            message = message[:at] + rng.choice(TELLING) + message[at + 1 :]
        elif kind == "cut":
            message = message[:at] + message[at + rng.randint(1, 8) :]
        elif kind == "insert":
            message = message[:at] + rng.randbytes(rng.randint(1, 4)) + message[at:]
        elif kind == "swap":
            other = rng.randrange(len(message) + 1)
            message = message[:at] + message[other : other + 4] + message[at + 4 :]
        elif kind == "field":
            message = with_field(message, rng.choice(FIELDS))
        elif len(message) > 8:
            message = message[:-4] + rng.randbytes(4)
    return message


TELLING = [bytes([value]) for value in (0x0A, 0x12, 0x1A, 0x2A, 0x3A, 0x00, 0x01, 0x02, 0x7F, 0x80, 0xFF)]
FIELDS = [
    b"\x12\x011", b"\x12\x012", b"\x12\x00", b"\x12\x03\x1a\x011", b"\x12\x81\x001", b"\x12\x80\x01" + b"1" * 128,
    b"\x1a\x00", b"\x1a\x01a", b"\x1a\x04long", b"\x1a\x02\xc3\xa9", b"\x1a\x01\xff", b"\x1a\x14" + b"q" * 20, b"\x1a\x15" + b"q" * 21,
    b"\x1a\x82\x00ab", b"\x1a\x80\x01" + b"q" * 128,
    b"\x1a\x02a", b"\x1a",
    b"\x22\x0b\x0a\x04user\x12\x03\x1a\x01a", b"\x22\x0e\x0a\x07timeout\x12\x03\x10\xe9\x07", b"\x22\x0d\x0a\x07timeout\x12\x02\x08\x01",
    b"\x22\x00", b"\x22\x02\x0a\x7f", b"\x22\x80\x00", b"\x22\x8b\x00\x0a\x04user\x12\x03\x1a\x01a",
    b"\x22\x11\x0a\x0bsequence_id\x12\x02\x10\x01",
    b"\x22\x82\x01\x0a\x7f" + b"n" * 127 + b"\x12\x00", b"\x22\x7f\x0a\x7d" + b"n" * 125,
]  # fmt: skip


def with_field(message: bytes, field: bytes) -> bytes:
    """`field` put in behind the model's name, an id behind the version, a parameter behind both."""
    at = message[1] + 2 if len(message) > 1 else 0
    for before in (0x12, 0x1A):
        if field[0] > before and message[at : at + 1] == bytes([before]) and len(message) > at + 1:
            at += message[at + 1] + 2
    return message[:at] + field + message[at:]


@settings(max_examples=250)
@given(st.lists(messages(), min_size=1, max_size=3), st.integers(0, 1 << 32))
def test_a_template_finds_nothing_or_what_the_long_way_finds(known: list[bytes], seed: int) -> None:
    """8,000 mutated messages, and the whole ones, against templates that were learned from their like."""
    templates = Templates(max_id_bytes=LIMITS.max_id_bytes, vary=vary)
    rng = random.Random(seed)
    for message in known + known:
        if templates.find(message) is None:
            teach(templates, message)
    for message in known + [mutated(rng.choice(known), rng) for _ in range(32)]:
        check(templates, message)


# --- by hand -------------------------------------------------------------------------------------------------------------------------


def request(*, model: str = "m", version: str = "", id_: bytes = b"", data: bytes = b"\1\2\3\4\5\6\7\x08", raw: bool = True) -> bytes:
    """One row for ("m", 2), as a client writes it."""
    tensor: list[Field] = [(1, b"x", 0), (2, b"FP32", 0), (3, b"\1\2", 0)]
    fields: list[Field] = [(1, model.encode(), 0)]
    fields += [(2, version.encode(), 0)] if version else []
    fields += [(3, id_, 0)] if id_ else []
    fields.append((5, written(tensor if raw else [*tensor, (5, written([(6, data, 0)]), 0)]), 0))
    return written(fields + ([(7, data, 0)] if raw else []))


def taught(*messages: bytes) -> Templates:
    templates = Templates(max_id_bytes=LONG.max_id_bytes, vary=vary)
    for message in messages * 2:
        teach(templates, message)
    return templates


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("version", ["", "2"])
def test_another_id_and_other_data_are_the_same_message(version: str, raw: bool) -> None:
    """The id is cut out before the rest is compared, whatever its length; the data is handed on as it came."""
    templates = taught(request(version=version, id_=b"first", raw=raw))
    for id_ in (b"", b"a", b"q" * 127):
        asked = request(version=version, id_=id_, data=b"abcdefgh", raw=raw)
        for form in (asked, memoryview(asked)):
            found = templates.find(form)
            assert found is not None
            assert (("m", 2), id_.decode(), (b"abcdefgh",)) == (found[0].version, id_of(found[1]), tuple(map(bytes, found[2])))


def test_other_parameters_are_the_same_message_with_another_meaning() -> None:
    """Each user is in the message that names them; what is said again and again is remembered, and no more than that."""
    plain, asked = request(), []

    def noted(meaning: Meaning, said: bytes) -> Meaning | None:
        asked.append(said)
        return vary(meaning, said)

    templates = Templates(max_id_bytes=LONG.max_id_bytes, vary=noted)
    for message in (plain, plain):
        teach(templates, message)
    at = plain.index(b"\x2a")
    late = [plain[:at] + written([(4, b"\x0a\x07timeout\x12\x02\x10" + bytes([us]), 0)]) + plain[at:] for us in range(1, 100)]
    for _ in range(2):
        for number, message in enumerate(late, 1):
            found = templates.find(message)
            assert found is not None
            assert (number, b"", (b"\1\2\3\4\5\6\7\x08",)) == (found[0].timeout, found[1], found[2])
    assert (2 * 99 - 16, None) == (len(asked), templates.find(plain)[0].timeout)  # type: ignore[index]


@pytest.mark.parametrize(
    "field", [b"\x22\x02\x0a\x7f", b"\x22\x11\x0a\x0bsequence_id\x12\x02\x10\x01", b"\x22\x0d\x0a\x07timeout\x12\x02\x08\x01"]
)
def test_parameters_that_are_refused_are_judged_the_long_way(field: bytes) -> None:
    """Which says what is wrong with them."""
    message = with_field(request(), field)
    with pytest.raises(TidegateError):
        long_way(message)
    assert taught(request()).find(message) is None


def test_a_message_is_learned_at_second_sight() -> None:
    """One that never returns pushes nothing out."""
    templates = Templates(max_id_bytes=LONG.max_id_bytes, vary=vary)
    teach(templates, request())
    assert templates.find(request()) is None
    teach(templates, request())
    assert templates.find(request()) is not None


def test_a_named_version_is_never_taken_for_the_default_one() -> None:
    """The names are compared whole: what is known without a version says nothing of a message with one."""
    templates = taught(request())
    assert [None, None, None] == [templates.find(request(version=version)) for version in ("1", "2", "9")]
    assert templates.find(request(model="mm")) is None


def test_contents_in_pieces_are_one_tensor() -> None:
    """Protobuf merges them, so they are no two holes."""
    tensor: list[Field] = [(1, b"x", 0), (2, b"FP32", 0), (3, b"\1\2", 0)]
    pieces: list[Field] = [(5, written([(6, part, 0)]), 0) for part in (b"abcd", b"efgh")]
    message = written([(1, b"m", 0), (5, written([*tensor, *pieces]), 0)])
    assert (b"abcdefgh",) == long_way(message)[2]
    assert taught(message).find(message) is None


@pytest.mark.parametrize("id_", ["é".encode(), b"q" * 128, b"q" * 161, b"\xff"])
def test_ids_with_rules_take_the_long_way(id_: bytes) -> None:
    """UTF-8 is checked, and a length above 127 has another encoding."""
    templates = taught(request())
    asked = request(id_=id_)
    assert [None, None] == [templates.find(asked), templates.find(memoryview(asked))]


FRAGMENTS = [b"", b"\x0a", b"\x0a\xff", b"\x0a\x01m", b"\x0a\x01m\x12", b"\x0a\x01m\x12\x80", b"\x0a\x01m\x1a\x05ab", b"\x12" * 64]


@pytest.mark.parametrize("message", FRAGMENTS)
def test_fragments_are_not_found_and_teach_nothing(message: bytes) -> None:
    """Lengths that point beyond the end are no position."""
    templates = taught(request())
    assert [None, None] == [templates.find(message), templates.find(memoryview(message))]
    assert not templates.wants(message)
    templates.learn(message, "never")
    assert templates.find(request()) is not None


def test_what_is_remembered_is_bounded() -> None:
    """So many templates, so many of one model and length, so many constant bytes; past them all are forgotten and learned anew."""
    templates = Templates(max_id_bytes=LONG.max_id_bytes, vary=vary)
    for number in range(template._MAX_TEMPLATES + 100):
        templates.learn(request(model=f"{number:04}"), number)
    assert 100 == len(templates._known) == templates._count
    for number in range(50):
        templates.learn(request(model="m"), number)
    (alike,) = templates._known[request(model="m")[:3]].values()
    assert template._MAX_ALIKE == len(alike)
    large = request(model="m")[:-10] + written([(6, b"\x0a\x7f" + b"o" * 127, 0)] * 40 + [(7, bytes(8), 0)])
    templates.learn(large, "large")
    assert templates.find(large) is None
    for number in range(template._MAX_SEEN + 10):
        templates.wants(request(model=str(number)))
    assert len(templates._seen) <= template._MAX_SEEN


def test_messages_of_a_thousand_models_are_all_remembered() -> None:
    """However alike their lengths are: no model takes the long way because others came first."""
    messages = [request(model=f"m{number:04}") for number in range(1_000)]
    templates = Templates(max_id_bytes=LONG.max_id_bytes, vary=vary)
    for number, message in enumerate(messages):
        templates.learn(message, number)
    assert list(range(1_000)) == [(templates.find(message) or [None])[0] for message in messages]
    assert list(range(1_000)) == [(templates.find(memoryview(message)) or [None])[0] for message in messages]


def test_what_is_remembered_is_bounded_in_bytes() -> None:
    """Long names fill the room before the count of templates does."""
    templates = Templates(max_id_bytes=LONG.max_id_bytes, vary=vary)
    for number in range(8_000):
        templates.learn(request(model=f"{number:04}" + "m" * 120, version="v" * 120), number)
    kept = [known for alike in templates._known.values() for same in alike.values() for known in same]
    assert 0 < templates._bytes <= template._MAX_KEPT_BYTES
    assert len(kept) == templates._count < 8_000


def test_a_long_parameter_is_not_forgotten_beside_a_short_one() -> None:
    """Its length is written in two bytes, by need or not: such messages take the long way, before it and behind it."""
    plain, timeout = request(), b"\x0a\x07timeout\x12\x03\x10\xe8\x07"
    at, short = plain.index(b"\x2a"), written([(4, parameter("user", "eve"), 0)])
    for long in (written([(4, timeout, 1)]), written([(4, parameter("note", "q" * 130), 0)])):
        templates = taught(plain[:at] + long + plain[at:], plain)
        for said in (long, short + long, long + short):
            assert templates.find(plain[:at] + said + plain[at:]) is None
        assert templates.find(plain[:at] + short + plain[at:]) is not None


def test_what_is_remembered_of_parameters_is_bounded() -> None:
    """Those of a message that is learned count with its constants, long ones are asked for anew, and all together have a bound."""
    plain = request()
    at = plain.index(b"\x2a")
    many = b"".join(written([(4, parameter(f"p{index}", "q" * 100), 0)]) for index in range(40))
    assert taught(plain[:at] + many + plain[at:]).find(plain) is None

    templates = taught(plain)
    for number in range(4):
        said = b"".join(written([(4, parameter(f"p{number}{index}", "q" * 100), 0)]) for index in range(3))
        assert templates.find(plain[:at] + said + plain[at:]) is not None
    assert 0 == templates._varied

    models = [request(model=f"model{number}") for number in range(template._MAX_VARIED // template._MAX_SAID + 2)]
    for message in models:
        templates.learn(message, Meaning(("m", 2), 1, ((1, 2),), None, None, 8))
    for message in models:
        behind = message.index(b"\x2a")
        for index in range(template._MAX_SAID + 1):
            assert templates.find(message[:behind] + written([(4, parameter("user", str(index)), 0)]) + message[behind:]) is not None
    assert template._MAX_VARIED == templates._varied
