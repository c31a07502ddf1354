"""How good answers were, once it is known what came true.

Rooms, in reading order: sheet, delays, waiting.
"""
