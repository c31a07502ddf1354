"""Durable truth: the only owner of files and object stores.

Rooms, in reading order: manifest, journal, store, publish, repository.
"""
