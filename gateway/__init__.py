"""The online process.

Rooms, in reading order: pb, errors, clock, runtimes, hosts, limits, setting_types, typed_yaml, identity, capture_settings, drift_settings,
label_settings, webhook_settings, model_settings, config, config_explain, exposure, protocol, wire, serving, scoring, observe, drift,
quality, rollout, capture, control, client_tensors, client, client_rest, client_admin, load, doctor, demo_months, demo_story, demo_server,
demo_rollouts, demo_airline, demo_year_terms, demo_year_table, demo_year, demo, server, commands, cli.
"""
