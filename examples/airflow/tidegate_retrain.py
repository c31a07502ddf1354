"""An Airflow DAG that does what a retrain trigger asks for. Copy it into the DAGs folder of Airflow 3.

A run stands for one trigger and has its id, so asking twice is answered with 409 and starts nothing twice:

    tidegate retrain start TRIGGER -r s3://models/registry --body airflow --token-file airflow.token \\
        --webhook https://airflow.example.com/api/v2/dags/tidegate_retrain/dagRuns

Workers need, in their environment, TIDEGATE_REGISTRY (where the models are) and TIDEGATE_POLICY (a retraining policy, what to train on);
and TIDEGATE, the program, where it is not `tidegate` on the path: it belongs in an environment of its own, beside Airflow's.

A new version is a success and its number the task's result. A candidate that was rejected, or a trigger that expired, is no failure: the
task is skipped, with the reason. A job that failed fails at once. What may pass, such as another job of the same model, is tried again.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from datetime import timedelta
from typing import Any

from airflow.sdk import Param, dag, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

NOTHING_NEW = ("rejected", "expired")
USAGE = 2  # exit code: it would be wrong the next time too


@dag(
    dag_id="tidegate_retrain",
    schedule=None,  # whoever has a trigger asks for a run
    catchup=False,
    max_active_runs=4,
    params={"trigger": Param(type="string", pattern="^[0-9a-f]{32}$"), "model": Param("", type="string")},
    tags=["tidegate"],
)
def tidegate_retrain() -> None:
    """One task: claim the trigger, train, hold the candidate against the champion, publish or say why not."""

    @task(retries=3, retry_delay=timedelta(seconds=30), retry_exponential_backoff=True, execution_timeout=timedelta(hours=12))
    def retrain(params: dict[str, Any] | None = None) -> dict[str, Any]:
        assert params is not None
        program = shlex.split(os.environ.get("TIDEGATE", "tidegate"))
        places = ["--registry", os.environ["TIDEGATE_REGISTRY"], "--policy", os.environ["TIDEGATE_POLICY"]]
        done = subprocess.run([*program, "retrain", "--trigger", params["trigger"], *places, "--json"], stdout=subprocess.PIPE, check=False)
        if done.returncode == USAGE:
            raise AirflowFailException("tidegate does not take its arguments: see the log")
        if not done.stdout:
            raise RuntimeError(f"tidegate ended with status {done.returncode}: see the log")
        said = json.loads(done.stdout)
        reason = said["entries"][-1]["reason"] if said["entries"] else ""
        if said["state"] in NOTHING_NEW:
            raise AirflowSkipException(f"{said['state']}: {reason}")
        if said["state"] != "published":
            raise AirflowFailException(f"{said['state']}: {reason}")
        return {"model": said["trigger"]["model"], "version": said["version"]}

    retrain()


tidegate_retrain()
