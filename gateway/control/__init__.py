"""The composition of everything above into processes: a supervisor, and workers that serve.

Rooms, in reading order: state, answers, parking, service, index, configuration, health, reflection, standard_calls, calls, probes,
rest_infer, rest, ports, child, model_child, messages, tables, holding, board, balance, channel, inheritance, serving, worker, sockets,
respawn, spawning, fleet, steering, verifying, lookout, changes, notify, monitor, counting, supervisor.
"""
