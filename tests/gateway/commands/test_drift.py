"""`tidegate drift`: what it prints of what a server found, for people and for scripts."""

from __future__ import annotations

import json
import socket
from http.server import ThreadingHTTPServer
from typing import Any

import msgspec
import numpy as np
import pytest

from gateway.commands.drift import SHOWN
from gateway.commands.output import Exit
from gateway.drift.documents import findings_of
from gateway.drift.findings import Rule, VersionFindings
from gateway.drift.layout import ROWS
from gateway.drift.watch import Watch
from tests.gateway.commands.console import done, failed, parsed, run
from tests.gateway.drift.profiles import profile
from tests.gateway.test_client_rest import server

__all__ = ["server"]


def document(*, shift: int = 0, features: int = 2, rows: int = 3_600) -> dict[str, Any]:
    """The findings of one version with a contract and segments; every number lies `shift` bins higher than in the reference."""
    rules = (Rule(input="x", rule="range", mode="warn"), Rule(input="c", rule="categories", mode="reject"))
    watch = Watch(profile(features=features, calibration=True), segments=("north", "other"), rules=rules, wall_s=1_800_000_000.0)
    views = watch.layout.views(np.zeros(watch.layout.words, np.int64))
    views.begin(watch.layout.checksum)
    for minute in range(1, 4):
        for counts in views.counts:
            for bin_ in range(4):
                counts[0, :, 2 + min(bin_ + shift, 3)] += rows // 12
        for counts in views.categories:
            counts[1, :2] += rows // 6
        views.rules[0] = 30 * minute, 20 * minute
        views.head[ROWS] += rows // 3
        views.segment_rows[0] += rows // 3
        watch.look(views, 1_800_000_000.0 + 60 * minute)
    found = VersionFindings(version="3", **msgspec.structs.asdict(findings_of(watch)))
    return json.loads(msgspec.json.encode({"model": "m", "versions": [found]}))


def answers(server: ThreadingHTTPServer, found: Any, status: int = 200) -> list[object]:
    """What the server says from now on; arguments with which it is asked."""
    server.script = (status, found if isinstance(found, str) else json.dumps(found))  # type: ignore[attr-defined]
    return ["drift", "m", "--url", f"127.0.0.1:{server.server_address[1]}"]


def test_what_has_moved_is_shown_and_said(server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """States, distances, both histograms, a sentence for each that moved; segments, and what broke the contract."""
    monkeypatch.setenv("COLUMNS", "200")
    found = document(shift=1)
    (version,) = found["versions"]
    text = done(*answers(server, found))
    assert f"m version 3: {version['state']} since 2027-01-15 08:" in text
    assert version["state"] in {"WARN", "ALARM"}
    assert version["sentence"] in text
    assert "3,600 rows in all" in text
    assert "against 1,000 rows of training" in text
    moved = [feature for feature in version["features"] if feature["state"] != "OK"]
    assert {"x[0]", "x[1]"} <= {feature["name"] for feature in moved}
    for feature in moved:
        assert feature["sentence"] in text
        (line,) = [line for line in text.splitlines() if line.startswith(feature["state"]) and f" {feature['name']} " in line]
        assert f"{feature['psi']:.3f}" in line
        assert "█" in line
    assert all(word in text for word in ("north", "other", "farthest"))
    assert "90 values of x in 60 rows broke the rule on range (warn)" in text
    assert "categories (reject)" not in text
    assert version["performance"]["sentence"] in text
    assert [("/v2/models/m/drift", None)] == server.asked  # type: ignore[attr-defined]


def test_histograms_show_where_rows_went(server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference is flat; live rows are in the upper half, most of them in the last quarter."""
    monkeypatch.setenv("COLUMNS", "200")
    text = done(*answers(server, document(shift=2)))
    line = next(line for line in text.splitlines() if " x[0] " in line)
    assert ["█" * 16, "▃" * 4 + "█" * 4] == line.split()[-2:]


def test_the_document_is_passed_on_whole(server: ThreadingHTTPServer) -> None:
    """With --json."""
    found = document()
    assert found == parsed(*answers(server, found))


@pytest.mark.parametrize(("state", "code"), [("OK", Exit.DONE), ("DRIFT", Exit.DONE), ("WARN", Exit.FAILED), ("ALARM", Exit.FAILED)])
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_check_is_an_exit_code(server: ThreadingHTTPServer, state: str, code: Exit, more: list[str]) -> None:
    """That of any version. Without --check it is an answer like others."""
    found = document()
    found["versions"] += [found["versions"][0] | {"state": state, "version": "4"}]
    command = answers(server, found)
    result = run(*command, "--check", *more)
    assert (code, "") == (result.exit_code, result.stderr)
    assert state in result.stdout
    assert Exit.DONE == run(*command, *more).exit_code


def test_many_features_are_cut_short(server: ThreadingHTTPServer) -> None:
    """The ones that moved come first; all of them on request."""
    command = answers(server, document(features=SHOWN + 6))
    assert "7 more features with --all" in done(*command)
    text = done(*command, "--all")
    assert "more features" not in text
    assert f"x[{SHOWN + 5}]" in text


def test_one_version_may_be_asked_for(server: ThreadingHTTPServer) -> None:
    """By a number or an alias; names are quoted."""
    command = answers(server, document())
    done(*command, "--model-version", "champion")
    done("drift", "a/b c", *command[2:])
    assert ["/v2/models/m/versions/champion/drift", "/v2/models/a%2Fb%20c/drift"] == [path for path, _ in server.asked]  # type: ignore[attr-defined]


def test_a_model_without_a_reference_is_refused_with_the_server_s_reason(server: ThreadingHTTPServer) -> None:
    """As is everything that the server refuses."""
    reason = "model 'm' has no reference profile to compare its traffic with"
    assert reason in failed(Exit.REFUSED, *answers(server, {"error": reason}, 409))
    assert "nobody" in failed(Exit.REFUSED, *answers(server, {"error": "there is nobody"}, 404), "--check")


def test_a_server_that_is_not_there_is_unreachable() -> None:
    """Nothing listens at that port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert failed(Exit.UNREACHABLE, "drift", "m", "--url", f"127.0.0.1:{taken.getsockname()[1]}", "--check")
    assert "--url" in failed(Exit.USAGE, "drift", "m", "--url", "nowhere")


def test_names_from_a_server_do_not_control_a_terminal(server: ThreadingHTTPServer) -> None:
    """Sentences, features, segments, inputs."""
    hostile = json.dumps("\x1b[2J\x9b31m")
    text = json.dumps(document(shift=1))
    for name in ("x[0]", '"north"', '"x"'):
        text = text.replace(name, hostile if name.startswith('"') else hostile[1:-1])
    output = done(*answers(server, text))
    assert "\x1b" not in output
    assert "\x9b" not in output
    assert r"\x1b[2J" in output
