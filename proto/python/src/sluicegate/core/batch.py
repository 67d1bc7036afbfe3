"""Batches of readings as columns: one that is open takes readings, one that is sealed has its place in the stream."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..settings import BATCH_BYTES, READING_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Readings:
    """Three columns of the same length."""

    series: NDArray[np.uint32]
    values: NDArray[np.float64]
    timestamps_us: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.values)

    def part(self, start: int, end: int | None = None) -> Readings:
        return Readings(self.series[start:end], self.values[start:end], self.timestamps_us[start:end])

    def copy(self) -> Readings:
        return Readings(self.series.copy(), self.values.copy(), self.timestamps_us.copy())


def concatenated(parts: list[Readings]) -> Readings:
    return Readings(
        np.concatenate([part.series for part in parts]),
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.timestamps_us for part in parts]),
    )


class Mark(NamedTuple):
    """Where the producer stands in its source, and behind how many readings of a batch."""

    behind: int
    source_position: bytes


class OpenBatch:
    """The batch that takes readings."""

    def __init__(self, first_seq: int, capacity: int) -> None:
        self._capacity = capacity
        self._first_seq = first_seq
        self._start()

    def _start(self) -> None:
        self.length = 0
        self._mark: Mark | None = None
        # Columns that came as such, and then readings that came one by one.
        self._parts: list[Readings] = []
        self._series = array("I")
        self._values = array("d")
        self._timestamps_us = array("q")
        self.opened_at: float | None = None
        """When its first reading came; the linger counts from here."""

    def is_full(self) -> bool:
        return self.length >= self._capacity

    @property
    def next_seq(self) -> int:
        return self._first_seq + self.length

    @property
    def max_bytes(self) -> int:
        """The most bytes that this batch can take once it is sealed."""
        return BATCH_BYTES + self._capacity * READING_BYTES

    def push(self, series: int, value: float, timestamp_us: int, now: float) -> int:
        """Takes a reading, and returns its position; there must be room. What is no number or does not fit raises, and nothing is
        taken."""
        self._series.append(series)
        try:
            self._values.append(value)
            self._timestamps_us.append(timestamp_us)
        except (TypeError, OverflowError):
            # All three columns have the length of the shortest one, the last.
            taken = len(self._timestamps_us)
            del self._series[taken:], self._values[taken:]
            raise
        if self.length == 0:
            self.opened_at = now
        self.length += 1
        return self._first_seq + self.length - 1

    def extend(self, readings: Readings, now: float) -> int:
        """Takes as many readings from the beginning of the columns as there is room for, and says how many."""
        taken = min(len(readings), self._capacity - self.length)
        if taken > 0:
            if self.length == 0:
                self.opened_at = now
            self._settle_single()
            # Whoever gave them may write to them later.
            self._parts.append(readings.part(0, taken).copy())
            self.length += taken
        return taken

    def mark(self, source_position: bytes) -> None:
        """The producer stands there in its source, behind the last reading."""
        self._mark = Mark(self.length, source_position)

    def _settle_single(self) -> None:
        """Makes columns of the readings that came one by one."""
        if len(self._values) > 0:
            single = Readings(
                np.frombuffer(self._series, np.uint32),
                np.frombuffer(self._values, np.float64),
                np.frombuffer(self._timestamps_us, np.int64),
            )
            self._parts.append(single)
            self._series, self._values, self._timestamps_us = array("I"), array("d"), array("q")

    def seal(self) -> SealedBatch | None:
        """Closes the batch and starts the next one; nothing when it is empty."""
        if self.length == 0:
            return None
        self._settle_single()
        readings = self._parts[0] if len(self._parts) == 1 else concatenated(self._parts)
        sealed = SealedBatch(self._first_seq, readings, self._mark)
        self._first_seq += self.length
        self._start()
        return sealed


class SealedBatch:
    """A batch that has its place in the stream and is kept until it is acknowledged."""

    def __init__(self, first_seq: int, readings: Readings, mark: Mark | None = None) -> None:
        self._first_seq = first_seq
        self._readings = readings
        self._mark = mark
        # So many readings from the beginning are acknowledged.
        self._settled = 0

    @property
    def first_seq(self) -> int:
        """The position of the first reading that is not acknowledged."""
        return self._first_seq + self._settled

    @property
    def last_seq(self) -> int:
        return self._first_seq + len(self._readings) - 1

    @property
    def size_bytes(self) -> int:
        """Bytes that it takes until all of it is acknowledged."""
        position_bytes = len(self._mark.source_position) if self._mark else 0
        return BATCH_BYTES + len(self._readings) * READING_BYTES + position_bytes

    def settle_through(self, seq: int) -> None:
        """Leaves out everything up to and with `seq`, which lies before the last reading of this batch."""
        self._settled = max(self._settled, seq + 1 - self._first_seq)

    @property
    def readings(self) -> Readings:
        """Those that are not acknowledged."""
        return self._readings.part(self._settled)

    @property
    def mark(self) -> Mark | None:
        """Where the producer stands in its source behind so many of the readings that are not acknowledged."""
        if self._mark is None or self._mark.behind < self._settled:
            return None
        return Mark(self._mark.behind - self._settled, self._mark.source_position)
