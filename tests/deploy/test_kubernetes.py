"""The manifests: hardened, probed where the program answers, drained before they are killed, reachable from where they say."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Config, load
from tests.deploy import dockerfile
from tests.deploy.files import DEPLOY, USER, documents, drain_s, on_the_metrics_port, ports
from tests.deploy.restricted import violations

HERE = DEPLOY / "kubernetes"
BY_HAND = {"podmonitor.yaml", "prometheusrule.yaml", "networkpolicy-object-store.yaml"}  # need an operator, or are for some only
BY_HAND |= {"retrain-job.yaml", "retrain-cronjob.yaml"}  # see test_retrain
(CONFIGMAP,) = documents("kubernetes/configmap.yaml")
(DEPLOYMENT,) = documents("kubernetes/deployment.yaml")
SERVICE, PODS = documents("kubernetes/service.yaml")
TEMPLATE = DEPLOYMENT["spec"]["template"]
POD = TEMPLATE["spec"]
(CONTAINER,) = POD["containers"]
LABELS = TEMPLATE["metadata"]["labels"]
IMAGE = dockerfile.stages(dockerfile.parse((DEPLOY / "docker/Dockerfile").read_text()))[-1]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """The settings of the pods."""
    path = tmp_path / "tidegate.yaml"
    path.write_text(CONFIGMAP["data"]["tidegate.yaml"])
    return load(path)


def policy(path: str) -> dict[str, Any]:
    (found,) = documents(f"kubernetes/{path}")
    spec: dict[str, Any] = found["spec"]
    return spec


def allowed(rules: list[dict[str, Any]], port: int) -> list[Any]:
    """Who may come to a port."""
    return [peer for rule in rules if port in {each["port"] for each in rule["ports"]} for peer in rule["from"]]


def test_kustomize_takes_every_file_that_needs_nothing_else() -> None:
    """A file that is added is applied, or is named here."""
    (kustomization,) = documents("kubernetes/kustomization.yaml")
    listed = kustomization["resources"]
    assert {path.name for path in HERE.iterdir()} == {*listed, *BY_HAND, "kustomization.yaml"}
    assert sorted(listed) == sorted(set(listed))


def test_the_profile_is_restricted() -> None:
    """And two things more: nothing is written beside the volumes, and no token of the cluster lies in the pod."""
    assert [] == violations(POD)
    assert CONTAINER["securityContext"]["readOnlyRootFilesystem"] is True
    assert POD["automountServiceAccountToken"] is False
    assert [USER, USER, USER] == [POD["securityContext"][name] for name in ("runAsUser", "runAsGroup", "fsGroup")]


@pytest.mark.parametrize(
    "harm",
    [{"hostNetwork": True}, {"securityContext": {}}, {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]},
     {"containers": [{**CONTAINER, "securityContext": {**CONTAINER["securityContext"], "capabilities": {"drop": []}}}]}],
    ids=str,
)  # fmt: skip
def test_the_check_of_the_profile_notices_harm(harm: dict[str, Any]) -> None:
    """It is worth something only if it can fail."""
    assert [] != violations({**POD, **harm})


def test_the_ports_are_those_of_the_settings(config: Config) -> None:
    """Under names that services and probes use."""
    assert ports(config) == {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    assert "0.0.0.0" == config.server.host


@pytest.mark.parametrize(
    ("probe", "path"),
    [("startupProbe", "/v2/health/startup"), ("livenessProbe", "/v2/health/live"), ("readinessProbe", "/v2/health/ready")],
)
def test_probes_ask_what_the_metrics_port_serves(probe: str, path: str) -> None:
    """The supervisor answers there, also while no worker does; one late answer is no reason to kill."""
    found = CONTAINER[probe]
    assert {"path": path, "port": "metrics"} == found["httpGet"]
    assert on_the_metrics_port(path)
    assert 2 <= found["timeoutSeconds"] <= found["periodSeconds"]
    assert 3 <= found["failureThreshold"]


def test_a_pod_is_not_killed_before_it_has_drained(config: Config) -> None:
    """With some time over; the delay is the program's own, so that no hook takes a part of the time."""
    assert POD["terminationGracePeriodSeconds"] >= drain_s(config) + 10
    assert 0 < config.processes.drain_delay_s
    assert "lifecycle" not in CONTAINER


def test_a_new_pod_is_ready_before_an_old_one_goes() -> None:
    """And a drain of nodes leaves one."""
    assert {"maxUnavailable": 0, "maxSurge": 1} == DEPLOYMENT["spec"]["strategy"]["rollingUpdate"]
    (budget,) = documents("kubernetes/poddisruptionbudget.yaml")
    assert 0 < budget["spec"]["minAvailable"] < DEPLOYMENT["spec"]["replicas"]


def test_memory_is_promised_and_processors_are_not_throttled(config: Config) -> None:
    """A worker for each processor that is requested."""
    resources = CONTAINER["resources"]
    assert resources["requests"]["memory"] == resources["limits"]["memory"]
    assert "cpu" not in resources["limits"]
    assert int(resources["requests"]["cpu"]) == config.processes.workers
    assert config.processes.pin is False


def test_only_the_named_places_are_written(config: Config) -> None:
    """Those of the image, each with a bound; what the settings name is mounted."""
    volumes = {volume["name"]: volume for volume in POD["volumes"]}
    mounts = {mount["mountPath"]: mount for mount in CONTAINER["volumeMounts"]}
    written = {path: mount for path, mount in mounts.items() if not mount.get("readOnly")}
    assert set(dockerfile.only(IMAGE, "VOLUME").words) == set(written)
    assert all(volumes[mount["name"]]["emptyDir"]["sizeLimit"] for mount in written.values())
    assert {str(config.repository.path), str(config.processes.state)} <= set(mounts)
    assert set(volumes) == {mount["name"] for mount in mounts.values()}


def test_the_settings_are_where_the_program_reads_them() -> None:
    """The map's one key is the file's name; mounted as a directory, so that a change of it arrives."""
    place = Path(dockerfile.only(IMAGE, "ENTRYPOINT").words[-1])
    (volume,) = [volume for volume in POD["volumes"] if volume.get("configMap") == {"name": CONFIGMAP["metadata"]["name"]}]
    (mount,) = [mount for mount in CONTAINER["volumeMounts"] if mount["name"] == volume["name"]]
    assert {place.name} == set(CONFIGMAP["data"])
    assert (str(place.parent), False) == (mount["mountPath"], "subPath" in mount)


def test_the_kernels_are_those_of_the_image() -> None:
    """The same variables with the same values."""
    baked = dockerfile.environment(IMAGE)
    set_here = {variable["name"]: variable["value"] for variable in CONTAINER["env"]}
    assert {name: value for name, value in baked.items() if name.startswith("NUMBA_")} == set_here


def test_everything_selects_the_pods() -> None:
    """By labels that they have."""
    selectors = [
        DEPLOYMENT["spec"]["selector"]["matchLabels"], SERVICE["spec"]["selector"], PODS["spec"]["selector"],
        *(each["labelSelector"]["matchLabels"] for each in POD["topologySpreadConstraints"]),
        policy("networkpolicy.yaml")["podSelector"]["matchLabels"], policy("networkpolicy-object-store.yaml")["podSelector"]["matchLabels"],
        policy("poddisruptionbudget.yaml")["selector"]["matchLabels"], policy("podmonitor.yaml")["selector"]["matchLabels"],
    ]  # fmt: skip
    assert [LABELS] * len(selectors) == selectors


def test_pods_are_spread_over_nodes_and_zones() -> None:
    """Where there are any; one node is no reason not to run."""
    spread = {each["topologyKey"]: each["whenUnsatisfiable"] for each in POD["topologySpreadConstraints"]}
    assert {"kubernetes.io/hostname": "ScheduleAnyway", "topology.kubernetes.io/zone": "ScheduleAnyway"} == spread


def test_services_lead_to_the_inference_ports(config: Config) -> None:
    """One address for all, and the addresses of all under one name; both say what is spoken; metrics are in neither."""
    known = ports(config)
    found = {port["name"]: (port["port"], port["targetPort"], port["appProtocol"]) for port in SERVICE["spec"]["ports"]}
    grpc = (known["grpc"], "grpc", "kubernetes.io/h2c")
    assert {"http": (known["http"], "http", "http"), "grpc": grpc} == found
    assert "clusterIP" not in SERVICE["spec"]
    (port,) = PODS["spec"]["ports"]
    assert ("None", grpc) == (PODS["spec"]["clusterIP"], (port["port"], port["targetPort"], port["appProtocol"]))


def test_metrics_are_for_the_monitoring_namespace_alone(config: Config) -> None:
    """Inference is for the same namespace and the ingress controller's; nothing goes out."""
    spec, known = policy("networkpolicy.yaml"), ports(config)
    namespace = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    assert [namespace] == allowed(spec["ingress"], known["metrics"])
    for name in ("http", "grpc"):
        assert {"podSelector": {}} in allowed(spec["ingress"], known[name])
        assert namespace not in allowed(spec["ingress"], known[name])
    assert all(rule["ports"] and rule["from"] for rule in spec["ingress"]), "an empty list means everybody, everywhere"
    assert ({"Ingress", "Egress"}, []) == (set(spec["policyTypes"]), spec["egress"])


def test_an_object_store_is_reached_and_a_machine_s_credentials_are_not() -> None:
    """The metadata address of the clouds is left out."""
    spec = policy("networkpolicy-object-store.yaml")
    assert ["Egress"] == spec["policyTypes"]
    blocks = [peer["ipBlock"] for rule in spec["egress"] for peer in rule["to"] if "ipBlock" in peer]
    metadata = ipaddress.ip_address("169.254.169.254")
    assert [True] == [any(metadata in ipaddress.ip_network(left_out) for left_out in block["except"]) for block in blocks]


def test_scrapers_are_led_to_the_metrics_page(config: Config) -> None:
    """By annotations or by a PodMonitor: the same port and path."""
    annotations = TEMPLATE["metadata"]["annotations"]
    (endpoint,) = policy("podmonitor.yaml")["podMetricsEndpoints"]
    port = ports(config)[endpoint["port"]]
    assert (str(port), endpoint["path"]) == (annotations["prometheus.io/port"], annotations["prometheus.io/path"])
    assert config.server.metrics_port == port
    assert on_the_metrics_port(endpoint["path"])
