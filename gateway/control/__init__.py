"""The composition of everything above into one process.

Rooms, in reading order: service, health, rest, worker.
"""
