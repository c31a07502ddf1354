"""Messages to tensors and back.

Rooms, in reading order: tensors, payload, v2_grpc, template, v2_rest.
"""
