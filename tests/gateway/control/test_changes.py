"""What a reload says of changed settings; notices to a service manager; when a dead process is replaced."""

from __future__ import annotations

import socket
from pathlib import Path

import msgspec
import pytest

from gateway.config import Batching, Config, Logging, ModelSettings, Repository, Server, Tls, Versions
from gateway.control.changes import differences, taken_over
from gateway.control.fleet import fate
from gateway.control.notify import notify
from gateway.control.respawn import AT_ONCE, FIRST_S, LONGEST_S, YOUNG_S, Respawn
from gateway.identity.settings import Auth, Client
from gateway.typed_yaml import MisfitError

PLAIN = Config(repository=Repository(path=Path("r")))


def test_equal_settings_differ_in_nothing() -> None:
    """Two empty lists."""
    assert ([], []) == differences(PLAIN, Config(repository=Repository(path=Path("r"))))


def test_a_reload_takes_models_over_and_says_what_needs_a_restart() -> None:
    """Each change with both values, by its path."""
    changed = Config(
        server=Server(http_port=9000),
        repository=Repository(path=Path("r")),
        batching=Batching(max_batch_size=8),
        logging=Logging(level="debug", access_share=0.5),
        models={"m": ModelSettings(versions=Versions(latest=2))},
    )
    taken, restart = differences(PLAIN, changed)
    assert ["logging.access_share: 0.0 -> 0.5", "server.http_port: 8000 -> 9000"] == restart
    assert 'logging.level: "info" -> "debug"' in taken
    assert "batching.max_batch_size: 256 -> 8" in taken
    assert [line for line in taken if line.startswith("models.m: unset -> ")]
    back, _ = differences(changed, PLAIN)
    assert [line for line in back if line.startswith("models.m: ") and line.endswith(" -> unset")]


def test_what_needs_a_restart_stays_and_is_said_at_every_reload() -> None:
    """Also where its neighbours in the same section are taken over."""
    wanted = Config(repository=Repository(path=Path("other")), logging=Logging(level="debug", access_share=0.5))
    running = taken_over(PLAIN, wanted)
    assert ("debug", 0.0, Path("r")) == (running.logging.level, running.logging.access_share, running.repository.path)
    assert ([], ["logging.access_share: 0.0 -> 0.5", 'repository.path: "r" -> "other"']) == differences(running, wanted)


def test_what_may_be_a_credential_is_named_and_not_shown() -> None:
    """It would stand in the log."""
    options = {"aws_secret_access_key": "hunter2"}
    for old, new in (({}, options), (options, {"aws_secret_access_key": "hunter3"}), (options, {})):
        before, after = (Config(repository=Repository(path="s3://bucket", options=one)) for one in (old, new))
        assert ([], ["repository.options.aws_secret_access_key: changed"]) == differences(before, after)


@pytest.mark.parametrize("abstract", [False, True])
def test_a_service_manager_that_listens_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    """On a path or an abstract name; a reload carries the time that systemd wants with it."""
    name = f"@tidegate-{tmp_path.name}" if abstract else str(tmp_path / "socket")
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name[1:]}" if abstract else name)
        manager.settimeout(5)
        notify("READY=1")
        notify("RELOADING=1", now_s=2.5)
        assert [b"READY=1", b"RELOADING=1\nMONOTONIC_USEC=2500000"] == [manager.recv(100), manager.recv(100)]


@pytest.mark.parametrize("name", ["", "relative", "/no/such/socket"])
def test_a_service_manager_that_does_not_listen_is_no_matter(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Also where its socket is gone."""
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    notify("READY=1")


def test_the_first_deaths_are_believed_to_be_chance_and_then_it_waits_longer_and_longer() -> None:
    """Up to half a minute; one that lived long resets it."""
    line = Respawn()
    waits = [line.after(0.5) for _ in range(20)]
    assert [0.0] * AT_ONCE + [FIRST_S, 2 * FIRST_S, 4 * FIRST_S] == waits[: AT_ONCE + 3]
    assert LONGEST_S == max(waits) == waits[-1]
    assert 0.0 == line.after(YOUNG_S)  # it served well
    assert 0.0 == line.after(0.5)


def test_no_minute_sees_more_than_six_starts_of_a_crash_loop_once_it_is_one() -> None:
    """After the delays have grown: processes that die at once."""
    line, now, starts = Respawn(), 0.0, []
    for _ in range(40):
        now += line.after(0.0)
        starts.append(now)
    late = [start for start in starts if start > 120]
    assert all(sum(1 for other in late if start <= other < start + 60) <= 6 for start in late)


@pytest.mark.parametrize(
    ("status", "text"),
    [(0, "exit status 0"), (3, "exit status 3"), (-9, "killed by SIGKILL"), (-11, "killed by SIGSEGV"), (-99, "killed by signal 99")],
)
def test_an_end_is_told_in_words(status: int, text: str) -> None:
    """As subprocess numbers it."""
    assert text == fate(status)


AUTH = Auth(keys=Path("k"), anonymous=("meta",))


def test_a_reload_takes_credentials_over_but_neither_begins_nor_ends_to_ask_for_them() -> None:
    """What was open does not close under its callers, and a section that was lost opens nothing."""
    before = msgspec.structs.replace(PLAIN, auth=AUTH)
    after = msgspec.structs.replace(PLAIN, auth=Auth(keys=Path("other"), realm="r", metrics=True))
    taken, restart = differences(before, after)
    assert ['auth.keys: "k" -> "other"', 'auth.realm: "tidegate" -> "r"', "auth.metrics: false -> true"] == [
        *[line for line in taken if "anonymous" not in line], *restart,
    ]  # fmt: skip
    assert Auth(keys=Path("other"), realm="r") == taken_over(before, after).auth
    for old, new in ((before, PLAIN), (PLAIN, before)):
        assert [True] == [line.startswith("auth: ") for line in differences(old, new)[1]]
        assert old.auth == taken_over(old, new).auth


def test_credentials_that_the_running_ports_do_not_allow_are_not_taken_over() -> None:
    """Client certificates need a restart where nobody was asked for one before."""
    before = msgspec.structs.replace(PLAIN, auth=AUTH)
    tls = Tls(certificate=Path("c"), key=Path("k"), client_ca=Path("ca"), client_certificates="optional")
    after = msgspec.structs.replace(PLAIN, auth=Auth(clients={"*": Client(scopes=())}), tls=tls)
    with pytest.raises(MisfitError, match=r"needs tls\.client_certificates"):
        taken_over(before, after)
