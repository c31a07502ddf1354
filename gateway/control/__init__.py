"""The composition of everything above into one process.

Rooms, in reading order: state, answers, service, calls, health, reflection, probes, rest_infer, rest, monitor, worker, ports, child.
"""
