"""Profiles that somebody submits: read strictly, and held against the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from registry.columns import Column
from registry.contract import Contract, Port
from registry.profile import Profile, check_ports, encode, profile_file
from registry.profiling import profile_of

PORTS = (
    Port(name="x", type="tensor(float)", shape=("batch", 2)),
    Port(name="city", type="tensor(string)", shape=("batch", 1)),
)
OUT = (Port(name="p", type="tensor(float)", shape=("batch", "classes")),)


@pytest.fixture(scope="module")
def profile() -> Profile:
    """Of two inputs and an output, calibrated."""
    generator = np.random.default_rng(0)
    late = generator.uniform(size=300).astype(np.float32)
    columns = [
        Column("input", "x", generator.normal(size=(300, 2)).astype(np.float32)),
        Column("input", "city", generator.choice(np.array(["a", "b"], object), (300, 1))),
        Column("output", "p", np.stack([1 - late, late], axis=1)),
    ]
    return profile_of(columns, labels=generator.uniform(size=300) < late).profile


def test_what_was_written_is_read(profile: Profile) -> None:
    """To the last bit."""
    assert profile == profile_file(encode(profile))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"rows": 0}, "the reference profile is not one: Expected `int` >= 1 - at `$.rows`"),
        ({"rows": 301}, "the reference profile is refused: the counts of feature 'x[0]' are not those of 301 rows"),
        ({"more": 1}, "the reference profile is not one: Object contains unknown field `more`"),
        ({"numeric": [], "categorical": []}, "the reference profile is refused: it has no features"),
    ],
)
def test_what_contradicts_itself_is_refused(profile: Profile, change: dict[str, Any], text: str, kind_of: Callable[..., str]) -> None:
    """With the place, or the feature."""
    plain = msgspec.to_builtins(profile) | change
    assert text in kind_of(lambda: profile_file(msgspec.json.encode(plain)))
    assert kind_of(lambda: profile_file(b'{"a" 1}')).startswith("invalid_model: the reference profile is not one: JSON is malformed")


def contract(inputs: tuple[Port, ...], outputs: tuple[Port, ...]) -> Contract:
    return Contract(ir_version=8, opsets={"": 17}, producer="", inputs=inputs, outputs=outputs)


def test_a_profile_belongs_to_a_model(profile: Profile, kind_of: Callable[..., str]) -> None:
    """Every tensor there, of its type and with its elements, as far as the graph says."""
    check_ports(profile, contract(PORTS, OUT))
    check_ports(profile, contract((Port(name="x", type="tensor(double)", shape=None), PORTS[1]), OUT))
    wrong = {
        "input 'x', which the model does not have": ((PORTS[1],), OUT),
        "output 'p', which the model does not have": (PORTS, ()),
        "element 0 of input 'city', which does not fit tensor(float)": (
            (PORTS[0], msgspec.structs.replace(PORTS[1], type="tensor(float)")),
            OUT,
        ),
        "element 1 of input 'x', which does not fit": ((msgspec.structs.replace(PORTS[0], shape=("batch", 1)), PORTS[1]), OUT),
    }
    for text, (inputs, outputs) in wrong.items():
        assert text in kind_of(lambda inputs=inputs, outputs=outputs: check_ports(profile, contract(inputs, outputs)))  # type: ignore[misc]
