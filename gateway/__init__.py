"""The online process.

Rooms, in reading order: pb, errors, clock, config, protocol, wire, serving, observe, control, client, demo, cli.
"""
