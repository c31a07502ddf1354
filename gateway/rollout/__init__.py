"""Rollouts: how a new version meets traffic, what is concluded from it, and what follows.

Rooms, in reading order: plan, records, events, ring, recorder, units, stage, verdict, hits, slowness, mixes,
agreement, labels, queries, streaks, rules, sentences, saved, counting, tally.
"""
