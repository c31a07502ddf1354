"""The offline job: data to a published version. Meets the gateway only through what the registry stores.

Rooms, in reading order: errors, target, dataset, flights, train, canonical, boosting, export, join_spec, label_join, engine, inputs,
snapshot, sources, log_source, table, surveying, shards, validation, metrics, resampling, gains, recipes, entry, carrying, asking,
gate_settings, comparing, champion, gates, provenance, cluster, spread, report, expectations, tfdv, spec, card, job, planning, heartbeat,
desk, cron, policy, losses, deciding, proposing, situation, watching, adapters.
"""
