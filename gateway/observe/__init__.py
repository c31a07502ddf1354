"""What was seen: counters in shared memory, what they add up to by name, and the page they are read from.

Rooms, in reading order: slabs, ledger, shared_memory, arena, totals, saved, statistics, triton_names, page, metrics, logs, access.
"""
