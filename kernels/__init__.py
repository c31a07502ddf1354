"""Numeric kernels: arrays in, numbers out. No I/O, no clock, no logging; knows no model.

Rooms, in reading order: jit, huffman, protobuf, buckets, layout.
"""
