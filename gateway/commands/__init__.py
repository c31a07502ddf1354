"""What the command line does, one module per group of commands. Nothing heavy is imported before a command that needs it runs.

Rooms, in reading order: output, reaching, inputs, serve, registry, infer, bench, demo, doctor, config.
"""
