"""Rollouts: how a new version meets traffic, what is concluded from it, and what follows.

Rooms, in reading order: plan, records, events, metric_rules, plan_rules, advice, hints, spec, manual, ring, recorder, passage, certifying,
forecast, recent, pairing, fitting, copies, mirror, crowd, shadow, shadowing, machine, standing, directive, observation, deciding, verbs,
champion, admission, waiting, status, operations, controller.
"""
