"""REST through Envoy: over its HTTP/2 cluster, its HTTP/1.1 cluster, and its opinion of the gateway's health."""

from __future__ import annotations

import json

import curl_checks as plain
from curl import answered, curl
from outcome import contains, equal
from servers import Envoy

CLUSTERS = ((), ("-H", "x-upstream: http1"))


def rest(envoy: Envoy) -> None:
    """One row by every pair of protocols before and behind the proxy."""
    for option in ("--http1.1", plain.H2):
        for cluster in CLUSTERS:
            answer = curl(option, *cluster, *plain.JSON, "--data-binary", "@-", plain.infer(envoy.address), data=plain.ROW)
            plain.is_next(answered(answer, 200))


def large(envoy: Envoy) -> None:
    """2 MiB both ways; chunked where HTTP/1.1 has no length."""
    url = plain.infer(envoy.address, "echo")
    for cluster in CLUSTERS:
        plain.is_large(answered(curl(*cluster, *plain.LARGE_HEADERS, "--data-binary", "@-", url, data=plain.LARGE), 200))
        plain.is_large(answered(curl(*cluster, *plain.LARGE_HEADERS, "-X", "POST", "-T", "-", url, data=plain.LARGE), 200))


def errors(envoy: Envoy) -> None:
    """The gateway's own refusals pass through."""
    for cluster in CLUSTERS:
        contains("error", answered(curl(*cluster, f"http://{envoy.address}/nowhere"), 404).json())
        answered(curl(*cluster, "-X", "DELETE", f"http://{envoy.address}/v2/health/live"), 405)
        answered(curl(*cluster, *plain.JSON, "-d", "{", plain.infer(envoy.address)), 400)


def health(envoy: Envoy) -> None:
    """Envoy's gRPC health checks succeed, its HTTP/2 pings are answered, and it has seen no protocol error."""
    hosts = answered(curl(f"http://{envoy.admin}/clusters?format=json"), 200).json()["cluster_statuses"]
    grpc = next(host for cluster in hosts if cluster["name"] == "grpc" for host in cluster["host_statuses"])
    equal({"eds_health_status": "HEALTHY"}, grpc["health_status"])
    found = answered(curl(f"http://{envoy.admin}/stats?format=json&filter=cluster.grpc"), 200).json()["stats"]
    stats = {stat["name"]: stat["value"] for stat in found if "name" in stat}
    equal(True, stats["cluster.grpc.health_check.success"] > 0)
    bad = ("health_check.failure", "upstream_cx_protocol_error", "http2.keepalive_timeout", "upstream_cx_connect_fail")
    equal({}, {name: stats[f"cluster.grpc.{name}"] for name in bad if stats.get(f"cluster.grpc.{name}")}, json.dumps(stats)[:300])


CHECKS = [rest, large, errors, health]
