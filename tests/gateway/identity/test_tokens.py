"""Tokens of an issuer: what makes one good, everything that makes one bad, and what is kept of them."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest

from gateway.identity import tokens as module
from gateway.identity.jwks import MAX_BYTES, Jwks, JwksError
from gateway.identity.principals import Principal
from gateway.identity.tokens import MAX_KEPT, Tokens, UnknownKeyError
from tests.gateway.identity.issuing import ALGORITHMS, BAD, NOW_S, SETTINGS, key_set, private, public, token

ALL = tuple(ALGORITHMS.values())
UNKNOWN = {"unknown kid", "kid that is a path", "no kid, several keys", "jwk in the header", "address in the header"}


def tokens(*names: str, **changes: Any) -> Tokens:
    settings = type(SETTINGS)(**({name: getattr(SETTINGS, name) for name in SETTINGS.__struct_fields__} | changes))
    return Tokens(settings, Jwks(key_set(*names), settings.algorithms))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_good_token_is_its_subjects_with_the_scopes_that_are_ours(name: str) -> None:
    """By each of the three algorithms; scopes for others do nothing; the leeway is added at both ends."""
    found = tokens().find(token(name, nbf=NOW_S - 10))
    expected = Principal(name="token of ann", scopes=frozenset({"infer:rows", "meta"}), begins_s=NOW_S - 70, expires_s=NOW_S + 660)
    assert expected == found


@pytest.mark.parametrize(
    ("claim", "scopes"),
    [
        ("", []), ("meta", ["meta"]), (["infer:a b", "infer:*", "admin"], ["infer:*", "admin"]), ([], []), ("*", []),
        ("infer:a* Infer:b", []),
    ],
)  # fmt: skip
def test_scopes_are_words_or_a_list(claim: object, scopes: list[str]) -> None:
    """What is no scope gives no right, however it looks."""
    found = tokens().find(token(scope=claim))
    assert found is not None
    assert frozenset(scopes) == found.scopes


def test_scopes_stand_where_the_settings_say() -> None:
    """Issuers have names of their own for the claim."""
    found = tokens(scopes_claim="roles").find(token(roles=["meta"]))
    assert found is not None
    assert frozenset({"meta"}) == found.scopes


def test_one_of_several_audiences_is_enough() -> None:
    """On either side."""
    assert tokens().find(token(aud=["elsewhere", "other"])) is not None
    assert tokens(audience=("third",)).find(token(aud=["elsewhere", "other"])) is None


@pytest.mark.parametrize("what", BAD)
def test_case_108_a_token_with_anything_wrong_is_nobodys(what: str) -> None:
    """Now: one that is only early or late is kept, and not good."""
    try:
        found = tokens().find(BAD[what]())
    except UnknownKeyError:
        assert what in UNKNOWN
        return
    assert what not in UNKNOWN
    assert found is None or not found.is_good(NOW_S)


def test_a_token_without_a_key_id_is_taken_where_the_issuer_has_one_key() -> None:
    """And is checked with it like any other."""
    assert tokens("ec").find(token(key_id=None)) is not None
    assert tokens("ec").find(token("ec7", key_id=None)) is None


def test_algorithms_that_the_settings_leave_out_are_refused() -> None:
    """Also where the issuer has a key for them."""
    only = tokens(algorithms=("EdDSA",))
    assert only.find(token("ed")) is not None
    assert only.find(token("ec")) is None


def test_without_keys_of_the_issuer_no_token_is_good() -> None:
    """It fails closed."""
    with pytest.raises(UnknownKeyError):
        Tokens(SETTINGS, None).find(token())


def test_what_was_found_is_kept_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token is verified once; bad ones push out no good one; neither kind grows without end, and neither is kept in the clear."""
    verified: list[bytes] = []
    real = jwt.decode
    monkeypatch.setattr(module.jwt, "decode", lambda shown, *more, **options: [verified.append(shown), real(shown, *more, **options)][1])
    monkeypatch.setattr(module, "MAX_KEPT", 8)
    found = tokens("ec")
    good = token()
    for _ in range(3):
        assert found.find(good) is not None
    assert 1 == len(verified)
    for number in range(100):
        assert found.find(b"%d.%d.x" % (number, number)) is None
        assert found.find(good) is not None
    assert 1 == len(verified)
    assert len(found._bad) <= 8
    for number in range(10):
        assert found.find(token(sub=f"s{number}")) is not None
    assert len(found._good) <= 8
    assert {32} == {len(digest) for digest in (*found._bad, *found._good)}
    assert MAX_KEPT > 8


# --- the issuer's keys -------------------------------------------------------------------------------------------------------------


def jwks(*keys: object, algorithms: tuple[str, ...] = ALL) -> Jwks:
    return Jwks(json.dumps({"keys": keys}).encode(), algorithms)


def test_keys_that_can_be_used_are_taken_and_others_passed_over() -> None:
    """Small ones, other curves, keys for encryption, symmetric ones, private ones, nonsense."""
    private_half = jwt.algorithms.ECAlgorithm.to_jwk(private("ec7"), as_dict=True) | {"kid": "leaked"}
    others = [
        public("small"), public("p384"), public("rsa7", use="enc"), {"kty": "oct", "k": "c2VjcmV0", "kid": "oct"}, private_half,
        {"kty": "RSA"}, {"kty": "EC", "crv": "P-256"}, {"kty": "OKP", "crv": "Ed448", "x": "AA"}, {"kty": "what"}, {},
        public("rsa8", alg="PS256"), public("ec8", alg="ES384"), public("ec9", alg="none"), public("rsa9", alg="HS256"),
    ]  # fmt: skip
    assert {"rsa", "ec", "ed"} == set(jwks(*others, *[public(name) for name in ALGORITHMS]).keys)
    for other in others:
        with pytest.raises(JwksError, match="no key in it can be used"):
            jwks(other)


def test_the_first_of_two_keys_with_one_id_counts() -> None:
    """So that a set that grows takes nothing away."""
    assert private("ec").public_key() == jwks(public("ec"), public("ec7", kid="ec")).keys["ec"].key


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "no JSON Web Key Set"), (b"[]", "no JSON Web Key Set"), (b'{"keys": {}}', "no JSON Web Key Set"),
        (b'{"keys": [1]}', "no JSON"),
        (b'{"keys": []}', "no key in it"), (b"\xff", "no JSON"), (b"[" * 100_000, "no JSON"), (b" " * (MAX_BYTES + 1), "more than"),
        (json.dumps({"keys": [{}] * 65}).encode(), "more than 64 keys"),
    ],
)  # fmt: skip
def test_what_is_no_set_of_keys_is_refused(content: bytes, text: str) -> None:
    """Whoever fetched it has something to say in the log."""
    with pytest.raises(JwksError, match=text):
        Jwks(content, ALL)
