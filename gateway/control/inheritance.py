"""What a worker's process is given when it starts: descriptors, and its place among the others. Everything else comes as messages."""

from __future__ import annotations

import msgspec


class Inheritance(msgspec.Struct, frozen=True, kw_only=True):
    """The one argument of the program."""

    place: int
    workers: int  # of the server: limits of connections are divided by it
    channel: int = -1
    board: int
    bells: tuple[int, ...]
    arena: int
    blocks: int  # of counts for drift
    rings: int  # of records of rollouts
    sockets: dict[str, int]  # "http_port", "grpc_port" → a socket that listens

    def descriptors(self) -> tuple[int, ...]:
        """All that the process inherits."""
        return (self.channel, self.board, *self.bells, self.arena, self.blocks, self.rings, *self.sockets.values())
