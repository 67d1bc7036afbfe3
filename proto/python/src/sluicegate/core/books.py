"""What the service has acknowledged so far: the books of one producer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..v1.sensor_service_pb2 import StreamAck


@dataclass(frozen=True)
class Progress:
    """How far a producer has come; everything in it is durable."""

    committed_seq: int = 0
    """Everything up to and with this position is settled. An anonymous producer counts its own readings from 1."""
    committed: int = 0
    """Readings that this producer sent and the service committed. Readings that a broken call had settled without an
    acknowledgement are found out when the stream is opened again."""
    rejected: int = 0
    """Readings that the service rejected."""
    duplicate: int = 0
    """Readings that the service had already."""
    reconnects: int = 0
    """Attempts to go on: each follows a call that broke, or an attempt that failed."""

    @property
    def received(self) -> int:
        """Readings of this producer that are settled: ``committed + rejected + duplicate``."""
        return self.committed + self.rejected + self.duplicate


@dataclass(frozen=True)
class Trouble:
    """The failures of a producer that goes on."""

    last_failure: str | None = None
    """The last failure of a call, or of an attempt to connect; None before the first."""
    persists: bool = False
    """True from a failure to the next progress."""


@dataclass(frozen=True)
class RejectedReading:
    """A reading that was not stored. It is kept in the table ``rejected_readings``."""

    seq: int
    """Its position, as ``push`` returned it."""
    field: str
    """The field that is wrong, such as ``sensor_value``."""
    reason: str
    """One sentence a person can act on."""


class Books:
    """Adds up the totals of one call after another."""

    def __init__(self, committed_seq: int, rejected_before: int) -> None:
        # Of the calls that have ended, and of the one that is open.
        self._ended = Progress(committed_seq=committed_seq)
        self._current = Progress()
        # Readings of the stream that were rejected before this producer opened it.
        self._rejected_before = rejected_before

    def acknowledge(self, ack: StreamAck, committed_seq: int) -> None:
        """Takes the totals of the open call; `committed_seq` is the position in the stream."""
        self._current = Progress(committed_seq, ack.committed, ack.rejected, ack.duplicate)

    def end_call(self) -> None:
        """Closes the books of a call; the next one starts from 0."""
        self._ended = self.total()
        self._current = Progress()

    def reconnect(self) -> None:
        """Another attempt follows a failure."""
        self._ended = replace(self._ended, reconnects=self._ended.reconnects + 1)

    def recover(self, committed_seq: int, rejected: int) -> None:
        """The stream was opened again and is further than the last acknowledgement said: the difference was settled unseen.
        `rejected` is the stream's total."""
        ended = self._ended
        unseen = max(committed_seq - ended.committed_seq, 0)
        ours = max(rejected - self._rejected_before, 0)
        unseen_rejected = min(max(ours - ended.rejected, 0), unseen)
        self._ended = replace(
            ended,
            committed_seq=max(ended.committed_seq, committed_seq),
            committed=ended.committed + unseen - unseen_rejected,
            rejected=ended.rejected + unseen_rejected,
        )

    def total(self) -> Progress:
        ended, current = self._ended, self._current
        return Progress(
            max(ended.committed_seq, current.committed_seq),
            ended.committed + current.committed,
            ended.rejected + current.rejected,
            ended.duplicate + current.duplicate,
            ended.reconnects,
        )
