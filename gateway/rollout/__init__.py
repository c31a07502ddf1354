"""Rollouts: how a new version meets traffic, what is concluded from it, and what follows.

Rooms, in reading order: plan, records, ring, recorder, pairing, fitting, copies, mirror, crowd, shadow, shadowing.
"""
