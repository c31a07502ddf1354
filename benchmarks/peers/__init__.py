"""Baselines, written as well as we can: uvloop, one session a process, no extra copies. Each runs as `python -m benchmarks.peers.<name>`.

Rooms, in reading order: bare, infer, grpc_async, grpc_threads, starlette_rest, watchers.
"""
