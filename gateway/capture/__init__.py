"""Capture: what a worker keeps of its traffic for the inference log, after the answers are out.

Rooms, in reading order: fields, draws, parcels, gathered, writer, shape, recorder, capturing.
`registry` says what a log is on disk (`registry.log_layout` and the rooms after it); nothing here waits for a disk on the event loop.
"""
