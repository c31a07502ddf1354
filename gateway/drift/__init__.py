"""Drift: what every batch counts, and what is concluded from it.

Rooms, in reading order: blocks, layout, tally, rules, plans, segments, tables, recorder, door, entrance, learned, gathered, watching,
making, policy, cells, rings, states, starts, evidence, windows, estimate, findings, sentences, relief, display, watch, documents, saved,
learning, tracked.
Up to `making` it is what workers do with each batch; the rest is evaluated in a process of its own.
"""
