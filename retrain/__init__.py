"""The offline job: data to a published version. Meets the gateway only through what the registry stores.

Rooms, in reading order: dataset, flights, train, canonical, boosting, export, join_spec, label_join, adapters.
"""
