"""What travels from the event loop to the thread that writes: the pieces of one frame, and whose rows they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from registry.frames import Buffer
from registry.log_accounts import ARMS
from registry.log_ledger import ACCEPTED, ARM_WORDS, PROMISED
from registry.log_rows import Contract

Words = memoryview  # int64, of a model in the worker's ledger: of each arm its words


class Parcel:
    """Rows of one contract. `rows`: of each of `ARMS`; `then` is called when they are on disk, or are given up."""

    __slots__ = ("contract", "pieces", "rows", "size", "then", "words")

    def __init__(
        self, contract: Contract, pieces: Sequence[Buffer], rows: Sequence[int], words: Words, then: Callable[[], None] | None = None
    ) -> None:
        self.contract, self.pieces, self.rows, self.words, self.then = contract, pieces, rows, words, then
        self.size = sum([len(piece) for piece in pieces])

    def count(self, word: int) -> None:
        """Count its rows in the ledger, as dropped for one reason."""
        for arm in range(len(ARMS)):
            if self.rows[arm]:
                self.words[arm * ARM_WORDS + word] += self.rows[arm]


def accept(words: Words, arm: int, rows: int) -> None:
    """Count rows of one arm as accepted."""
    words[arm * ARM_WORDS + ACCEPTED] += rows


def promise(words: Words, arm: int, rows: int) -> None:
    """Rows of answers that leave now; taken back, as fewer than none, once they are accepted."""
    words[arm * ARM_WORDS + PROMISED] += rows
