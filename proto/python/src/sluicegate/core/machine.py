"""The delivery of one stream: one call after another, until the producer is closed or cannot go on."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Union

import grpc

from ..errors import Closed, Fenced, GaveUp, PositionLost, ProducerEnded, Refused, Stopped
from ..v1.sensor_service_pb2 import StreamAck, StreamHeader, StreamReadingsRequest
from .backoff import Backoff
from .books import Books, Progress, RejectedReading, Trouble
from .encoder import Dictionary, Encoder
from .hold import is_proved_by
from .inbox import Inbox
from .opening import Open, open_request
from .series import SeriesTable
from .verdict import Status, Verdict, judge
from .window import Window

if TYPE_CHECKING:
    import random

    from ..settings import Settings
    from ..v1.sensor_service_pb2 import StreamPosition, StreamReadingsResponse
    from .hold import Hold
    from .opening import OpenFailure

MAX_REPOSITIONS = 3
"""So often in a row the service may say that a position is wrong."""
MAX_REJECTED_KEPT = 1_000
"""Rejected readings that are kept for `take_rejected`; the oldest go first."""

_log = logging.getLogger("sluicegate")


@dataclass(frozen=True)
class Rest:
    """Nothing to do until then, or until something happens."""

    until: float | None


@dataclass(frozen=True)
class Call:
    """Begin a call; this is its first message, if it has a name."""

    first_message: bytes | None


@dataclass(frozen=True)
class End:
    """Nothing more to do."""


Step = Union[Rest, Open, Call, End]


class _Phase(Enum):
    IDLE = auto()
    OPENING = auto()
    CALLING = auto()
    WAITING = auto()
    ENDED = auto()


class _Sending(Enum):
    """Where the sending half of a call stands."""

    OPEN = auto()
    FINISHED = auto()  # we ended it: everything that we want to send is sent
    DRAINING = auto()  # the service takes no more: it is about to stop


class Machine:
    """Whoever drives it asks :meth:`step` what to do, does it, and says what came of it: :meth:`opened` or :meth:`open_failed`,
    and for a call :meth:`take_ack` or :meth:`take_summary` and at last :meth:`call_ended`. Meanwhile :meth:`next_message`
    has what the call is to send. Every time is of one clock that never goes back, in seconds."""

    def __init__(self, settings: Settings, hold: Hold, position: StreamPosition | None, draw: random.Random) -> None:
        committed_seq = position.committed_seq if position else 0
        # A stream that goes on at its source's position sends again what is behind that.
        from_source = position is not None and settings.from_source_position
        last_seq = position.source_seq if position and from_source else committed_seq
        self.inbox = Inbox(settings, last_seq)
        self.series = SeriesTable()
        self.trouble = Trouble()
        self.error: ProducerEnded | None = None
        """Why the producer ended; None after it was closed and delivered everything."""
        self.source_position = position.source_position if position else b""
        self.call_number = 0
        """Of the call that is open, or else of the next one."""
        self._settings = settings
        self._hold = hold
        self._window = Window(last_seq)
        self._books = Books(committed_seq, position.rejected if position else 0)
        self._backoff = Backoff(*settings.backoff_s, draw)
        self._dictionary = Dictionary.ROWS if settings.encoding == "rows" else Dictionary.PER_CALL
        self._rejected: deque[RejectedReading] = deque(maxlen=MAX_REJECTED_KEPT)
        # The highest position that any call was given.
        self._sent_seq = committed_seq
        self._phase = _Phase.IDLE
        self._wait_until = 0.0
        # The stream is open under this epoch (0 for an anonymous one), and no call has used that yet.
        self._opened: int | None = position.epoch if position else 0
        self._fresh = False
        # Since when readings wait without progress; in a plain call, when the first failure after the last progress was.
        self._trouble_since: float | None = None
        # Wrong positions since the last progress.
        self._repositions = 0
        self._start_call_state()

    def _start_call_state(self) -> None:
        self._encoder = Encoder(self._dictionary, self._settings.max_message_bytes)
        self._sending = _Sending.OPEN
        # An anonymous call counts its own readings from 1.
        self._call_start = 0 if self._is_named else self._window.committed_seq
        self._stands_still_since = self._trouble_since
        self._window.rewind()

    @property
    def _is_named(self) -> bool:
        return self._settings.stream_id is not None

    @property
    def has_ended(self) -> bool:
        return self._phase is _Phase.ENDED

    @property
    def progress(self) -> Progress:
        return self._books.total()

    def take_rejected(self) -> list[RejectedReading]:
        rejected = list(self._rejected)
        self._rejected.clear()
        return rejected

    # What to do.

    def step(self, now: float) -> Step:
        if self._phase is _Phase.CALLING:
            return self._watch_call(now)
        if self._phase is _Phase.WAITING:
            if now < self._wait_until:
                return Rest(self._wait_until)
            self._phase = _Phase.IDLE
        if self._phase is _Phase.IDLE:
            return self._begin_work(now)
        return Rest(None) if self._phase is _Phase.OPENING else End()

    def _begin_work(self, now: float) -> Step:
        """An idle producer opens no call, so that a limit on idle calls does not make it come and go."""
        self.inbox.move_sealed_to(self._window)
        if self._window.is_empty():
            # Nothing is in doubt while nothing is unacknowledged.
            self._trouble_since = None
            if self.inbox.wants_close:
                self._end(None)
                return End()
            linger_end = self._linger_end()
            if linger_end is None or now < linger_end:
                return Rest(linger_end)
            self.inbox.seal_open()
            self.inbox.move_sealed_to(self._window)
        if self._opened is None:
            self._phase = _Phase.OPENING
            return self._open(now)
        return self._call(self._opened)

    def _open(self, now: float) -> Open:
        deadline = now + self._settings.connect_timeout_s
        gives_up_at = self._gives_up_at(now if self._trouble_since is None else self._trouble_since)
        if gives_up_at is not None:
            deadline = min(deadline, gives_up_at)
        return Open(open_request(self._settings.stream_id, self._hold.claim()), self._fresh, deadline)

    def _call(self, epoch: int) -> Call:
        self._phase, self._opened = _Phase.CALLING, None
        self._start_call_state()
        stream_id = self._settings.stream_id
        if stream_id is None:
            return Call(None)
        header = StreamHeader(stream_id=stream_id, epoch=epoch, first_seq=self._window.committed_seq + 1)
        return Call(StreamReadingsRequest(header=header).SerializeToString())

    def next_message(self, now: float) -> bytes | Rest | End:
        """What the open call is to send: a message, nothing until then, or nothing any more."""
        if self._phase is not _Phase.CALLING or self._sending is not _Sending.OPEN:
            return End()
        self.inbox.move_sealed_to(self._window)
        if not self._has_next():
            if self._wants_to_finish():
                self._sending = _Sending.FINISHED
                self._stand(now)
                return End()
            # While batches wait for the connection a partial one may as well grow.
            linger_end = self._linger_end()
            if linger_end is None or now < linger_end:
                return Rest(linger_end)
            self.inbox.seal_open()
            self.inbox.move_sealed_to(self._window)
        message = self._encode_next()
        if not self._settings.acked:
            self._stands_still_since = None
            self._goes_well()
        self._stand(now)
        return message

    def _has_next(self) -> bool:
        return self._encoder.has_messages() or self._window.has_unsent()

    def _encode_next(self) -> bytes:
        message = self._encoder.next_message()
        while message is None:
            batch = self._window.next_unsent()
            if batch is None:
                raise AssertionError("whoever encodes has a batch")
            self._encoder.encode_batch(batch, self.series)
            self._sent_seq = max(self._sent_seq, batch.last_seq)
            message = self._encoder.next_message()
        return message

    def _wants_to_finish(self) -> bool:
        """True when the call should end once everything is sent. A plain client-streaming call acknowledges only then."""
        wishes = self.inbox
        wants_ack = wishes.wants_room or wishes.flush_through > self._window.committed_seq
        has_sent = not self._window.is_empty()
        return wishes.wants_close or (not self._settings.acked and has_sent and wants_ack)

    def _linger_end(self) -> float | None:
        opened_at = self.inbox.opened_at
        return None if opened_at is None else opened_at + self._settings.linger_s

    # Patience.

    def _gives_up_at(self, since: float) -> float | None:
        patience_s = self._settings.give_up_after_s
        return None if patience_s is None else since + patience_s

    def _stand(self, now: float) -> None:
        """Keeps up to date since when the call stands still."""
        # A plain call owes nothing while it is open and takes what there is.
        owes = self._has_next() or self._sending is not _Sending.OPEN
        waits = not self._window.is_empty() if self._settings.acked else owes
        if not waits:
            self._stands_still_since = None
        elif self._stands_still_since is None:
            self._stands_still_since = now
        if self._settings.acked:
            # A call that breaks after it stood still does not buy time.
            self._trouble_since = self._stands_still_since

    def _watch_call(self, now: float) -> Step:
        self.inbox.move_sealed_to(self._window)
        self._stand(now)
        since = self._stands_still_since
        gives_up_at = None if since is None else self._gives_up_at(since)
        if since is None or gives_up_at is None or now < gives_up_at:
            return Rest(gives_up_at)
        self._leave_call()
        self._end(GaveUp(now - since, "the call is open, but the service acknowledges nothing"))
        return End()

    # What happened.

    def opened(self, position: StreamPosition | None) -> None:
        """The stream was opened again: drops what turned out to be durable."""
        claim = self._hold.claim()
        self._phase, self._fresh = _Phase.IDLE, False
        self._opened = position.epoch if position else 0
        if position is None:
            return
        committed_seq = position.committed_seq
        if committed_seq < self._window.committed_seq:
            self._end(PositionLost(self._window.committed_seq, committed_seq))
            return
        # What was committed unseen counts as ours only if nobody else can have written it.
        proved = is_proved_by(claim, position.epoch)
        if committed_seq > (self._sent_seq if proved else self._window.committed_seq):
            self._end(self._fenced())
            return
        self._hold.gained(position.epoch)
        self._books.recover(committed_seq, position.rejected)
        self._stands_at(position.source_position)
        self._settle(committed_seq)

    def open_failed(self, failure: OpenFailure, now: float) -> None:
        if failure.sent:
            self._hold.unanswered()
        self._failed(failure.status, now, in_call=False)

    def take_ack(self, ack: StreamAck, now: float) -> None:
        """An acknowledgement of the open call. The call may have ended by it: see `call_number`."""
        if self._phase is not _Phase.CALLING:
            return
        seq = self._call_start + ack.committed_seq
        if seq > self._sent_seq:
            reason = f"the service acknowledged position {seq}, but only {self._sent_seq} was sent"
            self.call_ended(Status(grpc.StatusCode.INTERNAL, reason), now)
            return
        for rejected in ack.rejected_readings:
            position = self._call_start + rejected.seq
            self._rejected.append(RejectedReading(position, rejected.field, rejected.reason))
        self._stands_at(ack.source_position)
        self._books.acknowledge(ack, seq)
        self._settle(seq)
        if ack.draining:
            self._sending = _Sending.DRAINING
        self._stand(now)

    def take_summary(self, summary: StreamReadingsResponse, now: float) -> None:
        """The summary of a plain client-streaming call is the one acknowledgement of that call."""
        ack = StreamAck(
            committed_seq=summary.committed_seq if self._is_named else summary.received,
            committed=summary.committed,
            rejected=summary.rejected,
            duplicate=summary.duplicate,
            rejected_readings=summary.rejected_readings,
            source_position=summary.source_position,
        )
        self.take_ack(ack, now)

    def call_ended(self, status: Status | None, now: float) -> None:
        """None: the service ended it without an error."""
        if self._phase is not _Phase.CALLING:
            return
        sending = self._sending
        self._leave_call()
        if status is not None:
            self._failed(status, now, in_call=True)
        elif sending is _Sending.DRAINING:
            self._fresh = True
            self._wait(self._backoff.next_delay_s(), now)
        elif sending is _Sending.OPEN:
            self._failed(_ended_by_service(""), now, in_call=True)
        # The stream may be further than what was pushed.
        elif self._window.committed_seq < min(self._sent_seq, self._window.last_seq):
            self._failed(_ended_by_service(" and left readings unacknowledged"), now, in_call=True)
        elif self.inbox.wants_close and self._window.is_empty():
            self._end(None)

    def _leave_call(self) -> None:
        self._phase = _Phase.IDLE
        self.call_number += 1
        self._books.end_call()

    def _settle(self, seq: int) -> None:
        """Takes note that everything up to and with `seq` is durable."""
        if seq > self._window.committed_seq:
            self._goes_well()
            self._trouble_since = self._stands_still_since = None
            self._repositions = 0
            self._hold.confirmed()
            self._backoff.reset()
            self.inbox.release(self._window.acknowledge(seq))

    def _stands_at(self, source_position: bytes) -> None:
        """Empty says nothing."""
        self.source_position = source_position or self.source_position

    def _goes_well(self) -> None:
        """Readings move again."""
        if self.trouble.persists:
            self.trouble = Trouble(self.trouble.last_failure)
            _log.info("%s: readings move again", self._name)

    @property
    def _name(self) -> str:
        return f"stream {self._settings.stream_id or 'without a name'} to {self._settings.target}"

    def _failed(self, status: Status, now: float, *, in_call: bool) -> None:
        """Decides whether to go on after a failure, and how long to wait before."""
        final = self._final_error(status, in_call=in_call)
        if final is not None:
            self._end(final)
            return
        delay_s = self._backoff.next_delay_s()
        if self._trouble_since is None:
            self._trouble_since = now
        gives_up_at = self._gives_up_at(self._trouble_since)
        if gives_up_at is not None and now + delay_s >= gives_up_at:
            self._end(GaveUp(now - self._trouble_since, self._words_of(status)))
            return
        if not self.trouble.persists:
            _log.warning("%s: %s; trying again", self._name, status)
        self.trouble = Trouble(str(status), persists=True)
        self._books.reconnect()
        self._opened, self._fresh = None, True
        self._wait(delay_s, now)

    def _words_of(self, status: Status) -> str:
        """That the last attempt ran out of time says less than the failure before it."""
        earlier = self.trouble.last_failure if self.trouble.persists else None
        return earlier if earlier and status.code is grpc.StatusCode.DEADLINE_EXCEEDED else str(status)

    def _final_error(self, status: Status, *, in_call: bool) -> ProducerEnded | None:
        """Why not to go on; None otherwise."""
        verdict = judge(status, token_may_change=self._settings.bearer_token_file is not None)
        if verdict is Verdict.FINAL:
            return Refused(status.code, status.message)
        if verdict is Verdict.FENCED:
            return None if self._hold.fenced() else self._fenced()
        if verdict is Verdict.REPOSITION:
            if not in_call:
                self._hold.forgotten()
            self._repositions += 1
            return None if self._repositions <= MAX_REPOSITIONS else Refused(status.code, status.message)
        if verdict is Verdict.SHRINK_DICTIONARY and in_call and self._dictionary is Dictionary.PER_CALL:
            self._dictionary = Dictionary.PER_MESSAGE
        return None

    def _wait(self, delay_s: float, now: float) -> None:
        self._phase, self._wait_until = _Phase.WAITING, now + delay_s

    def _fenced(self) -> Fenced:
        return Fenced(self._settings.stream_id or "")

    def stop(self, reason: str) -> None:
        """Goes no further, whatever is left."""
        if self._phase is not _Phase.ENDED:
            if self._phase is _Phase.CALLING:
                self._leave_call()
            self._end(Stopped(reason))

    def _end(self, error: ProducerEnded | None) -> None:
        self._phase, self.error = _Phase.ENDED, error
        self.inbox.fail(Closed() if error is None else error)


def _ended_by_service(more: str) -> Status:
    return Status(grpc.StatusCode.UNAVAILABLE, f"the service ended the call{more}")
