"""What the command line does, one module per group of commands. Nothing heavy is imported before a command that needs it runs.

Rooms, in reading order: output, histogram, watching, files, place, reaching, inputs, serve, reload, submissions, signing, moves, publish,
models, facts, inspect, profile, verify, aliases, log, retire, carry, sign, key, infer, drift, labels, forecasts, rollout, rollout_view,
rollout_waiting, rollout_target, rollout_verbs, retrain_wish, retrain_view, retrain_validation, retrain_engine, retrain, verdicts, replay,
score, start, bench, demo, doctor, config, capture.
"""
