"""Kubernetes' restricted profile, as far as our pods go: what a container may not be.

Source: kubernetes.io/docs/concepts/security/pod-security-standards, Restricted.
"""

from __future__ import annotations

from typing import Any

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
HOST = ("hostNetwork", "hostPID", "hostIPC", "hostUsers")


def violations(pod: dict[str, Any]) -> list[str]:
    """What of a pod's spec the profile forbids, one short text each."""
    shared = pod.get("securityContext", {})
    found = [name for name in HOST if name in pod]
    found += [f"volume {volume['name']}" for volume in pod.get("volumes", ()) if not set(volume) - {"name"} <= VOLUMES]
    for container in pod["containers"]:
        own = container.get("securityContext", {})
        both = {**shared, **own}
        rules = {
            "runAsNonRoot": both.get("runAsNonRoot") is True,
            "runAsUser": both.get("runAsUser") != 0,
            "seccompProfile": both.get("seccompProfile", {}).get("type") == "RuntimeDefault",
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
            "privileged": own.get("privileged", False) is False,
            "capabilities": own.get("capabilities") == {"drop": ["ALL"]},
            "hostPort": not any("hostPort" in port for port in container.get("ports", ())),
        }
        found += [f"{container['name']}: {name}" for name, held in rules.items() if not held]
    return found
