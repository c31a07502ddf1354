"""The online process.

Rooms, in reading order: pb, errors, clock, limits, config, protocol, wire, serving, observe, control, client, demo, cli.
"""
