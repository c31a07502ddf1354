"""The manifests of retraining: as hardened as the server's, two ways to start one and the same pod, and nothing started twice."""

from __future__ import annotations

from typing import Any

import pytest

from tests.deploy.files import USER, documents
from tests.deploy.restricted import violations

(JOB,) = documents("kubernetes/retrain-job.yaml")
(CRON,) = documents("kubernetes/retrain-cronjob.yaml")
(SERVER,) = documents("kubernetes/deployment.yaml")
FROM_CRON = CRON["spec"]["jobTemplate"]["spec"]
PODS = [JOB["spec"]["template"]["spec"], FROM_CRON["template"]["spec"]]


def container(pod: dict[str, Any]) -> dict[str, Any]:
    (found,) = pod["containers"]
    return dict(found)


@pytest.mark.parametrize("pod", PODS, ids=["job", "cronjob"])
def test_the_profile_is_restricted(pod: dict[str, Any]) -> None:
    """As the server's: no token, nothing written beside the volumes, memory that is promised."""
    assert [] == violations(pod)
    assert SERVER["spec"]["template"]["spec"]["securityContext"] == pod["securityContext"]
    assert (USER, False) == (pod["securityContext"]["runAsUser"], pod["automountServiceAccountToken"])
    assert container(pod)["securityContext"]["readOnlyRootFilesystem"] is True
    resources = container(pod)["resources"]
    assert (resources["requests"]["memory"], "cpu" in resources["limits"]) == (resources["limits"]["memory"], False)


def test_both_start_the_same_pod() -> None:
    """But for what it is told."""
    job, cron = ({**pod, "containers": [{**container(pod), "args": []}]} for pod in PODS)
    assert job == cron
    assert "Never" == job["restartPolicy"]


def test_what_is_written_has_a_place() -> None:
    """The models, which are the server's claim, and what is temporary; the policy is only read."""
    for pod in PODS:
        mounts = {mount["name"]: mount for mount in container(pod)["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert {"models", "tmp"} == {name for name, mount in mounts.items() if not mount.get("readOnly")}
        assert volumes.keys() == mounts.keys()
        (claim,) = [volume for volume in SERVER["spec"]["template"]["spec"]["volumes"] if volume["name"] == "models"]
        assert claim["persistentVolumeClaim"]["claimName"] == volumes["models"]["persistentVolumeClaim"]["claimName"]


def test_a_trigger_is_one_job() -> None:
    """Named for it, so that a second one is refused; what is an answer is not asked for again."""
    assert "retrain-TRIGGER" == JOB["metadata"]["name"]
    assert len("retrain-") + 32 <= 63
    args = container(PODS[0])["args"]
    assert "TRIGGER" == args[args.index("--trigger") + 1]
    fail, ignore = JOB["spec"]["podFailurePolicy"]["rules"]
    assert ("FailJob", [1, 2], container(PODS[0])["name"]) == (
        fail["action"], fail["onExitCodes"]["values"], fail["onExitCodes"]["containerName"],
    )  # fmt: skip
    assert ("Ignore", "DisruptionTarget") == (ignore["action"], ignore["onPodConditions"][0]["type"])
    assert JOB["spec"]["backoffLimit"] > 0


def test_looks_do_not_overlap() -> None:
    """One look, and not again before it has ended."""
    assert ("Forbid", 0, "Etc/UTC") == (CRON["spec"]["concurrencyPolicy"], FROM_CRON["backoffLimit"], CRON["spec"]["timeZone"])
    assert ["--watch", "--once"] == container(PODS[1])["args"][:2]
