"""Tensors to tensors; knows no wire.

Rooms, in reading order: lifecycle, deciding, selection, sources, cost, model, admission, batch, deadlines, runner, versions, batching,
routing, loading.
"""
