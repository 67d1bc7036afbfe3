"""What a producer's hold on its stream rests on, and whether what was committed unseen is its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..v1.sensor_service_pb2 import ResumeStream

if TYPE_CHECKING:
    import random

STEPS = (1 << 16, 1 << 20)
"""Steps from one epoch to the next: so large that nobody gets there by taking the stream over again and again, and drawn at
random, so that two who resume do not meet."""


class Hold:
    """On what grounds the stream is opened: at first whoever holds it, later only if nobody else has opened it since."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._resume: ResumeStream | None = None
        # Take-overs of ours that went unanswered: each may yet take effect and fence the one that came after it.
        self._late_take_overs = 0

    def claim(self) -> ResumeStream | None:
        """What to ask for: to resume, or None to take the stream over. It may be asked again when it went unanswered."""
        return self._resume

    def gained(self, epoch: int) -> None:
        """The stream was opened under this epoch."""
        self._resume = ResumeStream(held_epoch=epoch, next_epoch=epoch + self._draw.randrange(*STEPS))

    def unanswered(self) -> None:
        """A request to open the stream was sent and not answered."""
        # One to resume takes effect once, however often it is sent.
        if self._resume is None:
            self._late_take_overs += 1

    def confirmed(self) -> None:
        """Readings were committed under our epoch."""
        self._late_take_overs = 0

    def fenced(self) -> bool:
        """Another writer opened the stream, says the service. True when that may have been a late take-over of our own, and
        the stream may be taken over once more."""
        if self._late_take_overs == 0:
            return False
        self._late_take_overs -= 1
        self._resume = None
        return True

    def forgotten(self) -> None:
        """The service knows nothing of the epoch that we hold."""
        self._resume = None


def is_proved_by(claim: ResumeStream | None, epoch: int) -> bool:
    """Whether an answer with this epoch proves that nobody else has written since our own readings."""
    return claim is not None and claim.next_epoch == epoch
