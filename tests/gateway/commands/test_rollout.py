"""`tidegate rollout`: what is said of a rollout file, for people, scripts and CI."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.commands.output import Exit
from gateway.rollout import spec
from tests.gateway.commands.console import done, parsed, run
from tests.gateway.rollout import plans

STEP = "spec.strategy.steps.1.until"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A rollout file that is right."""
    path = tmp_path / "f.yaml"
    path.write_text(plans.text())
    return path


def test_a_right_file_is_valid_and_has_a_digest(file: Path) -> None:
    """For people and for scripts."""
    digest = spec.digest(plans.plan())
    assert f"{file}: valid, plan {digest}\n" == done("rollout", "lint", file, "--strict")
    assert {"valid": True, "problems": [], "warnings": [], "digest": digest} == parsed("rollout", "lint", file)


def test_every_mistake_is_printed_and_fails_the_check(file: Path) -> None:
    """With its line; a file that cannot be read is one."""
    file.write_text(plans.text({"spec.model": "/", STEP: {"on_fial": "pause"}}))
    result = run("rollout", "lint", file)
    assert (Exit.FAILED, "") == (result.exit_code, result.stderr)
    assert f"{file}:" in result.stdout
    assert "on_fial: unknown setting; did you mean 'on_fail'?" in result.stdout
    found = run("rollout", "lint", file, "--json")
    assert Exit.FAILED == found.exit_code
    assert '"valid": false' in found.stdout
    assert '"digest": null' in found.stdout
    missing = run("rollout", "lint", file.with_name("none.yaml"))
    assert (Exit.FAILED, f"{file.with_name('none.yaml')}: cannot be read: No such file or directory\n") == (
        missing.exit_code,
        missing.stdout,
    )


def test_warnings_fail_only_a_strict_check(file: Path) -> None:
    """They have lines too, in the form that editors and CI find mistakes by."""
    file.write_text(plans.text({STEP: {}}))
    line = next(n for n, text in enumerate(file.read_text().splitlines(), 1) if "until: {}" in text)
    text = done("rollout", "lint", file)
    assert f"{file}:{line}:14: warning: {STEP}.max_duration: without it the step waits without end" in text
    assert ": valid, plan sha256:" in text
    assert Exit.FAILED == run("rollout", "lint", file, "--strict").exit_code
    (warning,) = parsed("rollout", "lint", file)["warnings"]
    assert (line, f"{STEP}.max_duration") == (warning["line"], warning["path"])


def test_names_from_a_file_do_not_control_a_terminal(file: Path) -> None:
    """Nor does anything else in it."""
    file.write_text(plans.text({"metadata.name": "\x1b[2J", "spec.unit.from": ["\x9b31m"]}))
    text = run("rollout", "lint", file).stdout
    assert r"\x1b[2J" in text
    assert "\x1b" not in text
    assert "\x9b" not in text
