"""The online process.

Rooms, in reading order: pb, errors, clock, limits, setting_types, typed_yaml, config, config_explain, protocol, wire, serving,
observe, control, client_tensors, client, client_rest, load, doctor, demo, commands, cli.
"""
