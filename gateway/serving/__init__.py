"""Tensors to tensors; knows no wire.

Rooms, in reading order: lifecycle, deciding, selection, splits, sources, explicit, drowsing, cost, quarantine, restarts, region, frames,
channel, sessions, placing, bound, ports, denormals, model, admission, batch, terms, fair, backlog, holdings, crowding, lane, deadlines,
runner, versions, hosting, host, isolated, isolated_child, answering, batching, routing, index, optimized, loading.
"""
