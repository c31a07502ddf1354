"""A real Airflow on loopback, in an environment of its own: its API, its scheduler with tasks in processes, and what reads the DAGs."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from gateway.clock import SystemClock
from tests.e2e.server import free_ports
from tests.integration.prometheus import with_pause

PATIENCE_S = 240.0
PARTS = (("api-server", "--workers", "1"), ("scheduler",), ("dag-processor",))


class Airflow:
    """One that is up."""

    def __init__(self, port: int, children: list[subprocess.Popen[bytes]], home: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.token = ""
        self._children, self._home = children, home

    def ask(self, path: str, body: Mapping[str, Any] | None = None, *, method: str = "GET") -> Any:
        """What the API answers with a success. Raises OSError for all else."""
        fields = {"content-type": "application/json"} | ({"authorization": f"Bearer {self.token}"} if self.token else {})
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=fields, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def until(self, path: str, *wanted: Any, field: str) -> Any:
        """The answer, once `field` of it is one of these. What is not there yet is waited for."""
        clock = SystemClock()
        end, seen = clock.now() + PATIENCE_S, "nothing"
        while clock.now() < end:
            try:
                answer = self.ask(path)
                if answer[field] in wanted:
                    return answer
                seen = str(answer)[-500:]
            except OSError as error:
                seen = str(error)
            ended = [child.args for child in self._children if child.poll() is not None]
            assert not ended, f"{ended} ended: {self.said()}"
            with_pause(self._children[0])
        raise AssertionError(f"{path}: {seen}; {self.said()}")

    def said(self) -> str:
        """The last words of every part."""
        return "\n".join(path.read_text(errors="replace")[-1_500:] for path in self._home.glob("*.log"))


@contextmanager
def airflow(home: Path, dags: Path, environment: Mapping[str, str]) -> Iterator[Airflow]:
    """Airflow with the DAGs of a directory; its tasks have this environment."""
    home.mkdir()
    port = free_ports()[0]
    program = os.environ["TIDEGATE_AIRFLOW"]
    settings = {
        "CORE__DAGS_FOLDER": str(dags), "CORE__LOAD_EXAMPLES": "False", "CORE__EXECUTOR": "LocalExecutor", "CORE__PARALLELISM": "2",
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True", "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "API__HOST": "127.0.0.1", "API__PORT": str(port), "API__BASE_URL": f"http://127.0.0.1:{port}",
        "API_AUTH__JWT_SECRET": "a secret of this test alone, which is long enough", "DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1", "LOGGING__LOGGING_LEVEL": "INFO", "USAGE_DATA_COLLECTION__ENABLED": "False",
    }  # fmt: skip
    own = {"PATH": f"{Path(program).parent}:{os.environ['PATH']}", "HOME": str(home), "AIRFLOW_HOME": str(home), **environment}
    own |= {f"AIRFLOW__{name}": value for name, value in settings.items()}
    subprocess.run([program, "db", "migrate"], env=own, check=True, capture_output=True, timeout=300)
    with ExitStack() as stack:
        children = [stack.enter_context(_part(program, part, own, home)) for part in PARTS]
        found = Airflow(port, children, home)
        found.until("/api/v2/monitor/health", {"status": "healthy"}, field="metadatabase")
        found.token = found.ask("/auth/token")["access_token"]
        yield found


@contextmanager
def _part(program: str, words: tuple[str, ...], environment: Mapping[str, str], home: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (home / f"{words[0]}.log").open("wb") as log:
        child = subprocess.Popen([program, *words], env=dict(environment), stdout=log, stderr=log)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(60)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def status_of(airflow_: Airflow, path: str, body: Mapping[str, Any]) -> int:
    """Of a POST that may be refused."""
    try:
        airflow_.ask(path, body, method="POST")
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    return 200
