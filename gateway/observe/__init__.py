"""What was seen: counters in arrays, and the page they are read from.

Rooms, in reading order: slabs, metrics, logs, access.
"""
