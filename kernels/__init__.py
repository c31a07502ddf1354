"""Numeric kernels: arrays in, numbers out. No I/O, no clock, no logging; knows no model.

Rooms, in reading order: jit, huffman, hpack_static, hpack, request_fields, protobuf, buckets, layout, binning, categories, predictions,
rules, stirling, divergence, evidence, betting, odds, proportions, assignment, mixes, strata, units, compare, quality, siphash, request_ids.
"""
