"""Rollouts: how a new version meets traffic, what is concluded from it, and what follows.

Rooms, in reading order: plan, records, events, metric_rules, rules, advice, hints, spec, ring, recorder, pairing, fitting, copies,
mirror, crowd, usage, shadow, shadowing, units, stage, verdict, hits, slowness, mixes, agreement, labels, queries, streaks, thresholds,
sentences, saved, counting, tally, machine, standing, directive, observation, deciding, verbs, champion, admission, waiting, status,
operations, controller.
"""
