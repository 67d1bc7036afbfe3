"""The same producer for asyncio.

    from sluicegate.aio import Producer

    async with Producer.connect("http://127.0.0.1:50051", stream_id="gateway-7") as producer:
        boiler = producer.series(7, "boiler", "temperature")
        await producer.push(boiler, 71.5, 1_767_225_600_000_000)
        await producer.flush()  # from here on the reading is durable

What waits, waits in the event loop; calls are made by threads, as those of :class:`sluicegate.Producer` are. grpc.aio would do
without them, but where a call ends while it writes, it forgets why (https://github.com/grpc/grpc/issues/36066).
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Callable, Generic, TypeVar

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
    from collections.abc import Coroutine, Generator
    from types import TracebackType

    from numpy.typing import ArrayLike
    from typing_extensions import Self, Unpack

    from .core.batch import Readings
    from .core.books import Progress
    from .core.columns import Timestamp
    from .core.series import SeriesHandle
    from .settings import Options
    from .v1.sensor_service_pb2 import SensorReading

P = TypeVar("P", bound="Producer")


class Connecting(Generic[P]):
    """A producer that is yet to be connected: ``await`` it, or begin with it a block ``async with``."""

    def __init__(self, connect: Coroutine[Any, Any, P]) -> None:
        self._connect = connect
        self._producer: P | None = None

    def __await__(self) -> Generator[Any, None, P]:
        return self._connect.__await__()

    async def __aenter__(self) -> P:
        self._producer = await self._connect
        return self._producer

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._producer is not None:
            await self._producer.__aexit__(kind, error, traceback)


class Producer(Front):
    """As :class:`sluicegate.Producer`, for one event loop: all of its functions are for the thread of that loop.

    What waits can be cancelled, as ``asyncio.timeout`` does it: a ``push`` that is cancelled has taken nothing, ``push_columns``
    may have taken the beginning of the columns (compare ``next_seq()``).
    """

    def __init__(self, settings: Settings, link: Link, machine: Machine) -> None:
        """Use :meth:`connect`."""
        self._changed = Changed()
        self._changed.tells(self._wake)
        super().__init__(settings, machine, self._changed)
        self._loop = asyncio.get_running_loop()
        # Whoever waits for a change; under the guard.
        self._waiting: set[asyncio.Future[None]] = set()
        # A batch was begun or sealed since the last pause.
        self._pause_is_due = False
        self._delivery = Delivery(link, machine, self._changed)

    @classmethod
    def connect(cls, target: str, **options: Unpack[Options]) -> Connecting[Self]:
        """To be awaited, or for ``async with``: connects to `target`, such as ``http://127.0.0.1:50051``, and opens
        the stream, which fences every older writer of it. Failures that may pass are tried again for as long as
        `connect_patience_s` says. What can be set, and what it is without, stands with :class:`sluicegate.Options`."""
        return Connecting(cls._connect(target, options))

    @classmethod
    async def _connect(cls, target: str, options: Options) -> Self:
        settings = Settings(target, **options).validated()
        link = Link(net.Dialer(settings), acked=settings.acked)
        draw = random.SystemRandom()
        try:
            hold, position = await asyncio.get_running_loop().run_in_executor(None, link.open_first, settings, draw)
        except asyncio.CancelledError:
            link.close()
            raise
        return cls(settings, link, Machine(settings, hold, position, draw))

    async def push(self, series: SeriesHandle, value: float, timestamp_us: Timestamp, *, timeout_s: float | None = None) -> int:
        """Takes a reading and returns its position in the stream. The time is in microseconds since the Unix epoch, UTC, or a
        datetime with a time zone. Waits while the unacknowledged limit is reached; a call that times out has taken nothing."""
        deadline = deadline_of(timeout_s)
        while True:
            await self._pause()
            with self._changed:
                seq = self._push(series, value, timestamp_us)
                self._pause_is_due = self._changed.tell_news_of(self._machine)
                if seq is not None:
                    return seq
                waiting = self._wait_for_change()
            await self._wait_for_room(waiting, deadline, 0)

    async def push_columns(
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
        a time zone is converted. Waits while the unacknowledged limit is reached."""
        return await self._extend(self._columns(series, values, timestamps_us), None, timeout_s)

    async def push_frame(
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
        return await self._extend(self._frame(frame, (id1, id2, sensor_type), value, timestamp), None, timeout_s)

    async def push_with_position(
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
        return await self._extend(self._columns(series, values, timestamps_us), position, timeout_s)

    async def _extend(self, readings: Readings, source_position: bytes | None, timeout_s: float | None) -> int:
        deadline = deadline_of(timeout_s)
        inbox = self._machine.inbox
        taken, last_seq = 0, 0
        if len(readings) == 0 and source_position is not None:
            self.mark_source_position(source_position)
        while taken < len(readings):
            await self._pause()
            with self._changed:
                just_taken = inbox.extend(readings.part(taken), now(), source_position)
                taken += just_taken
                self._pause_is_due = self._changed.tell_news_of(self._machine)
                last_seq = inbox.next_seq - 1
                waiting = self._wait_for_change() if just_taken == 0 else None
            if waiting is not None:
                await self._wait_for_room(waiting, deadline, taken)
        return last_seq if taken else self.next_seq() - 1

    async def _pause(self) -> None:
        """Whoever pushes all the time would keep the loop for itself. Before anything is taken: a pause can be cancelled."""
        if self._pause_is_due:
            self._pause_is_due = False
            await asyncio.sleep(0)

    async def _wait_for_room(self, waiting: asyncio.Future[None], deadline: float | None, taken: int) -> None:
        if not await self._is_done(waiting, deadline):
            raise TimedOut("there was no room for more readings in time: the service does not acknowledge them", taken)

    def _wait_for_change(self) -> asyncio.Future[None]:
        """Under the guard, so that no change goes by unseen."""
        future = self._loop.create_future()
        self._waiting.add(future)
        return future

    async def _is_done(self, waiting: asyncio.Future[None], deadline: float | None) -> bool:
        """False when the time has passed before anything changed."""
        try:
            await asyncio.wait_for(waiting, left(deadline))
        except asyncio.TimeoutError:
            return False
        finally:
            with self._changed:
                self._waiting.discard(waiting)
        return True

    def _wake(self) -> None:
        """In any thread, under the guard."""
        waiting, self._waiting = self._waiting, set()
        if waiting:
            # The loop may have ended, and who waited with it.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(_set_all, waiting)

    async def send(self, reading: SensorReading, *, timeout_s: float | None = None) -> int:
        """Takes a reading in the form of the contract. Looks up its series every time: use :meth:`series` and :meth:`push` where
        speed matters."""
        return await self.push(*self._reading(reading), timeout_s=timeout_s)

    async def flush(self, *, timeout_s: float | None = None) -> int:
        """Waits until everything so far is durable, and returns the position up to which it is."""
        with self._changed:
            last_seq = self._machine.inbox.ask_to_flush()
            self._changed.notify_all()
        return await self.wait_durable(last_seq, timeout_s=timeout_s)

    async def wait_durable(self, seq: int, *, timeout_s: float | None = None) -> int:
        """Waits until the reading at position `seq` is durable, and returns it."""
        is_durable = lambda: self._machine.progress.committed_seq >= seq  # noqa: E731
        await self._wait_until(is_durable, timeout_s, f"position {seq} is not durable")
        return seq

    async def close(self, *, timeout_s: float | None = None) -> Progress:
        """Delivers everything, ends the stream and returns the books. After ``TimedOut`` it may be asked again."""
        with self._changed:
            self._machine.inbox.ask_to_close()
            self._changed.notify_all()
        with suppress(Closed):
            await self._wait_until(lambda: False, timeout_s, "not everything is durable")
        await self._join()
        return self.progress()

    async def _join(self) -> None:
        await self._loop.run_in_executor(None, self._delivery.join, 1)

    async def stop(self) -> None:
        """Ends the producer at once. What is not acknowledged may or may not be stored; a named stream knows it when it is opened
        again."""
        with self._changed:
            self._machine.stop("its program stopped it")
            self._changed.notify_all()
        await self._join()

    async def _wait_until(self, is_true: Callable[[], bool], timeout_s: float | None, otherwise: str) -> None:
        deadline = deadline_of(timeout_s)
        while True:
            with self._changed:
                if is_true():
                    return
                if self._machine.has_ended:
                    raise self._machine.error or Closed()
                waiting = self._wait_for_change()
            if not await self._is_done(waiting, deadline):
                raise TimedOut(f"{otherwise} after {timeout_s} s; the producer goes on")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            await self.close()
        else:
            await self.stop()


def _set_all(waiting: set[asyncio.Future[None]]) -> None:
    for future in waiting:
        if not future.done():
            future.set_result(None)
