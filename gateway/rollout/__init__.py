"""Rollouts: how a new version meets traffic, what is concluded from it, and what follows.

Rooms, in reading order: plan, records, ring, recorder, events, metric_rules, plan_rules, advice, hints, spec, manual,
passage, certifying, forecast, recent.
"""
