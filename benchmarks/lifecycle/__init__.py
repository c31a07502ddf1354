"""The parts of the reload bench: a server while its versions, its workers and itself come and go.

Rooms, in reading order: registries, truth, callers, gateway, verdicts, reloads, kills, terms, spread, crowd, pair, probes.
"""
