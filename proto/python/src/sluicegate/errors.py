"""What goes wrong. Every error of this package is a :class:`SluicegateError`, and its sentence says what to do."""

from __future__ import annotations

from typing import ClassVar

import grpc

__all__ = [
    "SluicegateError",
    "ProducerEnded",
    "Fenced",
    "Refused",
    "GaveUp",
    "PositionLost",
    "Closed",
    "Stopped",
    "InvalidSetting",
    "InvalidReadings",
    "TimedOut",
]


class SluicegateError(Exception):
    """What every error of this package is."""


class ProducerEnded(SluicegateError):
    """The producer goes no further: every later call of it raises the same error. What was acknowledged is durable."""


class Fenced(ProducerEnded):
    """Another writer has opened the stream, or has written to it."""

    def __init__(self, stream_id: str) -> None:
        super().__init__(
            f"another writer has taken over the stream {stream_id!r}: a stream has one writer at a time, so see that no "
            "second program uses this name; the newest one to connect has the stream"
        )
        self.stream_id = stream_id


class Refused(ProducerEnded):
    """The service refused, and another attempt would end the same way."""

    _ADVICE: ClassVar = {
        grpc.StatusCode.UNAUTHENTICATED: "give another token (bearer_token or bearer_token_file)",
        grpc.StatusCode.PERMISSION_DENIED: "the token's scopes, or the owner of the stream, do not allow it",
        grpc.StatusCode.UNIMPLEMENTED: "is that address the gRPC port of a Sluicegate of this version?",
    }

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        advice = self._ADVICE.get(code)
        super().__init__(f"the service refused ({code.name}): {message}" + (f" ({advice})" if advice else ""))
        self.code = code
        self.message = message


class GaveUp(ProducerEnded):
    """Nothing went forward for as long as ``give_up_after_s`` or ``connect_patience_s`` allows."""

    def __init__(self, after_s: float, last: str, *, connecting: bool = False) -> None:
        advice = (
            "A longer connect_patience_s waits longer"
            if connecting
            else "A new producer may send again what was not acknowledged; a longer give_up_after_s waits longer"
        )
        super().__init__(f"gave up after {after_s:.1f} s without progress: {last}. {advice}")
        self.after_s = after_s
        self.last = last


class PositionLost(ProducerEnded):
    """The service lost readings that it had acknowledged, as after its database was restored from a backup."""

    def __init__(self, acknowledged: int, found: int) -> None:
        super().__init__(
            f"the stream is at position {found}, but {acknowledged} was acknowledged: the service has lost readings, as "
            f"after a restore from a backup. Send again what follows position {found}, with a new producer"
        )
        self.acknowledged = acknowledged
        self.found = found


class Closed(ProducerEnded):
    """The producer was closed by its own program."""

    def __init__(self) -> None:
        super().__init__("the producer is closed: make another one to send more")


class Stopped(ProducerEnded):
    """The producer broke down by itself: a fault of this package, or the end of the event loop that it ran on."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the producer has stopped: {reason}")
        self.reason = reason


class InvalidSetting(SluicegateError, ValueError):
    """A setting is out of range."""

    def __init__(self, setting: str, reason: str) -> None:
        super().__init__(f"the setting {setting} {reason}")
        self.setting = setting
        self.reason = reason


class InvalidReadings(SluicegateError, ValueError):
    """What was given to one call is no readings. Nothing of it was taken, and the producer goes on."""


class TimedOut(SluicegateError, TimeoutError):
    """The ``timeout_s`` of one call has passed. The producer goes on, and so may the caller."""

    def __init__(self, what: str, taken: int = 0) -> None:
        super().__init__(what)
        self.taken = taken
        """So many readings were taken before: go on behind them."""
