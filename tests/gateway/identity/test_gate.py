"""Credentials to callers over time: who is let in, what ends a right, and what a flood of bad credentials leaves behind."""

from __future__ import annotations

import gc

import pytest

from gateway.errors import Code, TidegateError
from gateway.identity import gate as module
from gateway.identity.callers import Caller
from gateway.identity.certificates import Certificate
from gateway.identity.gate import Gate, Known
from gateway.identity.settings import Auth, Client
from tests.gateway.identity.issuing import NOW_S, api_key, auth, key_set, token
from tests.gateway.serving.serving_fakes import FakeLoop

INFER, META = "/inference.GRPCInferenceService/ModelInfer", "GET /v2/models"
BEARER = b"Bearer "


class Door:
    """A gate at a time that is moved by hand."""

    def __init__(self, settings: Auth | None = None, known: Known | None = None) -> None:
        self.clock = FakeLoop()
        self.asked = 0
        self.gate = Gate(settings or auth(), self.clock, ask=self._ask)
        self.gate.renew(known or Known())

    def _ask(self) -> None:
        self.asked += 1

    def code(self, caller: Caller, route: str = META, model: str | None = None) -> Code:
        """What a caller who comes now is told."""
        found = caller.refusal(route, model, self.clock.time)
        return Code.OK if found is None else found.code

    def shown(self, value: bytes | None, route: str = META, certificate: Certificate | None = None) -> Code:
        return self.code(self.gate.caller(value, certificate), route)


def test_a_key_is_good_for_its_scopes() -> None:
    """The scheme in any case; a scope more or less."""
    secret, known = api_key("a", "meta", "infer:rows")
    door = Door(known=Known(keys=(known,)))
    for scheme in ("Bearer", "bearer", "BEARER"):
        caller = door.gate.caller(f"{scheme} {secret}".encode())
        codes = [door.code(caller), door.code(caller, INFER, "rows"), door.code(caller, INFER, "texts")]
        assert [Code.OK, Code.OK, Code.PERMISSION_DENIED] == codes


@pytest.mark.parametrize(
    "value", [b"", b"Bearer", b"Bearer ", b"Basic %s", b"%s", b"Bearer\t%s", b"Bearer %s,", b"Bearer %s %s", b"Bearer x"]
)
def test_a_key_in_another_form_is_none(value: bytes) -> None:
    """Only `Bearer` and the key."""
    secret, known = api_key("a", "meta")
    door = Door(known=Known(keys=(known,)))
    assert Code.UNAUTHENTICATED == door.shown(value.replace(b"%s", secret.encode()))


def test_a_key_ends_at_its_time_also_for_a_caller_who_stays() -> None:
    """To the second, though a caller is looked at every half minute only; before that nobody is asked anew."""
    secret, known = api_key("a", "meta", "infer:rows", expires_s=NOW_S + 10)
    door = Door(known=Known(keys=(known,)))
    caller = door.gate.caller(BEARER + secret.encode())
    caller.demand_inference("rows", NOW_S)
    assert NOW_S + 10 == caller.until
    door.clock.time = NOW_S + 9.9
    assert (Code.OK, {"rows"}) == (door.code(caller), caller.models)
    door.clock.time = NOW_S + 10
    assert Code.UNAUTHENTICATED == door.code(caller)
    with pytest.raises(TidegateError, match="a valid credential is needed"):
        caller.demand_inference("rows", NOW_S + 10)
    assert set() == caller.models


def test_a_token_ends_at_its_time_and_begins_at_its_time() -> None:
    """With the leeway of the settings."""
    door = Door(known=Known(jwks=key_set()))
    caller = door.gate.caller(BEARER + token(nbf=NOW_S + 100, exp=NOW_S + 200))
    codes = {}
    for seconds in (0, 39, 40, 259, 260, 1_000):
        door.clock.time = NOW_S + seconds
        codes[seconds] = door.code(caller)
    assert {0, 39, 260, 1_000} == {seconds for seconds, code in codes.items() if code is Code.UNAUTHENTICATED}
    assert {40, 259} == {seconds for seconds, code in codes.items() if code is Code.OK}


def test_a_clock_that_jumps_is_noticed_within_half_a_minute() -> None:
    """The wall clock says when a credential ends, another one when requests came."""
    secret, known = api_key("a", "meta", expires_s=NOW_S + 3_600)
    door = Door(known=Known(keys=(known,)))
    caller = door.gate.caller(BEARER + secret.encode())
    assert NOW_S + module._LOOK_S == caller.until
    door.clock.wall = lambda: NOW_S + 7_200  # type: ignore[method-assign]
    door.clock.time = NOW_S + 31
    assert Code.UNAUTHENTICATED == door.code(caller)


def test_a_key_that_is_withdrawn_ends_at_that_moment() -> None:
    """For callers who are there, and only theirs; one that is given back is good again; other scopes hold at once."""
    (secret, known), (other, stays) = api_key("a", "meta", "infer:rows"), api_key("b", "meta")
    door = Door(known=Known(keys=(known, stays)))
    caller, second = (door.gate.caller(BEARER + text.encode()) for text in (secret, other))
    caller.demand_inference("rows", NOW_S)
    door.gate.renew(Known(keys=(stays,)))
    assert not door.gate._callers
    assert (Code.UNAUTHENTICATED, Code.OK) == (door.code(caller), door.code(second))
    with pytest.raises(TidegateError):
        caller.demand_inference("rows", NOW_S)
    door.gate.renew(Known(keys=(api_key("c")[1], known)))
    assert (Code.OK, Code.UNAUTHENTICATED) == (door.code(caller), door.code(second))
    changed = type(known)(name="a", id=known.id, digest=known.digest, scopes=("meta",))
    caller.demand_inference("rows", NOW_S)
    door.gate.renew(Known(keys=(changed,)))
    assert (Code.OK, Code.PERMISSION_DENIED) == (door.code(caller), door.code(caller, INFER, "rows"))
    with pytest.raises(TidegateError, match="lacks the scope infer for this model"):
        caller.demand_inference("rows", NOW_S)


def test_a_caller_who_was_refused_and_stays_is_let_in_and_put_out_like_others() -> None:
    """Who was bad at first is not forgotten when keys change."""
    secret, known = api_key("a", "meta")
    door = Door()
    caller = door.gate.caller(BEARER + secret.encode())
    seen = []
    for keys in ((), (known,), (), (known,)):
        door.gate.renew(Known(keys=keys))
        seen.append(door.code(caller))
    assert [Code.UNAUTHENTICATED, Code.OK] * 2 == seen


def test_other_settings_hold_at_once() -> None:
    """Anonymous scopes, client certificates, another issuer."""
    certificate = Certificate(("dns:a.example", "cn:a"), NOW_S + 600)
    door = Door(auth(anonymous=("meta",), clients={"dns:a.example": Client(scopes=("infer:*",))}), Known(jwks=key_set()))
    nobody, client, bearer = door.gate.caller(None), door.gate.caller(None, certificate), door.gate.caller(BEARER + token())
    assert [Code.OK, Code.PERMISSION_DENIED, Code.OK] == [door.code(one) for one in (nobody, client, bearer)]
    door.gate.configure(Auth(clients={"cn:a": Client(scopes=("meta",))}))
    assert [Code.UNAUTHENTICATED, Code.OK, Code.UNAUTHENTICATED] == [door.code(one) for one in (nobody, client, bearer)]


def test_a_certificate_has_the_scopes_of_all_its_names_until_it_ends() -> None:
    """`*` is every certificate that TLS let in; a name that nobody mapped is as if nothing was shown."""
    clients = {
        "dns:a.example": Client(scopes=("infer:rows",)),
        "uri:spiffe://x/y": Client(scopes=("meta",)),
        "cn:b": Client(scopes=("admin",)),
    }
    door = Door(Auth(clients=clients, anonymous=("infer:texts",)))
    caller = door.gate.caller(None, Certificate(("dns:a.example", "uri:spiffe://x/y"), NOW_S + 10))
    assert caller.principal is not None
    assert ("certificate dns:a.example", frozenset({"infer:rows", "meta"})) == (caller.principal.name, caller.principal.scopes)
    assert NOW_S + 10 == caller.until
    stranger = door.gate.caller(None, Certificate(("dns:b", "dns:cn:b"), NOW_S + 10)).principal
    assert stranger is not None
    assert stranger.anonymous
    every = Door(Auth(clients={"*": Client(scopes=("meta",))})).gate.caller(None, Certificate((), NOW_S + 10)).principal
    assert every is not None
    assert frozenset({"meta"}) == every.scopes


def test_a_field_is_judged_by_itself() -> None:
    """A bad key is not made good by a certificate, nor by what anybody may do."""
    door = Door(auth(anonymous=("meta",), clients={"*": Client(scopes=("meta",))}))
    certificate = Certificate(("cn:a",), NOW_S + 600)
    assert [Code.OK, Code.OK] == [door.shown(None), door.shown(None, META, certificate)]
    assert [Code.UNAUTHENTICATED] * 2 == [door.shown(BEARER + b"x"), door.shown(b"", META, certificate)]


def test_who_showed_nothing_is_asked_for_a_credential_where_its_scopes_end() -> None:
    """401, not 403: a credential would help."""
    door = Door(auth(anonymous=("meta", "infer:rows")))
    nobody = door.gate.caller(None)
    assert [Code.OK, Code.OK, Code.UNAUTHENTICATED] == [
        door.code(nobody),
        door.code(nobody, INFER, "rows"),
        door.code(nobody, INFER, "texts"),
    ]


def test_a_token_whose_key_is_unknown_asks_for_newer_ones_and_not_too_often() -> None:
    """It is good as soon as they are here."""
    door = Door(known=Known(jwks=key_set("rsa")))
    caller = door.gate.caller(BEARER + token("ec"))
    for step in range(30):
        assert Code.UNAUTHENTICATED == door.code(caller)
        door.clock.time += 0.1 * (step % 2)
    assert 1 <= door.asked <= 3
    door.gate.renew(Known(jwks=key_set("ec")))
    assert Code.OK == door.code(caller)


def test_keys_of_an_issuer_that_cannot_be_read_are_none() -> None:
    """Fails closed; whoever fetched them has said so."""
    door = Door(known=Known(jwks=b"{}"))
    assert Code.UNAUTHENTICATED == door.shown(BEARER + token())


def test_a_flood_of_bad_credentials_leaves_nothing_behind() -> None:
    """Neither callers nor credentials; good ones are kept, as many as there is room for."""
    secret, known = api_key("a", "meta")
    door = Door(known=Known(keys=(known,), jwks=key_set()))
    good = door.gate.caller(BEARER + secret.encode())
    for number in range(5_000):
        bad = b"Bearer tidegate_%08d_" % number + b"0" * 43 if number % 2 else b"Bearer %d.e30.x" % number
        assert Code.UNAUTHENTICATED == door.shown(bad)
    gc.collect()
    assert (1, 1) == (len(door.gate._callers), len(door.gate._alive))
    assert door.gate._tokens is not None
    assert len(door.gate._tokens._bad) <= 4_096
    assert good is door.gate.caller(BEARER + secret.encode())
    assert 5_000 == door.gate.denials[Code.UNAUTHENTICATED]


def test_good_callers_are_kept_within_a_bound_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who falls out is found again."""
    monkeypatch.setattr(module, "_CALLERS_MAX", 4)
    door = Door(known=Known(jwks=key_set("ec")))
    for number in range(10):
        assert Code.OK == door.shown(BEARER + token(sub=f"s{number}"))
        assert len(door.gate._callers) <= 4


def test_what_a_caller_may_do_is_remembered_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name longer than any model's is not kept at all."""
    monkeypatch.setattr("gateway.identity.callers._KEPT_MAX", 8)
    secret, known = api_key("a", "infer:*", "meta")
    door = Door(known=Known(keys=(known,)))
    caller = door.gate.caller(BEARER + secret.encode())
    for number in range(50):
        caller.demand_inference(f"m{number}", NOW_S)
        assert Code.OK == door.code(caller, INFER, f"m{number}")
        assert len(caller.models) <= 8
        assert len(caller.passes) <= 8
    before = set(caller.models), set(caller.passes)
    caller.demand_inference("m" * 1_000_000, NOW_S)
    assert Code.OK == door.code(caller, INFER, "m" * 1_000_000)
    assert before == (caller.models, caller.passes)
