"""Drives the machine of a producer with threads."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import grpc

from . import net
from .core.clock import left, now
from .core.machine import Call, End, Rest
from .core.opening import Open, OpenFailure
from .core.verdict import Status
from .v1.sensor_service_pb2 import StreamAck

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .core.machine import Machine
    from .link import Link

_log = logging.getLogger("sluicegate")


class Changed(threading.Condition):
    """Guards a machine, and tells all who wait when something changed."""

    def __init__(self) -> None:
        super().__init__()
        self._tells: Callable[[], None] | None = None

    def tells(self, listener: Callable[[], None]) -> None:
        """Has the listener called, too: in any thread, under the guard."""
        self._tells = listener

    def notify_all(self) -> None:
        super().notify_all()
        if self._tells is not None:
            self._tells()

    def tell_news_of(self, machine: Machine) -> bool:
        """Wakes whoever delivers where there is a new batch or a wish; says whether there was."""
        news = machine.inbox.take_news()
        if news:
            self.notify_all()
        return news


class Delivery:
    """Drives the machine: a thread of its own, and two more for each call, one of which is gRPC's."""

    def __init__(self, link: Link, machine: Machine, changed: Changed) -> None:
        self._link = link
        self._machine = machine
        self._changed = changed
        # The call that is open, and its number.
        self._call: tuple[int, Any] | None = None
        self._thread = threading.Thread(target=self._run, name="sluicegate-delivery", daemon=True)
        self._thread.start()

    def join(self, timeout_s: float | None = None) -> None:
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while self._go_on():
                pass
        except Exception as error:
            self._break_down(error)
        finally:
            self._link.close()

    def _go_on(self) -> bool:
        machine = self._machine
        with self._changed:
            step = machine.step(now())
            is_over = self._call is not None and self._call[0] != machine.call_number
            if isinstance(step, Rest) and not is_over:
                self._changed.wait(left(step.until))
                return True
        if is_over:
            self._drop_call()
        if isinstance(step, Open):
            self._open(step)
        elif isinstance(step, Call):
            self._begin(step)
        elif isinstance(step, End):
            with self._changed:
                self._changed.notify_all()
            return False
        return True

    def _drop_call(self) -> None:
        if self._call is not None:
            self._call[1].cancel()
            self._call = None

    def _open(self, step: Open) -> None:
        opened = self._link.open(step)
        with self._changed:
            if self._machine.has_ended:
                return
            if isinstance(opened, OpenFailure):
                self._machine.open_failed(opened, now())
            else:
                self._machine.opened(opened)
            self._changed.notify_all()

    def _begin(self, step: Call) -> None:
        number = self._machine.call_number
        try:
            call = self._link.begin(self._requests(number, step.first_message))
        except net.Unauthenticated as error:
            self._end_call(number, error.status)
            return
        self._call = (number, call)
        threading.Thread(target=self._listen, args=(number, call), name="sluicegate-acks", daemon=True).start()

    def _requests(self, number: int, first_message: bytes | None) -> Iterator[bytes]:
        """What the call sends; gRPC asks for the next message when the connection has taken the last one."""
        if first_message is not None:
            yield first_message
        while (message := self._next_request(number)) is not None:
            yield message

    def _next_request(self, number: int) -> bytes | None:
        try:
            with self._changed:
                while self._machine.call_number == number:
                    message = self._machine.next_message(now())
                    if isinstance(message, bytes):
                        return message
                    if isinstance(message, End):
                        # Where patience counts from here, it is the delivering thread that has it.
                        self._changed.notify_all()
                        return None
                    self._changed.wait(left(message.until))
        except Exception as error:
            self._break_down(error)
        return None

    def _listen(self, number: int, call: Any) -> None:
        """Takes the acknowledgements of one call."""
        status = None
        try:
            for ack in self._link.replies(call):
                with self._changed:
                    if self._machine.call_number != number:
                        return
                    if isinstance(ack, StreamAck):
                        self._machine.take_ack(ack, now())
                    else:
                        self._machine.take_summary(ack, now())
                    self._changed.notify_all()
        except grpc.FutureCancelledError:
            status = Status(grpc.StatusCode.CANCELLED, "the call was cancelled")
        except grpc.RpcError as error:
            status = net.status_of(error)
        except Exception as error:
            self._break_down(error)
        self._end_call(number, status)

    def _end_call(self, number: int, status: Status | None) -> None:
        with self._changed:
            if self._machine.call_number == number:
                self._machine.call_ended(status, now())
                self._changed.notify_all()

    def _break_down(self, error: Exception) -> None:
        _log.error("the producer breaks down", exc_info=error)
        with self._changed:
            self._machine.stop(f"{type(error).__name__}: {error}")
            self._changed.notify_all()
