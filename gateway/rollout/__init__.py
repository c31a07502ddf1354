"""Rollouts: how a new version meets traffic, what is concluded from it, and what follows.

Rooms, in reading order: plan, records, ring, recorder, events, metric_rules, rules, advice, hints, spec, machine, standing, directive,
observation, deciding, verbs, champion, admission, waiting, status, operations, analysis, notices, happenings, seals, posting, outbox,
postman, controller.
"""
