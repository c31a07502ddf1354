"""grpcio sync with eight threads: the same hand-written ModelInfer, or with `--echo` a handler that returns the bytes it got."""

from __future__ import annotations

import argparse
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from benchmarks.peers.infer import SERVICE, Model, generic_handler

THREADS = 8


def echo_handler() -> grpc.GenericRpcHandler:
    """Bytes in, the same bytes out: no protobuf, no tensor, no copy of ours."""
    return grpc.method_handlers_generic_handler(SERVICE, {"ModelInfer": grpc.unary_unary_rpc_method_handler(lambda request, _: request)})


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repository", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("--echo", action="store_true")
    options = parser.parse_args()
    unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.server(ThreadPoolExecutor(THREADS), options=[*unlimited, ("grpc.max_concurrent_streams", 1024), ("grpc.so_reuseport", 0)])
    if options.echo:
        server.add_generic_rpc_handlers((echo_handler(),))
    else:
        infer = Model(options.repository, "tabular").infer
        server.add_generic_rpc_handlers((generic_handler(SERVICE, "ModelInfer", lambda request, _: infer(request)),))
    server.add_insecure_port(f"127.0.0.1:{options.port}")
    server.start()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    server.stop(0)


if __name__ == "__main__":
    main()
