"""grpc.aio on uvloop with a hand-written ModelInfer: one session, input and output bytes used in place."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import grpc
import grpc.aio
import uvloop

from benchmarks.peers.infer import SERVICE, Model, generic_handler


async def serve(repository: Path, port: int, certificate: tuple[Path, Path] | None) -> None:
    """Serve until cancelled, over TLS with a certificate and its key."""
    model = Model(repository, "tabular")
    infer = model.infer

    async def model_infer(request, context):
        return infer(request)

    server = grpc.aio.server(options=[("grpc.max_concurrent_streams", 1024), ("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((generic_handler(SERVICE, "ModelInfer", model_infer),))
    if certificate is None:
        server.add_insecure_port(f"127.0.0.1:{port}")
    else:
        chain, key = (path.read_bytes() for path in certificate)
        server.add_secure_port(f"127.0.0.1:{port}", grpc.ssl_server_credentials([(key, chain)]))
    await server.start()
    await asyncio.Event().wait()


def main() -> None:
    """Start."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repository", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("--tls", type=Path, nargs=2, metavar=("CERTIFICATE", "KEY"))
    options = parser.parse_args()
    uvloop.run(serve(options.repository, options.port, options.tls))


if __name__ == "__main__":
    main()
