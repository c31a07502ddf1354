"""The composition of everything above into processes: a supervisor, and workers that serve.

Rooms, in reading order: state, replies, answers, parking, quotas, forks, plans, service, index, configuration, statistics, drift_questions,
label_bodies, label_questions, load_parameters, model_control, instruments, extensions, health, reflection, routes, guard, guarded_calls,
standard_calls, calls, behind, probes, paths, rest_infer, rest_predict, model_status, rest_v1, schemas, operations, openapi, rest, errands,
rollout_work, rollout_operations, rollout_rest, rollout_watches, rollout_calls, rollout_registry, ports, child, model_child, messages,
tables, watches, captures, holding, board, balance, channel, chores, inheritance, crossings, shadows, serving, worker, admin_messages,
administrator, matured, rollout_messages, fetching, queries, benches, rollout_page, rounds, referee, recorder_messages, recorder,
drift_messages, drift_page, drift_shelf, drift_triggers, drift_desk, evaluator, label_messages, label_intake, label_reading, label_quality,
label_wants, label_desk, sockets, respawn, spawning, administration, watchdog, fleet, steering, verifying, observing, attendant, evaluators,
label_desks, referees, recorders, rollouts, drift, guidance, lookout, overlays, loads, changes, rereading, notify, monitor, placements,
counting, stamps, issuer, credentials, certificates, supervisor.
"""
