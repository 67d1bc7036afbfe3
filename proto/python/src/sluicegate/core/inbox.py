"""What was pushed and is not yet with the calls: the open batch, the sealed ones, and what the caller waits for."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from ..errors import Closed, ProducerEnded
from .batch import OpenBatch

if TYPE_CHECKING:
    from ..settings import Settings
    from .batch import Readings, SealedBatch
    from .window import Window


class Inbox:
    def __init__(self, settings: Settings, last_seq: int) -> None:
        self._open = OpenBatch(last_seq + 1, settings.max_batch_readings)
        self._sealed: deque[SealedBatch] = deque()
        self._max_unacknowledged_bytes = settings.max_unacknowledged_bytes
        # Of every sealed batch that is not acknowledged, in here or in the window.
        self._unacknowledged_bytes = 0
        self._failed: ProducerEnded | None = None
        self._news = False
        self.flush_through = 0
        """`flush` waits for everything up to and with this position."""
        self.wants_room = False
        """`push` waits for room."""
        self.wants_close = False
        """`close` waits for the end."""

    @property
    def next_seq(self) -> int:
        return self._open.next_seq

    @property
    def opened_at(self) -> float | None:
        """When the open batch got its first reading."""
        return self._open.opened_at

    def take_news(self) -> bool:
        """Whether there is a new batch or a wish since the last time this was asked."""
        news, self._news = self._news, False
        return news

    def push(self, series: int, value: float, timestamp_us: int, now: float) -> int | None:
        """The position of the reading; None when there is no room and nothing was taken."""
        batch = self._open
        if batch.length == 0 and not self._start_batch():
            return None
        seq = batch.push(series, value, timestamp_us, now)
        if batch.is_full():
            self.seal_open()
        return seq

    def extend(self, readings: Readings, now: float, source_position: bytes | None = None) -> int:
        """How many readings from the beginning of the columns were taken, until the batch was full; 0 without room. The position
        is that behind the last of them."""
        if self._open.length == 0 and not self._start_batch():
            return 0
        taken = self._open.extend(readings, now)
        if taken == len(readings) and source_position is not None:
            self._open.mark(source_position)
        if self._open.is_full():
            self.seal_open()
        return taken

    def mark(self, source_position: bytes) -> None:
        """The producer stands there in its source, behind the last reading that was pushed."""
        self._check()
        self._open.mark(source_position)

    def _start_batch(self) -> bool:
        """Once per batch, before its first reading: everything that need not be asked for every reading."""
        self._check()
        unacknowledged_bytes = self._unacknowledged_bytes
        self.wants_room = (
            unacknowledged_bytes > 0 and unacknowledged_bytes + self._open.max_bytes > self._max_unacknowledged_bytes
        )
        # Whoever delivers has to start the linger, or to make room.
        self._news = True
        return not self.wants_room

    def _check(self) -> None:
        if self._failed is not None:
            raise self._failed
        if self.wants_close:
            raise Closed

    def seal_open(self) -> None:
        batch = self._open.seal()
        if batch is not None:
            self._unacknowledged_bytes += batch.size_bytes
            self._sealed.append(batch)
            self._news = True

    def ask_to_flush(self) -> int:
        """Seals the open batch and asks for everything so far to become durable; says up to which position."""
        self._check()
        self.seal_open()
        last_seq = self._open.next_seq - 1
        self.flush_through = last_seq
        self._news = True
        return last_seq

    def ask_to_close(self) -> None:
        self.seal_open()
        self.wants_close = True
        self._news = True

    def move_sealed_to(self, window: Window) -> None:
        while self._sealed:
            window.push(self._sealed.popleft())

    def release(self, size_bytes: int) -> None:
        """So many bytes left the window."""
        self._unacknowledged_bytes -= size_bytes

    def fail(self, error: ProducerEnded) -> None:
        """The producer has ended: every later call gets this error."""
        # A reading that is never delivered needs no memory, and an empty batch makes `push` look at the error.
        self._open.seal()
        self._sealed.clear()
        self._failed = error
        self._news = True
