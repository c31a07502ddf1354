"""The schema for editors and the tables of the manual are what the declarations say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

from gateway.rollout import manual
from gateway.rollout.plan import Plan

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_the_committed_schema_is_fresh() -> None:
    """Editors fetch it from the repository."""
    assert json.loads(json.dumps(manual.schema())) == json.loads((DOCS / "rollout.schema.json").read_text()), (
        "run: tidegate rollout schema > docs/rollout.schema.json"
    )


def test_the_tables_of_the_manual_are_fresh() -> None:
    """Between two marks."""
    text = (DOCS / "rollouts.md").read_text().partition("<!-- fields -->\n")[2].partition("<!-- /fields -->")[0]
    assert manual.tables().strip() == text.strip(), "run: tidegate rollout schema --markdown, and put it between the marks"


def sections() -> list[type[msgspec.Struct]]:
    found, left = [], [Plan]
    while left:
        struct = left.pop()
        if struct not in found:
            found.append(struct)
            left += [inner for info in msgspec.structs.fields(struct) if (inner := manual._inner(info.type)[0])]
    return found


@pytest.mark.parametrize("struct", sections(), ids=lambda struct: struct.__name__)
def test_every_field_has_a_meaning_and_is_in_the_schema(struct: type[msgspec.Struct]) -> None:
    """As the file writes it."""
    properties = manual.schema()["$defs"][struct.__name__]["properties"]
    keys = [info.encode_name for info in msgspec.structs.fields(struct)]
    assert keys == list(properties)
    assert [] == [key for key in keys if not properties[key]["description"].strip("; ")]


def test_the_schema_refuses_keys_that_nobody_knows() -> None:
    """In every section; and requires what the reader requires."""
    found = manual.schema()["$defs"]
    assert [] == [name for name, struct in found.items() if struct["additionalProperties"]]
    assert {"model", "strategy"} == set(found["Spec"]["required"])
    assert {"apiVersion", "kind", "metadata", "spec"} == set(found["Plan"]["required"])


def test_durations_have_their_pattern_in_every_place() -> None:
    """So that an editor marks `10 m` as it is typed."""
    duration = manual.schema()["$defs"]["Spec"]["properties"]["keep_stable_warm"]
    pattern = re.compile(duration["pattern"])
    assert [True, True, False, False, False] == [bool(pattern.search(text)) for text in ("10m", "0s", "10 m", "1h30m", "10m\n")]
    assert "a duration such as 15m" in duration["description"]
