"""TLS as curl and grpcio see it: ALPN, one port for both protocols, and client certificates."""

from __future__ import annotations

from pathlib import Path

import curl_checks as plain
import grpc
from curl import answered, curl
from outcome import equal
from servers import Gateway

POST = (*plain.JSON, "--data-binary", "@-")


def alpn(gateway: Gateway, folder: Path) -> None:
    """HTTP/2 where the client offers it, HTTP/1.1 where not, on either port."""
    for address in (gateway.http, gateway.grpc):
        for options, version in ((["--http2"], "2"), (["--http1.1"], "1.1"), (["--no-alpn"], "1.1")):
            answer = curl(*options, "--cacert", folder / "ca.pem", *POST, plain.infer(address, scheme="https"), data=plain.ROW)
            plain.is_next(answered(answer, 200, version))


def large(gateway: Gateway, folder: Path) -> None:
    """2 MiB both ways through TLS records, by either protocol."""
    url = plain.infer(gateway.http, "echo", "https")
    for option in ("--http2", "--http1.1"):
        answer = curl(option, "--cacert", folder / "ca.pem", *plain.LARGE_HEADERS, "--data-binary", "@-", url, data=plain.LARGE)
        plain.is_large(answered(answer, 200))


def keep_alive(gateway: Gateway, folder: Path) -> None:
    """One connection for several requests, errors among them, by either protocol."""
    for option in ("--http2", "--http1.1"):
        plain.reuses(plain.infer(gateway.http, scheme="https"), option, "--cacert", folder / "ca.pem")


def distrust(gateway: Gateway, folder: Path) -> None:
    """A client that does not know the authority refuses; a client without TLS gets nothing; the next one is served."""
    equal(60, curl(f"https://{gateway.http}/v2/health/live").exit)
    for option in ("--http1.1", plain.H2):
        equal(0, curl(option, f"http://{gateway.http}/v2/health/live").status)
    answered(curl("--cacert", folder / "ca.pem", f"https://{gateway.http}/v2/health/live"), 200, "2")


def optional_certificate(gateway: Gateway, folder: Path) -> None:
    """Where certificates are optional: none, and a good one, are served; a stranger's is not."""
    for own, status in (("", 200), ("client", 200), ("stranger", 0)):
        equal(status, _with_certificate(gateway, folder, own), own or "none")


def required_certificate(gateway: Gateway, folder: Path) -> None:
    """Where certificates are required: only a good one is served, over HTTP and gRPC."""
    for own, status in (("", 0), ("client", 200), ("stranger", 0)):
        equal(status, _with_certificate(gateway, folder, own), own or "none")
        equal(status == 200, _grpc_answers(gateway, folder, own), own or "none")


def _with_certificate(gateway: Gateway, folder: Path, own: str) -> int:
    options = ["--cert", folder / f"{own}.pem", "--key", folder / f"{own}.key"] if own else []
    return curl("--cacert", folder / "ca.pem", *options, f"https://{gateway.http}/v2/health/live").status


def _grpc_answers(gateway: Gateway, folder: Path, own: str) -> bool:
    pair = [(folder / f"{own}{suffix}").read_bytes() for suffix in (".key", ".pem")] if own else [None, None]
    trust = grpc.ssl_channel_credentials((folder / "ca.pem").read_bytes(), *pair)
    with grpc.secure_channel(gateway.grpc, trust) as channel:
        try:
            return channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"", timeout=5) == b"\x08\x01"
        except grpc.RpcError as error:
            equal(grpc.StatusCode.UNAVAILABLE, error.code())
            return False


CHECKS = [alpn, large, keep_alive, distrust, optional_certificate]
REQUIRED = [required_certificate]
