"""What the two producers have in common: all that does not wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import InvalidReadings
from . import columns, frames
from . import tags as told_tags
from .clock import now

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from ..settings import Settings
    from ..v1.sensor_service_pb2 import SensorReading
    from .batch import Readings
    from .books import Progress, RejectedReading, Trouble
    from .machine import Machine
    from .series import SeriesHandle


class Front:
    def __init__(self, settings: Settings, machine: Machine, guard: AbstractContextManager[Any]) -> None:
        self._settings = settings
        self._machine = machine
        # Held while the machine is looked at or told something.
        self._guard = guard

    def __repr__(self) -> str:
        with self._guard:
            committed_seq = self._machine.progress.committed_seq
        return f"<Producer {self._settings.stream_id!r} to {self._settings.target}, durable up to {committed_seq}>"

    def series(self, id1: int, id2: str, sensor_type: str, *, tags: Mapping[str, str] | None = None) -> SeriesHandle:
        """Registers a series, or finds it. `id1` is any 32-bit integer, the texts are 1 to 50 characters: the service rejects
        readings of others.

        `tags` say what the series is like: its site, its unit. At most 32; a name has 1 to 64 letters and digits of ASCII and
        ``_ . -``, a value 1 to 255 characters. A service whose table knows series stores them beside the readings; what is set
        there by hand stays. They travel with the first reading of the series in each call, and take the place of those that were
        told of it before: for a series that has sent readings already that is when the producer connects again. With
        ``encoding="rows"`` there are none."""
        told = None if tags is None else told_tags.checked(tags)
        if told is not None and self._settings.encoding != "columns":
            raise InvalidReadings('tags need encoding="columns": rows bring none')
        with self._guard:
            handle = self._machine.series.intern(id1, id2, sensor_type)
            if told is not None:
                self._machine.series.tag(handle, told)
            return handle

    def next_seq(self) -> int:
        """The position that the next reading will have. After ``connect`` this is the position behind the last reading that the
        service has of this stream."""
        with self._guard:
            return self._machine.inbox.next_seq

    def progress(self) -> Progress:
        """What is durable by now. A device that keeps its readings on a disk may delete them up to ``committed_seq``."""
        with self._guard:
            return self._machine.progress

    def trouble(self) -> Trouble:
        """What goes wrong by now. A producer without `give_up_after_s` goes on for ever, and this is where it says why nothing
        moves. The logger ``sluicegate`` says it, too."""
        with self._guard:
            return self._machine.trouble

    def take_rejected(self) -> list[RejectedReading]:
        """The readings that the service rejected since the last call of this function, at most the last 1,000. Their positions
        are those that ``push`` returned."""
        with self._guard:
            return self._machine.take_rejected()

    def source_position(self) -> bytes | None:
        """Where the stream stands in its source, as far as that is durable; None when it was never told. After ``connect`` it is
        what the last producer of the stream has left: to go on there connect with ``from_source_position=True``."""
        with self._guard:
            return self._machine.source_position or None

    def mark_source_position(self, source_position: bytes) -> None:
        """Tells where the producer stands in its own source behind the last reading that was pushed: an offset, a file and a
        line, at most 1,024 bytes. With no reading behind the last flush it travels with the next one."""
        position = columns.source_position(source_position, named=self._settings.stream_id is not None)
        with self._guard:
            self._machine.inbox.mark(position)

    def _columns(self, series: Any, values: Any, timestamps_us: Any) -> Readings:
        return columns.readings(series, values, timestamps_us, len(self._machine.series))

    def _frame(self, frame: Any, names: tuple[str, str, str], value: str, timestamp: str) -> Readings:
        for name in (value, timestamp):
            if name not in frame:
                raise InvalidReadings(f"the frame has no column {name!r}; it has {list(frame.columns)}")
        series = frames.series_column(frame, names, self.series)
        return self._columns(series, frame[value], frame[timestamp])

    def _reading(self, reading: SensorReading) -> tuple[SeriesHandle, float, int]:
        for field in ("sensor_value", "timestamp_us"):
            if not reading.HasField(field):
                raise InvalidReadings(f"the reading has no {field}")
        series = self.series(reading.id1, reading.id2, reading.sensor_type)
        return series, reading.sensor_value, reading.timestamp_us

    def _push(self, series: int, value: float, timestamp_us: Any) -> int | None:
        """The position of the reading, or None when there is no room; under the guard."""
        if type(timestamp_us) is not int:
            timestamp_us = columns.micros(timestamp_us)
        machine = self._machine
        if not 0 <= series < len(machine.series):
            columns.check_series(series, len(machine.series))
        try:
            return machine.inbox.push(series, value, timestamp_us, now())
        except (TypeError, OverflowError) as error:
            raise InvalidReadings(f"value {value!r} at {timestamp_us} is no reading: {error}") from None
