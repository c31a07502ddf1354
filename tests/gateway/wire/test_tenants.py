"""Requests of several tenants on one connection never mix, whatever is remembered of earlier header blocks (RFC 7541 §7.1)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gateway.wire.http2_wire import Fields
from tests.gateway.wire.tenants import AGAIN, INSERTED, NEVER, ORDERS, OTHER, PLAIN, STREAMED, UNARY, Line, Tenant

forms = st.lists(st.sampled_from([INSERTED, INSERTED, INSERTED, PLAIN, NEVER, AGAIN]), min_size=1, max_size=9).map(tuple)
metadata = st.lists(
    st.sampled_from([b"x-request-id", b"traceparent", b"authorization", b"x-tenant", b"x-key-bin"]), max_size=4, unique=True
)
paths = st.sampled_from([UNARY, UNARY, OTHER, STREAMED])
orders = st.sampled_from(sorted(ORDERS))


@st.composite
def tenant_lists(draw: st.DrawFn) -> list[Tenant]:
    """Two or three tenants, most of which differ in nothing but names and secrets."""
    first = Tenant(b"alpha", draw(paths), draw(orders), tuple(draw(metadata)), draw(forms), draw(st.booleans()))
    tenants = [first]
    for name in (b"beta", b"gamma")[: draw(st.integers(1, 2))]:
        if draw(st.booleans()):
            tenants.append(Tenant(name, first.path, first.order, first.metadata, first.forms, first.coded))
        else:
            tenants.append(Tenant(name, draw(paths), draw(orders), tuple(draw(metadata)), draw(forms), draw(st.booleans())))
    return tenants


def added(*more: tuple[bytes, bytes]) -> object:
    return lambda fields: [*fields, *more]


def replaced(name: bytes, value: bytes) -> object:
    return lambda fields: [(each, value if each == name else old) for each, old in fields]


def before(count: int, *more: tuple[bytes, bytes]) -> object:
    return lambda fields: [*fields[:count], *more, *fields[count:]]


TURNS = [  # what may be unlike the tenant's other requests, good and bad
    added((b"x-note", b"a b \xff")), added((b"x-note", b"")), added((b"host", b"gate")), added((b"accept-encoding", b"gzip")),
    added((b"content-type", b"application/grpc")), added((b"grpc-timeout", b"3S")), added((b"grpc-timeout", b"")),
    added((b"te", b"trailers")),
    before(4, (b"x-note", b"1")), before(5, (b"grpc-timeout", b"7S")), replaced(b":authority", b"gate.example"),
    replaced(b":path", OTHER),
    replaced(b":path", b"/t.Service/None"), replaced(b":method", b"PUT"), replaced(b"user-agent", b"tide/2"),
    lambda fields: [field for field in fields if field[0] not in (b"user-agent", b":authority")], lambda fields: fields[-3:],
    added((b"x-note", b"a\nb")), added((b"x-note", b" a")), added((b"x-note", b"a\0")), added((b"X-Note", b"a")), added((b"x note", b"a")),
    added((b"", b"a")), added((b"connection", b"close")), added((b":path", OTHER)), added((b":authority", b"gate")),
    added((b"te", b"gzip")),
    added((b"content-length", b"1x")), added((b"grpc-timeout", b"1S\n")), added((b"grpc-timeout", b" 1S")), added((b"grpc-timeout", b"1x")),
    before(2, (b"x-note", b"1")), before(1, (b":method", b"POST")), added(*[(b"x-fill", b"%d" % n) for n in range(20)]),
    added((b"x-long", b"l" * 1_900)), added((b"grpc-encoding", b"gzip")), before(5, (b"grpc-encoding", b"gzip")),
    added((b"grpc-encoding", b"identity")),
]  # fmt: skip

timeouts = st.sampled_from([None, None, b"1S", b"250m", b"4999m", b"30000001u", b"99999999H", b"1n", b"0m", b"", b"1s", b"123456789m"])
requests = st.fixed_dictionaries(
    {
        "line": st.sampled_from([0, 0, 0, 1]),
        "tenant": st.integers(0, 2),
        "timeout": timeouts,
        "number": st.integers(0, 3),
        "turn": st.one_of(st.none(), st.none(), st.none(), st.sampled_from(TURNS)),
        "forms": st.one_of(st.none(), st.none(), forms),
        "coded": st.one_of(st.none(), st.none(), st.booleans()),
        "squeezed": st.sampled_from([False, False, False, True]),
        "framing": st.sampled_from(["quick", "quick", "quick", "quick", "continued", "late", "trailers"]),
        "times": st.sampled_from([1, 1, 2, 3]),
        "resize": st.sampled_from([None, None, None, None, None, 0, 60, 130, 400, 4_096]),
        "finish": st.one_of(st.none(), st.none(), st.integers(0, 3)),
        "send": st.booleans(),
    }
)


@settings(max_examples=800, derandomize=True)
@given(tenant_lists(), st.lists(requests, min_size=2, max_size=12))
def test_rfc7541_7_1_every_request_carries_exactly_its_own_fields_whatever_other_tenants_sent(
    tenants: list[Tenant], steps: list[dict[str, object]]
) -> None:
    """Tenants interleave alike blocks: repeats, changed holes, insertions, evictions, sizes; good requests and bad ones."""
    lines = Line(), Line()
    for step in steps:
        line, tenant = lines[step["line"]], tenants[step["tenant"] % len(tenants)]
        fields: Fields = tenant.fields(step["timeout"], step["number"])
        if step["turn"] is not None:
            fields = step["turn"](fields)
        if step["resize"] is not None:
            line.encoder.header_table_size = step["resize"]
        for _ in range(step["times"]):
            line.open(
                fields, step["forms"] or tenant.forms, coded=tenant.coded if step["coded"] is None else step["coded"],
                squeezed=step["squeezed"], framing=step["framing"],
            )  # fmt: skip
        if step["finish"] is not None:
            line.finish(step["finish"])
        if step["send"]:
            line.send()
    for line in lines:
        while line.waiting:
            line.finish(0)
        line.send()
        line.check()
