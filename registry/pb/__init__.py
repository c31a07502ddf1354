"""The contract of a model's configuration as Python messages, and the pool that all contracts of `proto/` live in.

Rooms, in reading order: pool, model_config_pb2.
"""
