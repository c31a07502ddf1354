"""The documents say what is so: tables match the code, links lead somewhere, settings and names exist."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import grpc
import pytest

from gateway.config import load
from gateway.errors import Code
from gateway.identity.access import TABLE
from gateway.wire.status import ANSWERS, NEVER
from registry.providers import ENTRIES

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
GRPC_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def test_the_table_of_errors_is_the_one_in_the_code() -> None:
    """Every code, with both transports' names for it and whether to come back."""
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (\w+) \| ([^|]+) \|", (ROOT / "docs" / "errors.md").read_text(), re.MULTILINE)
    documented = {name: (int(http), status, when) for name, http, status, when in rows}
    assert {code.name for code in Code} - {"OK"} == set(documented)
    for code, answer in ANSWERS.items():
        if code is Code.OK:
            continue
        http, status, when = documented[code.name]
        assert (answer.http, GRPC_NAMES[answer.grpc]) == (http, status), code
        assert (answer.pushback_ms == NEVER) == (when == "never"), code
        assert (answer.retry_after_s is not None) == when.startswith("after"), code


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    """Between documents, and into the code."""
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text())]
    local = [target for target in targets if target and "://" not in target]
    assert [] == [target for target in local if not (page.parent / target).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_that_are_named_exist(page: Path) -> None:
    """A path in a document is a path in the tree."""
    folders = "gateway|registry|kernels|retrain|benchmarks|deploy|examples|tests|docs"
    named = set(re.findall(rf"`((?:{folders})/[\w/.-]+\.\w+)`", page.read_text()))
    assert [] == sorted(name for name in named if not (ROOT / name).exists())


def test_the_settings_of_the_readme_are_valid(tmp_path: Path) -> None:
    """They load as they stand."""
    (text,) = blocks(ROOT / "README.md", "yaml")
    path = tmp_path / "tidegate.yaml"
    path.write_text(text)
    assert 64 == load(path).plan("iris").max_batch_size


def test_the_tree_of_the_readme_is_the_tree() -> None:
    """Every folder that it names is there, and every package is named."""
    text = (ROOT / "README.md").read_text().partition("## The tree")[2]
    top = set(re.findall(r"^(\w+)/", text, re.MULTILINE))
    assert {"proto", "kernels", "registry", "retrain", "gateway", "benchmarks", "tests", "deploy", "examples", "docs"} == top
    rooms = set(re.findall(r"^  (\w+)/", text, re.MULTILINE))
    assert {path.parent.name for path in (ROOT / "gateway").glob("*/__init__.py")} == rooms


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_tests_that_are_named_exist(page: Path) -> None:
    """A row that names its test leads to it."""
    named = re.findall(r"\[`(test_\w+)`\]\(([^)\s]+)\)", page.read_text())
    assert [] == [name for name, path in named if f"def {name}(" not in (page.parent / path).read_text()]


def test_every_row_of_what_other_servers_have_names_its_test() -> None:
    """In the tables of compatibility: one of protocol v2, one of v1."""
    lines = (ROOT / "docs" / "compatibility.md").read_text().splitlines()
    heads = [line for line, under in pairwise(lines) if under.startswith("|---|---|---|---|")]
    rows = [line for line in lines if line.startswith("| ") and line.count(" | ") == 3 and line not in heads]
    assert (2, True) == (len(heads), len(rows) > 50)
    assert [] == [row for row in rows if "[`test_" not in row]


def test_the_table_of_access_is_the_one_in_the_code() -> None:
    """Every route with what it needs; what is refused to everybody is left out."""
    text = (ROOT / "docs" / "security.md").read_text().partition("<!-- access -->")[2].partition("<!-- /access -->")[0]
    rows = re.findall(r"^\| (nothing|`[^`]+`) \| (.+) \|$", text, re.MULTILINE)
    documented = {needs.strip("`").partition(":")[0]: set(re.findall(r"`([^`]+)`", routes)) for needs, routes in rows}
    expected: dict[str, set[str]] = {}
    for route, need in TABLE.items():
        if "SharedMemory" not in route:
            expected.setdefault(need.scope or "nothing", set()).add(re.sub(r"^/[\w.]+/", "", route))
    assert expected == documented


def test_the_entries_of_a_session_are_those_that_may_be_set() -> None:
    """The table, key by key."""
    rows = re.findall(r"^\| `([a-z_0-9A-Z.]+)` \| (0 or 1|a whole number) \|$", (ROOT / "docs" / "providers.md").read_text(), re.MULTILINE)
    assert dict(rows) == ENTRIES


def test_the_settings_of_providers_are_valid(tmp_path: Path) -> None:
    """They load as they stand."""
    (text,) = blocks(ROOT / "docs" / "providers.md", "yaml")
    path = tmp_path / "tidegate.yaml"
    path.write_text("repository: {path: m}\n" + text)
    plan = load(path).plan("resnet")
    assert (("tensorrt", "cuda"), 1, 2) == (plan.providers, plan.provider_options.cuda.device, plan.instances)
