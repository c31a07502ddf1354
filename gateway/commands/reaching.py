"""How commands reach a server: address, protocol, certificates, token and patience, as options that `infer` and `bench` share."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.commands import files
from gateway.commands.output import UsageError

if TYPE_CHECKING:
    from gateway.client import Client
    from gateway.client_rest import RestClient

Url = Annotated[str | None, typer.Option("--url", "-u", help="host:port of the server [127.0.0.1:8001, with --http 127.0.0.1:8000].")]
Http = Annotated[bool, typer.Option("--http", help="Speak REST instead of gRPC.")]
Timeout = Annotated[float, typer.Option("--timeout", help="Seconds to wait for one answer.", min=0.001)]
Authority = Annotated[Path | None, typer.Option("--ca", help="PEM of the server's authority; turns TLS on.")]
Certificate = Annotated[Path | None, typer.Option("--cert", help="PEM of our certificate, for a server that wants one.")]
Key = Annotated[Path | None, typer.Option("--key", help="PEM of our private key.")]
TokenFile = Annotated[
    Path | None, typer.Option("--token-file", help="A file with an API key or a token, for a server that wants one; - for standard input.")
]
MAX_TOKEN_BYTES = 16 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """One server and how to speak to it."""

    url: str | None = None
    timeout_s: float = 10.0
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    token_file: Path | None = None  # never the token itself: arguments are shown to every user of a machine

    def grpc(self) -> Client:
        """A gRPC client. Raises `UsageError` for files that cannot be read."""
        import grpc

        from gateway.client import Client

        credentials = None
        if self.ca:
            pair = [files.content(path) if path else None for path in (self.key, self.cert)]
            credentials = grpc.ssl_channel_credentials(files.content(self.ca), *pair)
        return Client(_target(self.url, default="127.0.0.1:8001"), credentials=credentials, token=self._token(), timeout_s=self.timeout_s)

    def rest(self) -> RestClient:
        """A REST client. Raises `UsageError` for files that cannot be read."""
        import ssl

        from gateway.client_rest import RestClient

        context = None
        if self.ca:
            try:
                context = ssl.create_default_context(cafile=str(self.ca))
                if self.cert:
                    context.load_cert_chain(self.cert, self.key)
            except OSError as error:
                raise UsageError(f"certificates: {error.strerror or error}") from None
        return RestClient(_target(self.url, default="127.0.0.1:8000"), context=context, token=self._token(), timeout_s=self.timeout_s)

    def _token(self) -> str:
        if self.token_file is None:
            return ""
        is_input = str(self.token_file) == "-"
        content = sys.stdin.buffer.read(MAX_TOKEN_BYTES) if is_input else files.content(self.token_file, max_bytes=MAX_TOKEN_BYTES)
        token = content.decode("ascii", "replace").strip()
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise UsageError("--token-file: expected one API key or token, and nothing else")
        return token


def _target(url: str | None, *, default: str) -> str:
    """`host:port` of what people type, which may have a scheme."""
    if url is None:
        return default
    target = url.partition("://")[2] or url
    if target.rstrip("/").count(":") == 0 or "/" in target.rstrip("/"):
        raise UsageError(f"--url: expected host:port, got {url!r}")
    return target.rstrip("/")
