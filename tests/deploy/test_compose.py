"""The gateway and its Prometheus on one machine: hardened, reachable as meant, stopped no sooner than drained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.deploy import dockerfile
from tests.deploy.files import DEPLOY, USER, documents, drain_s, duration_s, on_the_metrics_port, ports, settings

HERE = DEPLOY / "compose"
(COMPOSE,) = documents("compose/compose.yaml")
SERVICES: dict[str, Any] = COMPOSE["services"]
GATEWAY, PROMETHEUS = SERVICES["gateway"], SERVICES["prometheus"]
IMAGE = dockerfile.stages(dockerfile.parse((DEPLOY / "docker/Dockerfile").read_text()))[-1]
CONFIG = settings("docker/tidegate.yaml")


def mounts(service: Any) -> dict[str, Any]:
    """Target → volume."""
    return {volume["target"]: volume for volume in service["volumes"]}


def test_the_image_is_built_from_the_checkout() -> None:
    """The context is its root, and the Dockerfile is there."""
    context = (HERE / GATEWAY["build"]["context"]).resolve()
    assert (context / "pyproject.toml").exists()
    assert (context / GATEWAY["build"]["dockerfile"]).exists()


def test_it_is_not_stopped_before_it_has_drained() -> None:
    """With some time over, for the last lines."""
    assert duration_s(GATEWAY["stop_grace_period"]) >= drain_s(CONFIG) + 10


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_can_do_little(name: str) -> None:
    """A read-only root, no capabilities, no new privileges, a number as its user, a bound on memory, an image of one version."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert ["ALL"] == service["cap_drop"]
    assert ["no-new-privileges:true"] == service["security_opt"]
    assert re.fullmatch(r"[1-9][0-9]*:[1-9][0-9]*", service["user"])
    assert re.fullmatch(r"[1-9][0-9]*[mg]", service["mem_limit"])
    assert re.fullmatch(r"[\w/-]+:v?[0-9]+\.[0-9]+\.[0-9]+", service["image"])
    assert {"privileged", "network_mode", "pid", "ipc", "cap_add", "devices"}.isdisjoint(service)


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_open_to_this_machine_only(name: str) -> None:
    """Others are let in by whoever knows what stands in front."""
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name]["ports"])


def test_the_gateway_publishes_inference_and_keeps_metrics() -> None:
    """8002 has no authentication: only the monitoring network reaches it."""
    known = ports(CONFIG)
    assert [f"127.0.0.1:{known[name]}:{known[name]}" for name in ("http", "grpc")] == GATEWAY["ports"]


def test_only_the_named_places_are_written() -> None:
    """Those of the image; models and settings are read-only."""
    written = [place.partition(":")[0] for place in GATEWAY["tmpfs"]]
    written += [target for target, volume in mounts(GATEWAY).items() if not volume.get("read_only")]
    assert dockerfile.only(IMAGE, "VOLUME").words == written
    assert f"{USER}:{USER}" == GATEWAY["user"]
    assert mounts(GATEWAY)[str(CONFIG.repository.path)]["read_only"] is True
    named = {volume["source"] for service in SERVICES.values() for volume in service["volumes"] if volume["type"] == "volume"}
    assert named == set(COMPOSE["volumes"])


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_is_there(name: str) -> None:
    """And a folder that is not is an error, not an empty folder made by root."""
    for volume in SERVICES[name]["volumes"]:
        if volume["type"] != "bind":
            continue
        assert volume["bind"]["create_host_path"] is False
        assert volume["source"].startswith("${") or (HERE / volume["source"]).exists()


def test_the_settings_are_those_beside_the_dockerfile() -> None:
    """Mounted where the program reads them."""
    target = dockerfile.only(IMAGE, "ENTRYPOINT").words[-1]
    assert DEPLOY / "docker/tidegate.yaml" == (HERE / mounts(GATEWAY)[target]["source"]).resolve()


def test_prometheus_scrapes_the_metrics_port() -> None:
    """By the gateway's name on a network that both are on; the path is one that the port serves."""
    (scraping,) = documents("compose/prometheus.yml")
    (job,) = scraping["scrape_configs"]
    assert [{"targets": [f"gateway:{CONFIG.server.metrics_port}"]}] == job["static_configs"]
    assert on_the_metrics_port(job["metrics_path"])
    assert duration_s(scraping["global"]["scrape_timeout"]) <= duration_s(scraping["global"]["scrape_interval"])
    (shared,) = set(GATEWAY["networks"]) & set(PROMETHEUS["networks"])
    assert COMPOSE["networks"][shared]["internal"] is True
    settings_file = next(word.partition("=")[2] for word in PROMETHEUS["command"] if word.startswith("--config.file="))
    assert Path(HERE / mounts(PROMETHEUS)[settings_file]["source"]).name == "prometheus.yml"


def test_networks_are_declared() -> None:
    """All that services name, and no other."""
    assert set(COMPOSE["networks"]) == {network for service in SERVICES.values() for network in service["networks"]}
