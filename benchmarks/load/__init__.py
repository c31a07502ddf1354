"""Our own load generator: closed loops over HTTP/2 and HTTP/1.1 in compiled code, sending requests that were encoded beforehand.

Rooms, in reading order: syscalls, samples, http2_frames, http2, http1, headers, messages, answers, tools.
"""
