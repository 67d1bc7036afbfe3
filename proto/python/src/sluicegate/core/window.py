"""The unacknowledged batches, in stream order: what a broken call makes us send again."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .batch import SealedBatch


class Window:
    def __init__(self, committed_seq: int) -> None:
        self.committed_seq = committed_seq
        self._batches: deque[SealedBatch] = deque()
        # So many batches from the front were handed to the current call.
        self._in_call = 0

    @property
    def last_seq(self) -> int:
        """The last position that is in the window; `committed_seq` when it is empty."""
        return self._batches[-1].last_seq if self._batches else self.committed_seq

    def is_empty(self) -> bool:
        return not self._batches

    def has_unsent(self) -> bool:
        return self._in_call < len(self._batches)

    def push(self, batch: SealedBatch) -> None:
        """Takes the batch that follows the last one."""
        if batch.first_seq != self.last_seq + 1:
            raise AssertionError("a stream has no gap")
        self._batches.append(batch)

    def next_unsent(self) -> SealedBatch | None:
        """The next batch for the current call, which counts as handed over from now on."""
        if not self.has_unsent():
            return None
        batch = self._batches[self._in_call]
        self._in_call += 1
        return batch

    def acknowledge(self, seq: int) -> int:
        """Drops what is durable up to and with `seq`, and says how many bytes that freed. The stream may be further than what
        was pushed, when that is pushed again from the source's position."""
        seq = min(seq, self.last_seq)
        self.committed_seq = max(self.committed_seq, seq)
        freed_bytes = 0
        while self._batches:
            front = self._batches[0]
            if front.last_seq > seq:
                if front.first_seq <= seq:
                    front.settle_through(seq)
                break
            freed_bytes += front.size_bytes
            self._batches.popleft()
            self._in_call = max(self._in_call - 1, 0)
        return freed_bytes

    def rewind(self) -> None:
        """Forgets what the last call was given: a new call starts with the first unacknowledged reading."""
        self._in_call = 0
