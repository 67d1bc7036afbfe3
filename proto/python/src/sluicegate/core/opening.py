"""Opens the stream for the first time, with another attempt for what may pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import GaveUp, Refused
from ..v1.sensor_service_pb2 import OpenStreamRequest
from .backoff import Backoff
from .hold import Hold
from .verdict import Status, Verdict, judge

if TYPE_CHECKING:
    import random

    from ..settings import Settings
    from ..v1.sensor_service_pb2 import ResumeStream, StreamPosition


@dataclass(frozen=True)
class Open:
    """Connect, and open the stream if it has a name."""

    request: OpenStreamRequest | None
    """None for an anonymous stream, for which a connection is all."""
    fresh: bool
    """On a connection of its own; else the last one is good."""
    deadline: float


@dataclass(frozen=True)
class OpenFailure:
    """Why the stream was not opened."""

    status: Status
    sent: bool
    """The request went out, so that it may yet take effect."""


def open_request(stream_id: str | None, claim: ResumeStream | None) -> OpenStreamRequest | None:
    return None if stream_id is None else OpenStreamRequest(stream_id=stream_id, resume=claim)


class FirstOpening:
    def __init__(self, settings: Settings, draw: random.Random, now: float) -> None:
        self.hold = Hold(draw)
        self._settings = settings
        self._backoff = Backoff(*settings.backoff_s, draw)
        self._started = now
        patience_s = settings.connect_patience_s or settings.give_up_after_s
        self._patience_s = settings.connect_timeout_s if patience_s is None else patience_s

    def attempt(self, now: float) -> Open:
        deadline = min(now + self._settings.connect_timeout_s, self._started + self._patience_s)
        return Open(open_request(self._settings.stream_id, self.hold.claim()), fresh=True, deadline=deadline)

    def opened(self, position: StreamPosition | None) -> None:
        if position is not None:
            self.hold.gained(position.epoch)

    def failed(self, failure: OpenFailure, now: float) -> float:
        """How long to wait before the next attempt, in seconds. Raises when there is to be none."""
        if failure.sent:
            self.hold.unanswered()
        status = failure.status
        if judge(status) is Verdict.FINAL:
            raise Refused(status.code, status.message)
        delay_s = self._backoff.next_delay_s()
        if now - self._started + delay_s >= self._patience_s:
            raise GaveUp(now - self._started, str(status), connecting=True)
        return delay_s
