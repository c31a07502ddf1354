"""API keys: their form, what is kept of them, and that finding one tells nothing by its time."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.identity import keys
from gateway.identity.keys import FORM, ApiKey, KeyTable, mint
from tests.gateway.identity.issuing import api_key


@given(st.binary(min_size=40, max_size=40))
def test_a_key_has_the_form_that_scanners_look_for_and_its_hash_is_kept(octets: bytes) -> None:
    """Whatever the random bytes: the id is in it, the digest is of all of it, and the length is always the same."""
    pieces = iter([octets[:8], octets[8:]])
    key, identity, digest = mint(lambda size: next(pieces))
    assert re.fullmatch(r"tidegate_[0-9a-z]{8}_[0-9A-Za-z]{43}", key)
    assert FORM.fullmatch(key.encode())
    assert identity == key[9:17]
    assert hashlib.sha256(key.encode()).digest() == digest


def test_the_secret_holds_all_of_256_bits() -> None:
    """Neighbouring numbers give different keys, at both ends."""
    made = set()
    for number in (0, 1, (1 << 256) - 1, (1 << 256) - 2):
        octets = number.to_bytes(32, "big")
        made.add(mint(lambda size, octets=octets: octets[:size] if size == 32 else bytes(size))[0])
    assert 4 == len(made)


def test_keys_are_random_unless_somebody_says_otherwise() -> None:
    """From the operating system's source for secrets."""
    assert 50 == len({mint()[0] for _ in range(50)})


def test_a_key_is_found_by_all_of_it_only() -> None:
    """One letter of the secret or of the id, another length or other case: nobody's."""
    (first, known), (second, other) = api_key("a", "meta"), api_key("b", "meta")
    table = KeyTable([known, other])
    assert (known, other) == (table.find(first.encode()), table.find(second.encode()))
    wrong = [
        first[:-1] + ("A" if first[-1] != "A" else "B"), first[:17] + second[17:], first[:9] + "zzzzzzzz" + first[17:], first[:-1],
        first + "A", first.upper(), first.replace("tidegate", "Tidegate"), " " + first, first + "\n", "", "tidegate_",
        "tidegate_" + "0" * 8 + "_" + "0" * 43,
    ]  # fmt: skip
    assert [None] * len(wrong) == [table.find(text.encode()) for text in wrong]
    assert table.find(b"\xff" * 61) is None


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Any, Any]]]:
    """What was compared in constant time."""
    seen: list[tuple[Any, Any]] = []
    real = hmac.compare_digest

    def compare(first: bytes, second: bytes) -> bool:
        seen.append((first, second))
        return real(first, second)

    monkeypatch.setattr(keys.hmac, "compare_digest", compare)
    return seen


def test_digests_are_compared_in_constant_time_and_once_whoever_asks(compared: list[tuple[Any, Any]]) -> None:
    """For a good key, a wrong secret and an unknown id alike; the whole digests, never the secrets."""
    secret, known = api_key("a", "meta")
    table = KeyTable([known])
    stranger = api_key("b")[0]
    for text in (secret, secret[:17] + stranger[17:], stranger):
        compared.clear()
        table.find(text.encode())
        assert [(32, 32)] == [(len(first), len(second)) for first, second in compared]
        assert hashlib.sha256(text.encode()).digest() == compared[0][0]


def test_nobody_is_let_in_by_the_digest_that_stands_for_unknown_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even somebody who found a key with that hash."""
    monkeypatch.setattr(keys.hashlib, "sha256", lambda _: type("Hash", (), {"digest": lambda self: bytes(32)})())
    assert KeyTable([]).find(b"tidegate_00000000_" + b"0" * 43) is None


def test_what_is_known_of_a_key_is_not_the_key() -> None:
    """So it may be told to other processes, and a log that held it would give nothing away."""
    secret, known = api_key("a", "meta")
    assert isinstance(known, ApiKey)
    assert secret[18:] not in repr(known)
