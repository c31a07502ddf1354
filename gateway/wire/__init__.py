"""Bytes to calls and back; knows no tensor.

Rooms, in reading order: status, exchange, coding, body, frames, hpack, head, gathering, stream, floods, blocks, controls, http2,
timeouts, grpc_framing, grpc, http_stream, http1_head, http1_exchange, http1, tls, secured, accepting,
listener.

`http2` and `http1` are sans-IO: bytes and a clock in, bytes and calls out. `secured`, `accepting` and `listener` alone know asyncio.
"""
