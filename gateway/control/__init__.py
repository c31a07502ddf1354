"""The composition of everything above into one process.

Rooms, in reading order: state, answers, service, health, reflection, standard_calls, calls, probes, rest_infer, rest, monitor, ports,
child, model_child, worker.
"""
