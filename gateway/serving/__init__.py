"""Tensors to tensors; knows no wire.

Rooms, in reading order: lifecycle, deciding, cost, model, admission, batch, deadlines, runner, versions, batching, routing, loading.
"""
