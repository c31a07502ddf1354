"""The unit: what it promises the program, and what it takes from it, fit what the program does."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import doctor
from gateway.commands.output import Exit
from registry import confinement
from tests.deploy import unit
from tests.deploy.files import DEPLOY, ROOT, drain_s, duration_s, settings

UNIT = unit.parse(DEPLOY / "systemd/tidegate.service")
SERVICE = UNIT["Service"]
CONFIG = settings("systemd/tidegate.yaml")


def one(name: str) -> str:
    """The value of a setting that is given once."""
    (value,) = SERVICE[name]
    return value


def said_by_the_supervisor() -> str:
    return (ROOT / "gateway/control/supervisor.py").read_text()


def test_it_is_told_when_the_server_is_ready_reloads_and_stops() -> None:
    """The newer type where it is known; SIGHUP is what it sends, and MONOTONIC_USEC what it waits for."""
    assert ["notify", "notify-reload"] == SERVICE["Type"]
    assert all(f'notify("{state}=1"' in said_by_the_supervisor() for state in ("READY", "RELOADING", "STOPPING"))
    assert "ReloadSignal" not in SERVICE


def test_a_watchdog_is_set_where_the_program_speaks_to_it() -> None:
    """It does not: one that waits in vain would kill a good server."""
    assert ("WatchdogSec" in SERVICE) == ("WATCHDOG=1" in said_by_the_supervisor())


def test_it_is_not_killed_before_it_has_drained() -> None:
    """With some time over, for the last lines; only the process that holds the others is asked to end."""
    assert duration_s(one("TimeoutStopSec")) >= drain_s(CONFIG) + 10
    assert "mixed" == one("KillMode")


def test_it_is_started_again_unless_its_settings_are_wrong() -> None:
    """The exit code of a usage error is a mistake that stays."""
    assert ("on-failure", str(Exit.USAGE.value)) == (one("Restart"), one("RestartPreventExitStatus"))
    assert "continue" == one("OOMPolicy")


def test_it_serves_with_its_settings_and_keeps_its_state_where_they_say() -> None:
    """A user of its own may write there and nowhere else."""
    assert "/opt/tidegate/bin/tidegate serve --config /etc/tidegate/tidegate.yaml" == one("ExecStart")
    assert Path("/var/lib", one("StateDirectory")) == CONFIG.processes.state
    assert {"ReadWritePaths", "BindPaths", "CacheDirectory"}.isdisjoint(SERVICE)
    assert {"tidegate.service", "tidegate.yaml"} == {path.name for path in (DEPLOY / "systemd").iterdir()}


def test_the_namespaces_that_a_trial_makes_are_allowed_and_no_others() -> None:
    """Without them it would keep the network."""
    wanted = {name.removeprefix("_CLONE_NEW").lower() for name in vars(confinement) if name.startswith("_CLONE_NEW")}
    assert {"user", "net"} == wanted == set(one("RestrictNamespaces").split())


def test_enough_files_may_be_open() -> None:
    """As many as the doctor asks for."""
    limit = int(one("LimitNOFILE"))
    assert doctor.State.OK is doctor.open_files((limit, limit), CONFIG.limits.wire.max_connections).state


def test_addresses_are_those_that_are_served_and_the_service_manager_s() -> None:
    """Workers and the notices are on Unix sockets."""
    assert {"AF_INET", "AF_INET6", "AF_UNIX"} == set(one("RestrictAddressFamilies").split())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, "yes") for name in (
            "DynamicUser", "NoNewPrivileges", "ProtectHome", "ProtectClock", "ProtectControlGroups", "ProtectHostname",
            "ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables", "PrivateDevices", "PrivateTmp", "RemoveIPC",
            "LockPersonality", "RestrictRealtime", "RestrictSUIDSGID",
        )),
        ("ProtectSystem", "strict"), ("CapabilityBoundingSet", ""), ("AmbientCapabilities", ""), ("UMask", "0077"), ("LimitCORE", "0"),
        ("SystemCallFilter", "@system-service"), ("SystemCallArchitectures", "native"), ("StateDirectoryMode", "0700"),
        ("MemoryDenyWriteExecute", "no"),
    ],
)  # fmt: skip
def test_it_may_do_little(name: str, value: str) -> None:
    """What the program does not need is taken away; memory must be made executable, for the kernels."""
    assert value == one(name)


def test_it_listens_to_this_machine_until_somebody_decides_otherwise() -> None:
    """Without TLS nothing else is let in."""
    assert CONFIG.tls is None
    assert not CONFIG.server.insecure
