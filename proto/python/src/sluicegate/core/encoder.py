"""Turns batches into the messages of one call. A message stays below the limit of bytes, so one batch can become several
messages; positions follow from the order."""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

from ..settings import COLUMNS_READING_BYTES
from ..v1.sensor_service_pb2 import SensorReading
from . import wire
from .batch import Readings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .batch import SealedBatch
    from .series import SeriesTable

# Fields of StreamReadingsRequest,
_ROWS, _COLUMNS, _SOURCE_POSITION = 2, 3, 4
# of SensorBatch,
_READINGS = 1
# and of ColumnBatch.
_EXTEND_DICTIONARY = wire.tag(2, wire.VARINT) + b"\x01"
_SERIES_INDEX, _SENSOR_VALUE, _TIMESTAMP_DELTA_US = 3, 4, 6
_BASE_TIMESTAMP_US = wire.tag(5, wire.VARINT)


class Dictionary(Enum):
    """How a call spells its series."""

    ROWS = "every reading carries its series"
    PER_CALL = "a series is sent once per call"
    PER_MESSAGE = "every message carries the series that it uses"


class Encoder:
    """Of one call."""

    def __init__(self, dictionary: Dictionary, max_message_bytes: int) -> None:
        self._dictionary = dictionary
        self._max_message_bytes = max_message_bytes
        # So many series of the producer's table are known to this call.
        self._announced = 0
        # Those of which this call was told tags, where each message has a dictionary of its own.
        self._tagged: set[int] = set()
        self._messages: deque[bytes] = deque()

    def has_messages(self) -> bool:
        return bool(self._messages)

    def next_message(self) -> bytes | None:
        """An encoded StreamReadingsRequest."""
        return self._messages.popleft() if self._messages else None

    def encode_batch(self, batch: SealedBatch, table: SeriesTable) -> None:
        """Appends the messages for a batch, of which the one that ends at its mark says where that is in the source."""
        readings, mark = batch.readings, batch.mark
        if mark is None:
            return self._encode(readings, table)
        if mark.behind == 0:
            # A message of its own: it says nothing of what follows.
            self._messages.append(b"")
        else:
            self._encode(readings.part(0, mark.behind), table)
        self._messages[-1] += wire.delimited(_SOURCE_POSITION, mark.source_position)
        if mark.behind < len(readings):
            self._encode(readings.part(mark.behind), table)
        return None

    def _encode(self, readings: Readings, table: SeriesTable) -> None:
        if self._dictionary is Dictionary.ROWS:
            self._encode_rows(readings, table)
        elif self._dictionary is Dictionary.PER_CALL:
            self._encode_with_call_dictionary(readings, table)
        else:
            self._encode_with_own_dictionaries(readings, table)

    def _encode_rows(self, readings: Readings, table: SeriesTable) -> None:
        rows: list[bytes] = []
        size_bytes = 0
        columns = zip(readings.series.tolist(), readings.values.tolist(), readings.timestamps_us.tolist())
        for index, value, timestamp_us in columns:
            series = table.get(index)
            reading = SensorReading(
                sensor_value=value,
                sensor_type=series.sensor_type,
                id1=series.id1,
                id2=series.id2,
                timestamp_us=timestamp_us,
            )
            row = wire.delimited(_READINGS, reading.SerializeToString())
            if rows and size_bytes + len(row) > self._max_message_bytes:
                self._messages.append(wire.delimited(_ROWS, b"".join(rows)))
                rows, size_bytes = [], 0
            rows.append(row)
            size_bytes += len(row)
        self._messages.append(wire.delimited(_ROWS, b"".join(rows)))

    def _encode_with_call_dictionary(self, readings: Readings, table: SeriesTable) -> None:
        needed = int(readings.series.max()) + 1
        readings_bytes = len(readings) * COLUMNS_READING_BYTES
        announcement: list[bytes] = []
        tags: list[bytes] = []
        size_bytes = readings_bytes
        for index in range(self._announced, needed):
            series, told = table.encoded(index), table.encoded_tags(index, len(announcement))
            # A dictionary that leaves no room for the readings goes ahead of them.
            if announcement and size_bytes + len(series) + len(told) > self._max_message_bytes:
                self._emit_columns(b"".join(announcement + tags) + _EXTEND_DICTIONARY)
                announcement, tags, size_bytes = [], [], readings_bytes
                told = table.encoded_tags(index, 0)
            announcement.append(series)
            tags.append(told)
            size_bytes += len(series) + len(told)
        # One series with all that is said of it may leave none by itself.
        if size_bytes > self._max_message_bytes and any(tags):
            self._emit_columns(b"".join(announcement + tags) + _EXTEND_DICTIONARY)
            announcement, tags = [], []
        self._announced = max(self._announced, needed)
        beginning = b"".join(announcement + tags) + _EXTEND_DICTIONARY
        start = 0
        while start < len(readings):
            end = start + _close_in_time(readings.timestamps_us[start:])
            self._emit_columns(beginning + _columns(readings.part(start, end)))
            beginning = _EXTEND_DICTIONARY
            start = end

    def _encode_with_own_dictionaries(self, readings: Readings, table: SeriesTable) -> None:
        close = _close_in_time(readings.timestamps_us)
        used, index = np.unique(readings.series, return_inverse=True)
        numbers = used.tolist()
        series = b"".join(table.encoded(number) for number in numbers)
        untold = [(place, number) for place, number in enumerate(numbers) if number not in self._tagged]
        series += b"".join(table.encoded_tags(number, place) for place, number in untold)
        too_large = len(series) + len(readings) * COLUMNS_READING_BYTES > self._max_message_bytes
        if close < len(readings) or (too_large and len(readings) > 1):
            cut = close if close < len(readings) else len(readings) // 2
            self._encode_with_own_dictionaries(readings.part(0, cut), table)
            self._encode_with_own_dictionaries(readings.part(cut), table)
            return
        self._tagged.update(numbers)
        own = Readings(index.astype(np.uint32), readings.values, readings.timestamps_us)
        self._emit_columns(series + _columns(own))

    def _emit_columns(self, batch: bytes) -> None:
        self._messages.append(wire.delimited(_COLUMNS, batch))


def _columns(readings: Readings) -> bytes:
    """The three columns of a ColumnBatch."""
    base = int(readings.timestamps_us[0])
    deltas = readings.timestamps_us - readings.timestamps_us[0]
    return b"".join(
        (
            wire.delimited(_SERIES_INDEX, wire.varints(readings.series.astype(np.uint64))),
            wire.delimited(_SENSOR_VALUE, wire.doubles(readings.values)),
            _BASE_TIMESTAMP_US,
            wire.int64(base),
            wire.delimited(_TIMESTAMP_DELTA_US, wire.varints(wire.zigzag(deltas))),
        )
    )


def _close_in_time(timestamps_us: NDArray[np.int64]) -> int:
    """So many readings from the beginning can have the first one's time as their base: times that are more than 2^63
    microseconds apart need a base of their own."""
    base = timestamps_us[0]
    lowest, highest, first = int(timestamps_us.min()), int(timestamps_us.max()), int(base)
    if lowest - first >= -(1 << 63) and highest - first < 1 << 63:
        return len(timestamps_us)
    deltas = timestamps_us - base
    overflows = ((timestamps_us ^ base) & (timestamps_us ^ deltas)) < 0
    return int(np.argmax(overflows))
