"""Tensors to tensors; knows no wire.

Rooms, in reading order: model, admission, batching, versions, routing.
"""
