"""Who may call a real server: keys, tokens and certificates over its ports, files that change under it, and what its log never holds."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import trustme

from gateway.client import CallError, Client
from gateway.clock import SystemClock
from gateway.control.child import Child
from gateway.errors import Code
from gateway.identity.key_file import line
from gateway.identity.keys import mint
from gateway.pb import inference_pb2 as pb
from gateway.pb.rpcs import RPCS
from tests.e2e.server import Server, serving, starting
from tests.e2e.test_lifecycle import await_, said
from tests.gateway.identity.issuing import AUDIENCE, ISSUER, key_set, token
from tests.gateway.serving import graphs
from tests.gateway.serving.registries import published

X = {"x": np.array([[1.0, 2.0]], np.float32)}
LATER_S = SystemClock().wall() + 6 * 3_600  # after the longest run of all tests
SETTINGS = """
processes: {{workers: 2}}
repository: {{path: {0}/registry, model_control: explicit, load_models: ["*"]}}
tls: {{certificate: {0}/server.pem, key: {0}/server.key, client_ca: {0}/ca.pem, client_certificates: optional}}
auth:
  keys: {0}/keys.yaml
  jwt: {{issuer: {1}, audience: [{2}], keys: "http://127.0.0.1:{3}/jwks"}}
  clients: {{"dns:billing.example": {{scopes: ["infer:*"]}}}}
  metrics: true
"""


@dataclass
class Issuer:
    """Says what its public keys are."""

    names: tuple[str, ...] = ("ec",)
    server: ThreadingHTTPServer = field(init=False)

    def __enter__(self) -> Issuer:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(key_set(*issuer.names))

            def log_message(self, *_args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class House:
    """A server with models `rows` and `other`, everything that it knows of its callers, and their credentials."""

    def __init__(self, folder: Path, issuer: Issuer) -> None:
        self.folder, self.issuer = folder, issuer
        self.authority = trustme.CA()
        self.authority.cert_pem.write_to_path(folder / "ca.pem")
        self.certify()
        self.secrets: dict[str, str] = {}
        self.lines: dict[str, str] = {}
        for name, scopes in {"ann": ("infer:rows", "meta"), "ben": ("infer:other",), "root": ("admin", "meta")}.items():
            self.add(name, *scopes)
        for model in ("rows", "other"):
            published(folder / "registry", model, graphs.twice(), aliases={"champion": 1})
        self.context = ssl.create_default_context(cafile=str(folder / "ca.pem"))

    def certify(self) -> None:
        """A new certificate, the key first: for a moment they do not belong together."""
        leaf = self.authority.issue_cert("127.0.0.1", "localhost")
        leaf.private_key_pem.write_to_path(self.folder / "server.key")
        (self.folder / "server.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))

    def add(self, name: str, *scopes: str) -> str:
        """One more key in the file."""
        secret, identity, digest = mint()
        self.secrets[name], self.lines[name] = secret, line(name, identity, digest, scopes, None)
        self.write()
        return secret

    def write(self) -> None:
        draft = self.folder / "draft"
        draft.write_text("keys:\n" + "\n".join(self.lines.values()))
        draft.chmod(0o600)
        os.replace(draft, self.folder / "keys.yaml")

    @property
    def settings(self) -> str:
        return SETTINGS.format(self.folder, ISSUER, AUDIENCE, self.issuer.server.server_port)

    def client(self, server: Server, secret: str = "", leaf: trustme.LeafCert | None = None) -> Client:
        pair = (leaf.private_key_pem.bytes(), leaf.cert_chain_pems[0].bytes()) if leaf else (None, None)
        credentials = grpc.ssl_channel_credentials((self.folder / "ca.pem").read_bytes(), *pair)
        return Client(f"127.0.0.1:{server.grpc_port}", credentials=credentials, token=secret, timeout_s=10.0)

    def asks(self, server: Server, secret: str = "", model: str = "rows", leaf: trustme.LeafCert | None = None) -> Code:
        """How a request over gRPC ends."""
        with self.client(server, secret, leaf) as client:
            return outcome(lambda: client.infer(model, X))

    def line_to(self, port: int) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=self.context)

    def shown(self, port: int) -> bytes:
        """The certificate that a new connection sees."""
        with closing(self.line_to(port)) as connection:
            connection.connect()
            found: bytes = connection.sock.getpeercert(binary_form=True)
            return found


def outcome(deed: Callable[[], Any]) -> Code:
    try:
        deed()
    except CallError as error:
        return error.code
    return Code.OK


def status_of(connection: http.client.HTTPSConnection, path: str, secret: str = "") -> int:
    connection.request("GET", path, headers={"authorization": f"Bearer {secret}"} if secret else {})
    response = connection.getresponse()
    response.read()
    return response.status


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer() as made:
        yield made


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> House:
    return House(tmp_path_factory.mktemp("house"), issuer)


@pytest.fixture(scope="module")
def guarded(house: House) -> Iterator[Server]:
    with serving(house.folder, house.folder / "registry", house.settings, house.context) as server:
        yield server


def test_case_107_109_110_a_key_may_do_what_its_scopes_say_over_both_transports(house: House, guarded: Server) -> None:
    """Its own models and nothing of an administrator's; an administrator has no model for that."""
    ann, ben, root = (house.secrets[name] for name in ("ann", "ben", "root"))
    assert [Code.OK, Code.PERMISSION_DENIED] == [house.asks(guarded, ann, model) for model in ("rows", "other")]
    assert [Code.PERMISSION_DENIED, Code.OK] == [house.asks(guarded, ben, model) for model in ("rows", "other")]
    assert [Code.UNAUTHENTICATED] * 3 == [house.asks(guarded, secret) for secret in ("", ann[:-1], "x" * 9_000)]
    answers = [guarded.get(path, token=secret)[0] for path in ("/v2/models", "/v2/models/rows/ready", "/v2") for secret in (ann, ben, "")]
    assert [200, 403, 401, 200, 403, 401, 200, 200, 200] == answers
    assert 401 == guarded.get(f"/v2/models?access_token={ann}")[0]
    with closing(house.line_to(guarded.http_port)) as connection:
        connection.putrequest("GET", "/v2/models")
        for secret in (ann, ben):
            connection.putheader("authorization", f"Bearer {secret}")
        connection.endheaders()
        assert 401 == connection.getresponse().status
    load = RPCS["RepositoryModelLoad"]
    with house.client(guarded) as client:
        call = client._channel.unary_unary(load.path, load.request.SerializeToString, load.response.FromString)
        for secret, code in ((ann, "PERMISSION_DENIED"), ("", "UNAUTHENTICATED")):
            with pytest.raises(grpc.RpcError) as caught:
                call(pb.RepositoryModelLoadRequest(model_name="rows"), metadata=[("authorization", f"Bearer {secret}")] if secret else [])
            assert code == caught.value.code().name
        call(pb.RepositoryModelLoadRequest(model_name="rows"), metadata=[("authorization", f"Bearer {root}")])
    loads = [guarded.get("/v2/repository/models/rows/load", method="POST", token=secret)[0] for secret in (ann, "", root)]
    assert [403, 401, 200] == loads


def test_metrics_need_a_scope_and_health_nothing(house: House, guarded: Server) -> None:
    """Over TLS, as the settings say; refusals are counted."""
    port = guarded.metrics_port
    statuses = [
        guarded.get(path, port, token=secret)[0] for path in ("/metrics", "/v2/health/ready") for secret in ("", "x", house.secrets["ben"])
    ]
    assert [401, 401, 403, 200, 200, 200] == statuses
    status, page = guarded.get("/metrics", port, token=house.secrets["ann"])
    assert (200, True) == (status, b'tidegate_denied_total{code="UNAUTHENTICATED"}' in page)


def test_case_108_tokens_of_the_issuer_are_good_until_its_keys_change(house: House, guarded: Server) -> None:
    """Fetched at the start; one by a new key is good once the keys were fetched anew, one by an old key is not, on open connections too."""
    old, new = (token(name, exp=LATER_S, scope="infer:rows").decode() for name in ("ec", "ec7"))
    with house.client(guarded, old) as client:
        await_(lambda: outcome(lambda: client.infer("rows", X)) is Code.OK)  # the issuer is asked beside the start
        assert Code.UNAUTHENTICATED is house.asks(guarded, new)
        house.issuer.names = ("ec7",)
        os.kill(guarded.child.pid, signal.SIGHUP)
        await_(lambda: house.asks(guarded, new) is Code.OK)
        assert [Code.UNAUTHENTICATED, Code.PERMISSION_DENIED] == [
            outcome(lambda: client.infer("rows", X)), house.asks(guarded, new, "other"),
        ]  # fmt: skip
        house.issuer.names = ("ec",)
        os.kill(guarded.child.pid, signal.SIGHUP)
        await_(lambda: outcome(lambda: client.infer("rows", X)) is Code.OK)


def test_a_client_certificate_is_a_credential(house: House, guarded: Server) -> None:
    """By a name in it; one that nobody mapped is as good as none, and a key beside it is judged by itself."""
    billing, other = (house.authority.issue_cert(name) for name in ("billing.example", "other.example"))
    assert [Code.OK, Code.UNAUTHENTICATED] == [house.asks(guarded, leaf=leaf) for leaf in (billing, other)]
    assert [Code.OK, Code.UNAUTHENTICATED] == [house.asks(guarded, secret, leaf=billing) for secret in (house.secrets["ann"], "tidegate_x")]


def test_keys_come_and_go_without_a_lost_request(house: House, guarded: Server) -> None:
    """The file is noticed; who had a key is let in over connections that are open, and put out; nobody else notices anything."""
    codes: list[Code] = []
    over = threading.Event()

    def ask() -> None:
        with house.client(guarded, house.secrets["ann"]) as client:
            while not over.is_set():
                codes.append(outcome(lambda: client.infer("rows", X)))

    asking = threading.Thread(target=ask)
    connection = house.line_to(guarded.http_port)
    asking.start()
    try:
        secret = house.add("eve", "meta", "infer:rows")
        await_(lambda: status_of(connection, "/v2/models", secret) == 200)
        (house.folder / "keys.yaml").write_text("keys: [")
        await_(lambda: "the keys stay as they are" in said(guarded, "auth.keys"))
        assert 200 == status_of(connection, "/v2/models", secret)
        del house.lines["eve"]
        house.write()
        await_(lambda: status_of(connection, "/v2/models", secret) == 401)
    finally:
        connection.close()
        over.set()
        asking.join()
    assert (True, {Code.OK}) == (len(codes) > 50, set(codes))


def test_a_new_certificate_is_shown_to_new_connections(house: House, guarded: Server) -> None:
    """On every port and by every worker; connections that are open live on; files that do not belong together change nothing."""
    ports = (guarded.http_port, guarded.grpc_port, guarded.metrics_port)

    def shown() -> set[bytes]:
        return {house.shown(port) for port in ports for _ in range(4)}

    before = shown()
    assert 1 == len(before)
    with ExitStack() as stack:
        lines = [stack.enter_context(closing(house.line_to(port))) for port in ports]
        assert [200, 200, 200] == [status_of(one, "/v2/health/live") for one in lines]
        (house.folder / "server.key").write_text("half")
        await_(lambda: "the certificate stays as it is" in said(guarded, "tls: "))
        assert before == shown()
        house.certify()
        await_(lambda: not before & shown())
        assert [200, 200, 200] == [status_of(one, "/v2/health/live") for one in lines]
    assert Code.OK == house.asks(guarded, house.secrets["ann"])


def test_the_log_holds_no_credential(house: House, guarded: Server) -> None:
    """Of none of the above, nor the digest of one."""
    log = guarded.log.read_text()
    for name, secret in house.secrets.items():
        assert secret[18:] not in log, name
        assert hashlib.sha256(secret.encode()).hexdigest() not in log, name
    assert "eyJ" not in log
    assert [] == [line for line in log.splitlines() if "Traceback" in line]


def test_a_server_whose_keys_others_can_read_does_not_start(tmp_path: Path) -> None:
    """It says why in one line."""
    keys = tmp_path / "keys.yaml"
    keys.write_text("keys: {}\n")
    keys.chmod(0o644)
    published(tmp_path / "registry", "rows", graphs.twice(), aliases={"champion": 1})
    with starting(tmp_path, tmp_path / "registry", f"auth: {{keys: {keys}}}\n") as server:
        await_(lambda: server.child.status is not None)
        assert 1 == server.child.status
    (bad,) = [json.loads(line) for line in server.log.read_text().splitlines()]
    assert bad["event"].startswith(f"cannot serve: {keys}: other users can read or change it")


def test_the_command_line_makes_keys_that_a_server_takes(tmp_path: Path) -> None:
    """A key from a file goes with a question; without it the answer is 4, refused."""
    keys, secret = tmp_path / "keys.yaml", tmp_path / "secret"
    made = run(tmp_path, "key", "new", "app", "--scope", "infer:rows", "--scope", "meta", "--file", str(keys), "--json")
    secret.write_text(json.loads(made[1])["key"])
    published(tmp_path / "registry", "rows", graphs.twice(), aliases={"champion": 1})
    with serving(tmp_path, tmp_path / "registry", f"auth: {{keys: {keys}}}\n") as server:
        for more, port in (([], server.grpc_port), (["--http"], server.http_port)):
            asked = ["infer", "rows", "-i", "x=[[1,2]]", "--url", f"127.0.0.1:{port}", *more]
            assert [0, 4] == [run(tmp_path, *asked, *token_file)[0] for token_file in (["--token-file", str(secret)], [])]


def run(folder: Path, *arguments: str) -> tuple[int | None, str]:
    """The exit status of a command, and what it wrote."""
    log = folder / "command.log"
    log.unlink(missing_ok=True)
    with Child(list(arguments), log=log) as child:
        await_(lambda: child.status is not None)
        return child.status, log.read_text()
