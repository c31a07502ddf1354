"""Bytes to calls and back; knows no tensor.

Rooms, in reading order: limits, status, exchange, hpack, http2, grpc, http1, tls, listener.
"""
