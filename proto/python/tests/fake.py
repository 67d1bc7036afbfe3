"""A model of the service's side of the contract: positions, epochs, dictionaries and acknowledgements, without a database. It
breaks calls on purpose."""

from __future__ import annotations

import contextlib
import queue
import random
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum, auto

import grpc

from sluicegate.v1 import sensor_service_pb2 as pb
from sluicegate.v1 import sensor_service_pb2_grpc as rpc

Code = grpc.StatusCode
SILENT = Code.CANCELLED
"""The code of a break that ends the call as if all were well."""
_END = object()


class Refusal(Exception):
    def __init__(self, code, reason):
        super().__init__(reason)
        self.code, self.reason = code, reason


class Unanswered(Enum):
    """What becomes of an OpenStream that its sender hears nothing of."""

    AT_ONCE = auto()  # it takes effect, and the answer is lost
    LATE = auto()  # it takes effect when the next call begins


@dataclass
class OtherWriter:
    """Another writer opens the stream and commits so many readings of its own; the message is refused."""

    commits: int
    code: grpc.StatusCode


@dataclass
class CommittedUnseen:
    """The message is committed, and no acknowledgement of it arrives."""

    code: grpc.StatusCode


@dataclass
class Stored:
    series: tuple
    value: float
    timestamp_us: int


@dataclass
class Call:
    """The state of one call."""

    header: object = None
    next_seq: int = 0
    dictionary: list = field(default_factory=list)
    ack: object = field(default_factory=pb.StreamAck)
    rejected: list = field(default_factory=list)


class Fake(rpc.SensorServiceServicer):
    def __init__(self, credentials=None):
        self.credentials = credentials
        self.lock = threading.RLock()
        self.streams = {}
        self.stored = []
        self.calls = 0
        self.messages = 0
        self.tokens = []
        # How it is to misbehave.
        self.break_every = None  # commit a part of every so many-th message, then break the call
        self.drain_every = None
        self.chaos = None  # a random.Random: break and drain as it says
        self.ack_every = None
        self.stalled = False
        self.max_dictionary = None
        self.refuse = None
        self.incident = None
        self.unanswered_opens = deque()
        self.message_takes_s = 0
        self.wrong_ack = 0  # acknowledges so many more than were sent
        self.keeps_positions = True
        self._late_opens = []
        self.port = 0
        self.start()

    # Listening.

    def start(self):
        self._server = grpc.server(ThreadPoolExecutor(40), options=[("grpc.so_reuseport", 0)])
        rpc.add_SensorServiceServicer_to_server(self, self._server)
        address = f"127.0.0.1:{self.port}"
        if self.credentials:
            self.port = self._server.add_secure_port(address, self.credentials)
        else:
            self.port = self._server.add_insecure_port(address)
        self._server.start()

    def stop(self):
        self._server.stop(0).wait(10)

    @property
    def target(self):
        return f"{'https' if self.credentials else 'http'}://127.0.0.1:{self.port}"

    @property
    def values(self):
        with self.lock:
            return [reading.value for reading in self.stored]

    # The calls.

    def OpenStream(self, request, context):  # noqa: N802
        self._note_token(context)
        with self.lock:
            unanswered = self.unanswered_opens.popleft() if self.unanswered_opens else None
            if unanswered is Unanswered.LATE:
                self._late_opens.append(request)
            else:
                try:
                    position = self.open(request)
                except Refusal as refusal:
                    context.abort(refusal.code, refusal.reason)
        if unanswered is not None:
            gone = threading.Event()
            if context.add_callback(gone.set):
                gone.wait(30)
        return position if unanswered is None else pb.StreamPosition()

    def StreamReadings(self, requests, context):  # noqa: N802
        try:
            self._start_call(context)
            call = Call()
            for request in requests:
                self._take(call, request)
        except Refusal as refusal:
            if refusal.code is SILENT:
                context.abort(Code.UNAVAILABLE, refusal.reason)
            context.abort(refusal.code, refusal.reason)
        ack = call.ack
        return pb.StreamReadingsResponse(
            received=ack.committed + ack.rejected + ack.duplicate,
            committed=ack.committed,
            rejected=ack.rejected,
            duplicate=ack.duplicate,
            committed_seq=ack.committed_seq if call.header else 0,
            rejected_readings=call.rejected,
            source_position=ack.source_position,
        )

    def StreamReadingsAcked(self, requests, context):  # noqa: N802
        arrived = queue.Queue(1)
        reader = threading.Thread(target=_read, args=(requests, arrived, context), daemon=True)
        try:
            self._start_call(context)
            reader.start()
            yield from self._acks(arrived, context)
        except Refusal as refusal:
            if refusal.code is not SILENT:
                context.abort(refusal.code, refusal.reason)

    def _acks(self, arrived, context):
        call = Call()
        while context.is_active():
            try:
                request = arrived.get(timeout=0.005)
            except queue.Empty:
                yield self._ack(call)
                continue
            if request is _END:
                yield self._ack(call)
                return
            draining = self._take(call, request)
            if self.ack_every and self.messages % self.ack_every and not draining:
                continue
            ack = self._ack(call)
            ack.draining = draining
            yield ack
            if draining:
                return

    def _ack(self, call):
        ack = pb.StreamAck()
        ack.CopyFrom(call.ack)
        ack.committed_seq += self.wrong_ack
        ack.rejected_readings.extend(call.rejected)
        call.rejected = []
        return ack

    def _note_token(self, context):
        self.tokens.append(dict(context.invocation_metadata()).get("authorization"))
        if self.refuse is not None:
            context.abort(self.refuse, "refused on purpose")

    def _start_call(self, context):
        with self.lock:
            self.calls += 1
        if self.refuse is not None:
            raise Refusal(self.refuse, "refused on purpose")
        self.tokens.append(dict(context.invocation_metadata()).get("authorization"))

    # What the service does.

    def open(self, request):
        """OpenStream as the service does it."""
        name = request.stream_id
        if not request.HasField("resume"):
            stream = self.streams.setdefault(name, pb.StreamPosition())
            stream.epoch += 1
            return _copy(stream)
        resume = request.resume
        stream = self.streams.get(name)
        if stream is None or stream.epoch < resume.held_epoch:
            raise Refusal(Code.FAILED_PRECONDITION, "never opened")
        if stream.epoch == resume.held_epoch:
            stream.epoch = resume.next_epoch
        if stream.epoch != resume.next_epoch:
            raise Refusal(Code.ABORTED, "fenced")
        return _copy(stream)

    def _take(self, call, request):
        """True when the call is to end because the service drains."""
        while self.stalled:
            time.sleep(0.005)
        kind = request.WhichOneof("message")
        if kind == "header":
            with self.lock:
                self._begin_stream(call, request.header)
            return False
        readings = self._readings(call, request)
        time.sleep(self.message_takes_s)
        with self.lock:
            self.messages += 1
            return self._commit(call, readings, request.source_position)

    def _begin_stream(self, call, header):
        late, self._late_opens = self._late_opens, []
        for request in late:
            # Whoever asked has gone: nobody hears the answer.
            with contextlib.suppress(Refusal):
                self.open(request)
        if header.stream_id not in self.streams:
            raise Refusal(Code.FAILED_PRECONDITION, "never opened")
        call.header, call.next_seq = header, header.first_seq

    def _readings(self, call, request):
        kind = request.WhichOneof("message")
        if kind == "rows":
            return [
                Stored((row.id1, row.id2, row.sensor_type), row.sensor_value, row.timestamp_us) for row in request.rows.readings
            ]
        batch = request.columns
        if not batch.extend_dictionary:
            call.dictionary = []
        call.dictionary += [(series.id1, series.id2, series.sensor_type) for series in batch.series]
        if self.max_dictionary is not None and len(call.dictionary) > self.max_dictionary:
            raise Refusal(Code.RESOURCE_EXHAUSTED, "the dictionary is full")
        columns = zip(batch.series_index, batch.sensor_value, batch.timestamp_delta_us, strict_lengths(batch))
        return [Stored(call.dictionary[i], value, batch.base_timestamp_us + delta) for i, value, delta, _ in columns]

    def _commit(self, call, readings, source_position):
        incident, self.incident = self.incident, None
        if isinstance(incident, OtherWriter):
            stream = self.streams[call.header.stream_id]
            stream.epoch += 1
            stream.committed_seq += incident.commits
            raise Refusal(incident.code, "another writer came")
        breaks = self.break_every and self.messages % self.break_every == 0
        drains = bool(self.drain_every and self.messages % self.drain_every == 0)
        keep = len(readings) // 2 if breaks else len(readings)
        code = Code.UNAVAILABLE
        if self.chaos is not None:
            breaks = self.chaos.random() < 0.2
            drains = not breaks and self.chaos.random() < 0.1
            if breaks:
                keep = self.chaos.randint(0, len(readings))
                code = self.chaos.choice([Code.UNAVAILABLE, Code.INTERNAL, Code.UNKNOWN, SILENT])
        for reading in readings[:keep]:
            self._store(call, reading)
        if not breaks and source_position and self.keeps_positions:
            self._keep_position(call, source_position)
        if isinstance(incident, CommittedUnseen):
            raise Refusal(incident.code, "broken on purpose")
        if breaks:
            raise Refusal(code, "broken on purpose")
        return drains

    def _keep_position(self, call, source_position):
        stream = self.streams[call.header.stream_id]
        # A message without readings is fenced as well: who was left in mid-call may be read later than who came after.
        if call.header.epoch != stream.epoch:
            raise Refusal(Code.ABORTED, "fenced")
        if call.next_seq - 1 >= stream.committed_seq:
            stream.source_position, stream.source_seq = source_position, call.next_seq - 1
        call.ack.source_position = stream.source_position

    def _store(self, call, reading):
        is_bad = reading.value != reading.value
        if call.header is None:
            call.ack.committed_seq += 1
        else:
            stream = self.streams.get(call.header.stream_id)
            if stream is None:
                raise Refusal(Code.FAILED_PRECONDITION, "never opened")
            if call.header.epoch != stream.epoch:
                raise Refusal(Code.ABORTED, "fenced")
            seq = call.next_seq
            call.next_seq += 1
            if seq > stream.committed_seq + 1:
                raise Refusal(Code.OUT_OF_RANGE, "a gap")
            call.ack.committed_seq = max(stream.committed_seq, seq)
            if seq <= stream.committed_seq:
                call.ack.duplicate += 1
                return
            stream.committed_seq = seq
            stream.rejected += is_bad
        if is_bad:
            call.ack.rejected += 1
            call.rejected.append(pb.RejectedReading(seq=call.ack.committed_seq, field="sensor_value", reason="not a number"))
        else:
            call.ack.committed += 1
            self.stored.append(reading)


def strict_lengths(batch):
    lengths = {len(batch.series_index), len(batch.sensor_value), len(batch.timestamp_delta_us)}
    if len(lengths) != 1:
        raise Refusal(Code.INVALID_ARGUMENT, f"columns of {lengths} readings")
    return range(lengths.pop())


def _copy(position):
    copy = pb.StreamPosition()
    copy.CopyFrom(position)
    return copy


def _read(requests, arrived, context):
    """Puts each request there, and the next one when that was taken."""
    try:
        for request in requests:
            while context.is_active():
                try:
                    arrived.put(request, timeout=0.1)
                    break
                except queue.Full:
                    continue
        arrived.put(_END, timeout=10)
    except (grpc.RpcError, queue.Full, Exception):
        pass


def seeded(seed):
    return random.Random(seed)
