"""Rollouts: how a new version meets traffic, what is concluded from it, and what follows.

Rooms, in reading order: plan, records, events, verdict, thresholds, metric_rules, plan_rules, advice, hints, spec, manual, ring,
recorder, passage, certifying, forecast, recent, units, stage, hits, slowness, mixes, agreement, labels, queries, streaks, sentences,
saved, counting, tally, pairing, fitting, replay, copies, mirror, crowd, usage, shadow, shadowing, machine, standing, directive,
observation, deciding, verbs, champion, admission, waiting, status, operations, analysis, notices, happenings, seals, posting, outbox,
postman, controller.
"""
