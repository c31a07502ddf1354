"""Tensors to tensors; knows no wire.

Rooms, in reading order: lifecycle, deciding, selection, sources, explicit, drowsing, cost, quarantine, restarts, region, frames, channel,
sessions, ports, denormals, model, admission, batch, deadlines, runner, versions, hosting, host, isolated, isolated_child, batching,
routing, index, loading.
"""
