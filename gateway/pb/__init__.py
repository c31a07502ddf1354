"""The contracts of `proto/` as Python messages. Importing it imports no gRPC.

Rooms, in reading order: inference_pb2, tidegate_pb2, unparsed, rpcs.
"""
