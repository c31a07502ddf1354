"""Rollouts spoken to by users and machines: a real server's admin port over HTTP, gRPC and the command line; webhooks that arrive."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import random
import re
import signal
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
import yaml

from gateway.clock import SystemClock
from gateway.commands.rollout_waiting import Waited
from gateway.pb import tidegate_pb2 as pb
from gateway.rollout.operations import Operations
from gateway.rollout.posting import Poster, PostError
from gateway.rollout.postman import Postman
from gateway.rollout.seals import Secrets
from registry.store import Store
from tests.e2e import models
from tests.e2e.catalogue_tls import Authorities
from tests.e2e.server import Server, serving
from tests.gateway.commands.console import done, parsed, run
from tests.gateway.control.counter import PLAN
from tests.gateway.serving.registries import published

ROOT = Path(__file__).resolve().parents[2]
SECRET = b"\x01" * 32
YOUNG = ("admitted", "preparing")  # a referee takes up what is new as soon as it has been started


def plan(name: str, **spec: Any) -> bytes:
    return yaml.safe_dump({**PLAN, "metadata": {"name": name}, "spec": {**PLAN["spec"], "model": "rows", **spec}}).encode()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rollouts")
    published(folder / "registry", "rows", models.rows(1.0), models.rows(-1.0), aliases={"champion": 1})
    return folder


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[Server]:
    with serving(place, place / "registry") as running:
        yield running


def asked(
    server: Server, method: str, path: str, body: bytes | None = None, kind: str = "application/json", **headers: str
) -> tuple[int, Any]:
    """Status and JSON of one request to the admin port."""
    request = urllib.request.Request(f"http://127.0.0.1:{server.admin_port}{path}", body, {"content-type": kind}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def administrators(server: Server) -> list[int]:
    """Process ids: children of whichever thread of the supervisor."""
    children = Path(f"/proc/{server.child.pid}/task").glob("*/children")
    pids = [int(pid) for path in children for pid in path.read_text().split()]
    return [pid for pid in pids if b"gateway.control.administrator" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_a_rollout_is_driven_over_http_grpc_and_the_command_line(server: Server, place: Path) -> None:
    """One journal, whoever writes; the process of the port is started by who comes first, and is one more child of the supervisor."""
    assert [] == administrators(server)
    status, begun = asked(server, "POST", "/v1/rollouts?actor=ann&reason=new", plan("first"), "application/yaml")
    assert (200, "rows-1", True) == (status, begun["status"]["id"], begun["new"])
    assert 1 == len(administrators(server))
    address = f"127.0.0.1:{server.admin_port}"
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary("/tidegate.Rollouts/Status")
        found = pb.RolloutStatus.FromString(call(pb.RolloutRequest(rollout="rows").SerializeToString(), timeout=30))
        assert ("rows-1", True, "ann") == (found.id, found.phase in YOUNG, found.starter)
        watch = channel.unary_stream("/tidegate.Rollouts/Watch")(pb.RolloutRequest(rollout="rows-1").SerializeToString(), timeout=60)
        assert pb.RolloutStatus.FromString(next(watch)).phase in YOUNG
        text = done("rollout", "abort", "rows", "--server", address, "--actor", "cas", "--reason", "enough")
        assert text.startswith("rows-1: aborted, NO_DATA: enough")
        assert "aborted" == [pb.RolloutStatus.FromString(message).phase for message in watch][-1]
    gate, analysis = (asked(server, "GET", f"/v1/rollouts/rows-1/{name}") for name in ("gate", "analysis"))
    assert (403, False, 200, "aborted") == (gate[0], gate[1]["ok"], analysis[0], analysis[1]["phase"])
    entries = parsed("rollout", "history", "rows-1", "--server", address)["entries"]
    assert entries == parsed("rollout", "history", "rows-1", "-r", place / "registry")["entries"]
    events = [entry["event"] for entry in entries]
    assert (["apply", "admit"], "abort") == (events[:2], events[-1])
    assert [] == server.faults()


def test_the_command_line_reaches_a_server_with_every_verb(server: Server, place: Path) -> None:
    """With the exit codes of refusals, and of waiting."""
    address, file = f"127.0.0.1:{server.admin_port}", place / "second.yaml"
    file.write_bytes(plan("second"))
    assert parsed("rollout", "apply", file, "--server", address, "--actor", "ann", "--commit", "abc")["status"]["phase"] in YOUNG
    assert "abc" == parsed("rollout", "status", "rows", "--server", address)["commit"]
    assert ["rows-2"] == [one["id"] for one in parsed("rollout", "list", "rows", "--server", address)]
    for verb in ("pause", "resume", "approve", "promote"):
        result = run("rollout", verb, "rows", "--server", address, "--reason", "x")
        assert (4, True) == (result.exit_code, any(f"rollout rows-2 is {phase}" in result.stderr for phase in YOUNG)), result.output
    assert Waited.LATE == run("rollout", "status", "rows", "--wait", "--within", "1s", "--server", address).exit_code
    file.write_bytes(plan("second").replace(b"setWeight", b"setWeigth"))
    assert "setWeigth" in run("rollout", "apply", file, "--server", address).stderr
    done("rollout", "abort", "rows", "--server", address, "--reason", "x")
    assert Waited.BAD == run("rollout", "status", "rows", "--wait", "--server", address).exit_code
    assert [] == server.faults()


def test_a_process_of_the_port_that_is_killed_is_replaced(server: Server) -> None:
    """By the next caller, who notices nothing; what was served goes on."""
    asked(server, "GET", "/v1/rollouts")
    (process,) = administrators(server)
    os.kill(process, signal.SIGKILL)
    assert 200 == asked(server, "GET", "/v1/rollouts")[0]
    assert [process] != administrators(server)
    assert 200 == server.get("/v2/health/ready")[0]
    faults = [line for line in server.faults() if "the process of the admin port is gone" not in line]
    assert [] == faults


def test_with_credentials_each_verb_has_its_scope(place: Path, tmp_path: Path) -> None:
    """Over TLS; who acts is who the credential says, and a page of another name has nothing to find."""
    Authorities(tmp_path)
    keys = tmp_path / "keys.yaml"
    secrets = {}
    for name, scopes in (("ops", ("operate", "meta")), ("boss", ("approve",))):
        flags = [word for scope in scopes for word in ("--scope", scope)]
        secrets[name] = tmp_path / name
        secrets[name].write_text(parsed("key", "new", name, *flags, "--file", keys)["key"])
    tls = f"tls: {{certificate: {tmp_path}/server.pem, key: {tmp_path}/server.key}}"
    settings = f"{tls}\nauth: {{keys: {keys}, metrics: false}}\n"
    with serving(tmp_path, place / "registry", settings, ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))) as server:
        reach = ("--server", f"127.0.0.1:{server.admin_port}", "--ca", tmp_path / "ca.pem", "--token-file")
        file = tmp_path / "plan.yaml"
        file.write_bytes(plan("third"))
        assert 4 == run("rollout", "apply", file, *reach, secrets["boss"]).exit_code
        begun = parsed("rollout", "apply", file, *reach, secrets["ops"])["status"]
        assert "key ops" == begun["starter"]
        assert "leave out actor" in run("rollout", "pause", begun["id"], *reach, secrets["ops"], "--actor", "ann").stderr
        assert "PERMISSION_DENIED" in run("rollout", "history", begun["id"], *reach, secrets["ops"]).stderr
        done("rollout", "abort", begun["id"], *reach, secrets["ops"], "--reason", "x")
        assert 401 == server.get("/v1/rollouts", server.admin_port)[0]
        assert 200 == server.get("/v1/openapi.json", server.admin_port)[0]


def await_(server: Server, reached: Callable[[], bool]) -> None:
    """Until it is so, soon."""
    clock = SystemClock()
    until = clock.now() + 60
    while not reached():
        assert clock.now() < until, "\n".join(server.child.last_lines(20))
        server.child.wait(0.05)


# --- webhooks ----------------------------------------------------------------------------------------------------------------------


def example(page: str) -> str:
    """The verifier that the documentation shows."""
    (found,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / page).read_text(), re.MULTILINE | re.DOTALL)
    return str(found)


class Hook:
    """A receiver over TLS, built on the standard library, that verifies as the documentation says."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.authority.cert_pem.write_to_path(folder / "hooks.pem")
        self.got: list[dict[str, Any]] = []
        self.verified: list[bool] = []
        self.statuses: list[int] = []  # of the next answers; then 204
        scope: dict[str, Any] = {}
        exec(compile(example("rollout-verbs.md"), "docs", "exec"), scope)
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                secret = "whsec_" + base64.b64encode(SECRET).decode()
                hook.verified.append(scope["verified"](secret, self.headers, body, now_s=SystemClock().wall()))
                hook.got.append(json.loads(body))
                self.send_response(hook.statuses.pop(0) if hook.statuses else 204)
                self.end_headers()

            def log_message(self, *_args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert("localhost").configure_cert(context)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://localhost:{self.server.server_port}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def hook(tmp_path: Path) -> Iterator[Hook]:
    made = Hook(tmp_path)
    yield made
    made.close()


def test_webhooks_arrive_signed_and_are_tried_again(tmp_path: Path, hook: Hook) -> None:
    """From the journal to a real receiver over TLS, whose first answer is a failure: the same id comes again, and is verified."""
    store = published(tmp_path / "registry", "rows", models.rows(1.0), models.rows(-1.0), aliases={"champion": 1})
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "hook").write_bytes(b"whsec_" + base64.b64encode(SECRET))
    clock = SystemClock()
    operations = Operations(Store.open(tmp_path / "registry"), now=clock.wall)
    notifications = [{"url": hook.url, "secretFile": str(tmp_path / "secrets" / "hook"), "on": ["aborted"]}]
    file = tmp_path / "plan.yaml"
    file.write_bytes(plan("told", notifications=notifications))
    done("rollout", "apply", file, "-r", tmp_path / "registry", "--actor", "ann")
    operations.abort("rows", actor="cas", reason="enough")
    poster = Poster(networks=("127.0.0.0/8", "::1/128"), authorities=tmp_path / "hooks.pem", timeout_s=10.0, now=clock.now)
    postman = Postman(
        store, holder="s", leads=lambda _: False, post=poster.post, secrets=Secrets(tmp_path / "secrets").read, rng=random.Random(1)
    )
    hook.statuses = [503]
    postman.tick(clock.wall())
    assert ({}, 1) == (postman.problems, len(hook.got))
    postman.tick(clock.wall() + 10.0)
    assert [True] * 2 == hook.verified
    first, second = hook.got
    assert first == second
    assert ("tidegate.rollout.aborted", "cas", "enough", "admitted", "aborted") == (
        first["type"], first["data"]["actor"], first["data"]["reason"], first["data"]["from"]["phase"], first["data"]["to"]["phase"],
    )  # fmt: skip
    postman.tick(clock.wall() + 1_000.0)
    assert 2 == len(hook.got)


def test_a_server_tells_what_it_decides_and_what_others_did(tmp_path: Path, hook: Hook) -> None:
    """Its own entries and those of the command line, by the settings of `webhooks`."""
    published(tmp_path / "registry", "rows", models.rows(1.0), models.rows(-1.0), aliases={"champion": 1})
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "hook").write_bytes(b"whsec_" + base64.b64encode(SECRET))
    notifications = [{"url": hook.url, "secretFile": str(tmp_path / "secrets" / "hook"), "on": ["started", "step", "aborted"]}]
    file = tmp_path / "plan.yaml"
    file.write_bytes(plan("told", notifications=notifications))
    settings = f'webhooks: {{secrets: {tmp_path}/secrets, networks: ["127.0.0.0/8", "::1/128"], ca: {tmp_path}/hooks.pem}}\n'
    with serving(tmp_path, tmp_path / "registry", settings) as server:
        reach = ("--server", f"127.0.0.1:{server.admin_port}")
        done("rollout", "apply", file, *reach, "--actor", "ann")
        await_(server, lambda: ["started", "step"] == [one["data"]["event"] for one in hook.got])
        done("rollout", "abort", "rows", *reach, "--actor", "cas", "--reason", "enough")
        await_(server, lambda: "aborted" == hook.got[-1]["data"]["event"])
        assert Waited.BAD == run("rollout", "status", "rows", "--wait", *reach).exit_code
        assert [] == server.faults()
    assert {True} == set(hook.verified)
    assert 3 == len({one["id"] for one in hook.got})


def test_a_receiver_whose_certificate_is_not_known_gets_nothing(hook: Hook) -> None:
    """Nor one with another name."""
    poster = Poster(networks=("127.0.0.0/8", "::1/128"), timeout_s=10.0, now=SystemClock().now)
    for url in (hook.url, hook.url.replace("localhost", "127.0.0.1")):
        with pytest.raises(PostError, match="cannot be reached"):
            poster.post(url, {}, b"{}")
    assert [] == hook.got


def test_the_verifier_of_the_documentation_refuses_what_is_forged_or_old() -> None:
    """Another body, another secret, another time; one of two signatures is enough."""
    scope: dict[str, Any] = {}
    exec(compile(example("rollout-verbs.md"), "docs", "exec"), scope)
    body, secret = b'{"a": 1}', "whsec_" + base64.b64encode(SECRET).decode()

    def signed(key: bytes, time: str = "1000") -> str:
        return "v1," + base64.b64encode(hmac.new(key, b"msg_1." + time.encode() + b"." + body, hashlib.sha256).digest()).decode()

    def verdict(signature: str, time: str = "1000", sent: bytes = body) -> bool:
        headers = {"webhook-id": "msg_1", "webhook-timestamp": time, "webhook-signature": signature}
        found: bool = scope["verified"](secret, headers, sent, now_s=1_100.0)
        return found

    assert verdict(signed(SECRET))
    assert verdict(f"{signed(b'x' * 32)} {signed(SECRET)}")
    assert not verdict(signed(b"x" * 32))
    assert not verdict(signed(SECRET), sent=b'{"a": 2}')
    assert not verdict(signed(SECRET), time="1001")
    assert not verdict(signed(SECRET, "10"), time="10")
