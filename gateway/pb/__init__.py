"""The contracts of `proto/` as Python messages. Importing it imports no gRPC.

Rooms, in reading order: pool, model_config_pb2, inference_pb2, unparsed, rpcs.
"""
