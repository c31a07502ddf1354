"""Tensors to tensors; knows no wire.

Rooms, in reading order: cost, model, admission, batch, deadlines, runner, versions, batching, selection, routing, loading.
"""
