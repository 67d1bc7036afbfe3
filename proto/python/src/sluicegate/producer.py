"""The producer for programs with threads, or with none."""

from __future__ import annotations

import atexit
import logging
import random
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Callable

from . import net
from .core import columns
from .core.clock import deadline_of, left, now
from .core.front import Front
from .core.machine import Machine
from .delivery import Changed, Delivery
from .errors import Closed, TimedOut
from .link import Link
from .settings import Settings

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import ArrayLike
    from typing_extensions import Self, Unpack

    from .core.batch import Readings
    from .core.books import Progress
    from .core.columns import Timestamp
    from .core.series import SeriesHandle
    from .settings import Options
    from .v1.sensor_service_pb2 import SensorReading

_log = logging.getLogger("sluicegate")
_open_producers: weakref.WeakSet[Producer] = weakref.WeakSet()


class Producer(Front):
    """Streams readings to the service and resumes after every failure. One producer is one stream; several threads may use it.

    Readings go into a batch that is sent when it is full or its linger has passed. A batch is kept until the service has
    acknowledged it, which it does when the batch is committed. When a call breaks, the producer connects again, asks how far the
    stream is committed, and sends the rest again: nothing is lost and nothing is stored twice.

    What the producer keeps is in memory. A device that must survive its own restart keeps its readings until
    ``progress().committed_seq`` has passed them, and starts again with the one whose position is ``next_seq()`` after
    ``connect``.

    In a ``with`` block it is closed at the end, which delivers what is left; an exception in the block stops it at once instead.
    """

    def __init__(self, settings: Settings, link: Link, machine: Machine) -> None:
        """Use :meth:`connect`."""
        self._changed = Changed()
        super().__init__(settings, machine, self._changed)
        self._delivery = Delivery(link, machine, self._changed)
        _open_producers.add(self)

    @classmethod
    def connect(cls, target: str, **options: Unpack[Options]) -> Self:
        """Connects to `target`, such as ``http://127.0.0.1:50051``, and opens the stream, which fences every older writer of it.
        Failures that may pass are tried again for as long as `connect_patience_s` says. What can be set, and what it is without,
        stands with :class:`sluicegate.Options`."""
        settings = Settings(target, **options).validated()
        link = Link(net.Dialer(settings), acked=settings.acked)
        draw = random.SystemRandom()
        hold, position = link.open_first(settings, draw)
        return cls(settings, link, Machine(settings, hold, position, draw))

    def push(self, series: SeriesHandle, value: float, timestamp_us: Timestamp, *, timeout_s: float | None = None) -> int:
        """Takes a reading and returns its position in the stream. The time is in microseconds since the Unix epoch, UTC, or a
        datetime with a time zone. Waits while the unacknowledged limit is reached; a call that times out has taken nothing."""
        with self._changed:
            seq = self._push(series, value, timestamp_us)
            if seq is None:
                deadline = deadline_of(timeout_s)
                while seq is None:
                    self._wait_for_room(deadline, 0)
                    seq = self._push(series, value, timestamp_us)
            self._changed.tell_news_of(self._machine)
            return seq

    def push_columns(
        self,
        series: SeriesHandle | ArrayLike,
        values: ArrayLike,
        timestamps_us: ArrayLike,
        *,
        timeout_s: float | None = None,
    ) -> int:
        """Takes columns of readings, in far less time per reading than :meth:`push`, and returns the position of the last one;
        without readings that is the position of the last reading so far. `series` is one series for all of them, or a column of
        what :meth:`series` returned. Times are whole microseconds or ``datetime64``, which is taken as UTC; a pandas column with
        a time zone is converted. Waits while the unacknowledged limit is reached. A call that times out may have taken the
        beginning of the columns: ``TimedOut.taken`` says how much."""
        return self._extend(self._columns(series, values, timestamps_us), None, timeout_s)

    def push_frame(
        self,
        frame: Any,
        *,
        id1: str = "id1",
        id2: str = "id2",
        sensor_type: str = "sensor_type",
        value: str = "sensor_value",
        timestamp: str = "timestamp",
        timeout_s: float | None = None,
    ) -> int:
        """As :meth:`push_columns`, with a pandas DataFrame that has a row for each reading, in columns of these names."""
        return self._extend(self._frame(frame, (id1, id2, sensor_type), value, timestamp), None, timeout_s)

    def push_with_position(
        self,
        series: SeriesHandle | ArrayLike,
        values: ArrayLike,
        timestamps_us: ArrayLike,
        source_position: bytes,
        *,
        timeout_s: float | None = None,
    ) -> int:
        """As :meth:`push_columns`, for one reading or for columns, and tells where the producer stands in its own source behind
        the last of them: an offset, a file and a line, at most 1,024 bytes. The service keeps it with the readings, in one
        transaction, and gives it back (:meth:`source_position`)."""
        position = columns.source_position(source_position, named=self._settings.stream_id is not None)
        return self._extend(self._columns(series, values, timestamps_us), position, timeout_s)

    def _extend(self, readings: Readings, source_position: bytes | None, timeout_s: float | None) -> int:
        deadline = deadline_of(timeout_s)
        taken = 0
        with self._changed:
            inbox = self._machine.inbox
            if len(readings) == 0 and source_position is not None:
                inbox.mark(source_position)
            while taken < len(readings):
                just_taken = inbox.extend(readings.part(taken), now(), source_position)
                if just_taken == 0:
                    self._wait_for_room(deadline, taken)
                    continue
                taken += just_taken
                self._changed.tell_news_of(self._machine)
            return inbox.next_seq - 1

    def _wait_for_room(self, deadline: float | None, taken: int) -> None:
        self._changed.tell_news_of(self._machine)
        if not self._changed.wait(left(deadline)):
            raise TimedOut("there was no room for more readings in time: the service does not acknowledge them", taken)

    def send(self, reading: SensorReading, *, timeout_s: float | None = None) -> int:
        """Takes a reading in the form of the contract. Looks up its series every time: use :meth:`series` and :meth:`push` where
        speed matters."""
        return self.push(*self._reading(reading), timeout_s=timeout_s)

    def flush(self, *, timeout_s: float | None = None) -> int:
        """Waits until everything so far is durable, and returns the position up to which it is."""
        with self._changed:
            last_seq = self._machine.inbox.ask_to_flush()
            self._changed.notify_all()
        return self.wait_durable(last_seq, timeout_s=timeout_s)

    def wait_durable(self, seq: int, *, timeout_s: float | None = None) -> int:
        """Waits until the reading at position `seq` is durable, and returns it."""
        self._wait_until(lambda: self._machine.progress.committed_seq >= seq, timeout_s, f"position {seq} is not durable")
        return seq

    def close(self, *, timeout_s: float | None = None) -> Progress:
        """Delivers everything, ends the stream and returns the books. After ``TimedOut`` it may be asked again."""
        with self._changed:
            self._machine.inbox.ask_to_close()
            self._changed.notify_all()
        with suppress(Closed):
            self._wait_until(lambda: False, timeout_s, "not everything is durable")
        self._delivery.join()
        _open_producers.discard(self)
        return self.progress()

    def stop(self) -> None:
        """Ends the producer at once. What is not acknowledged may or may not be stored; a named stream knows it when it is opened
        again."""
        with self._changed:
            self._machine.stop("its program stopped it")
            self._changed.notify_all()
        # An attempt to connect may go on for a while, to no effect.
        self._delivery.join(1)
        _open_producers.discard(self)

    def _wait_until(self, is_true: Callable[[], bool], timeout_s: float | None, otherwise: str) -> None:
        deadline = deadline_of(timeout_s)
        with self._changed:
            while not is_true():
                if self._machine.has_ended:
                    raise self._machine.error or Closed()
                if not self._changed.wait(left(deadline)):
                    raise TimedOut(f"{otherwise} after {timeout_s} s; the producer goes on")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.stop()


@atexit.register
def _tell_of_unclosed() -> None:
    """A program that ends takes with it what was not acknowledged."""
    for producer in list(_open_producers):
        unacknowledged = producer.next_seq() - 1 - producer.progress().committed_seq
        if unacknowledged > 0 and not producer._machine.has_ended:
            _log.warning(
                "%r was not closed, and %d readings are not acknowledged: close() waits for them", producer, unacknowledged
            )
