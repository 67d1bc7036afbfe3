"""The state machine and its parts, without a network: every time in here is made up."""

import random

import grpc
import numpy as np
import pytest

import sluicegate
from sluicegate.core import wire
from sluicegate.core.backoff import Backoff
from sluicegate.core.batch import OpenBatch, Readings
from sluicegate.core.books import Books
from sluicegate.core.encoder import Dictionary, Encoder
from sluicegate.core.hold import STEPS, Hold
from sluicegate.core.machine import Call, End, Machine, Rest
from sluicegate.core.opening import FirstOpening, Open, OpenFailure
from sluicegate.core.series import SeriesTable
from sluicegate.core.verdict import Status, Verdict, judge
from sluicegate.core.window import Window
from sluicegate.settings import Settings
from sluicegate.v1 import sensor_service_pb2 as pb

Code = grpc.StatusCode
LOST = Status(Code.UNAVAILABLE, "the wire is cut")


def columns(series, values, timestamps_us):
    return Readings(np.asarray(series, np.uint32), np.asarray(values, np.float64), np.asarray(timestamps_us, np.int64))


# Encoding.


@pytest.mark.parametrize("highest", [0, 1, 127, 128, 300, 2**14, 2**21, 2**32 - 1, 2**63, 2**64 - 1])
def test_columns_are_encoded_as_protobuf_does_it(highest):
    draw = np.random.default_rng(highest % 1_000)
    numbers = draw.integers(0, highest, 1_000, dtype=np.uint64, endpoint=True)
    expected = pb.ColumnBatch(series_index=numbers.astype(np.uint32)).SerializeToString()
    if highest < 2**32:
        assert wire.delimited(3, wire.varints(numbers)) == expected
    signed = numbers.view(np.int64)
    expected = pb.ColumnBatch(timestamp_delta_us=signed).SerializeToString()
    assert wire.delimited(6, wire.varints(wire.zigzag(signed))) == expected
    assert wire.varints(numbers) == b"".join(wire.varint(int(number)) for number in numbers)


def decode(encoder, limit, told=None):
    """Reads the messages as the service does. `told` gets what is said of series."""
    dictionary, decoded, positions = [], [], []
    while (encoded := encoder.next_message()) is not None:
        assert len(encoded) <= limit
        request = pb.StreamReadingsRequest.FromString(encoded)
        rows = request.rows.readings
        decoded += [((row.id1, row.id2, row.sensor_type), row.sensor_value, row.timestamp_us) for row in rows]
        batch = request.columns
        if not batch.extend_dictionary:
            dictionary = []
        if told is not None:
            told += [(batch.series[one.series_index].id1, dict(one.tags)) for one in batch.series_tags]
        dictionary += [(series.id1, series.id2, series.sensor_type) for series in batch.series]
        for index, value, delta in zip(batch.series_index, batch.sensor_value, batch.timestamp_delta_us):
            decoded.append((dictionary[index], value, batch.base_timestamp_us + delta))
        if request.source_position:
            positions.append((len(decoded), request.source_position))
    return decoded, positions


@pytest.mark.parametrize("dictionary", Dictionary)
@pytest.mark.parametrize("seed", range(10))
def test_every_form_says_what_was_pushed_in_messages_below_the_limit(dictionary, seed):
    draw = random.Random(seed)
    table = SeriesTable()
    keys = [(i, "x" * i, "temperature") for i in range(40)]
    for key in keys:
        table.intern(*key)
    # Room for a full batch of columns, so that only the dictionary or the rows need a cut.
    limit = 100 * 23 + 200
    encoder = Encoder(dictionary, limit)
    expected, marks, seq = [], [], 1
    for _ in range(draw.randint(1, 5)):
        batch = OpenBatch(seq, 100)
        count = draw.randint(1, 100)
        for _ in range(count):
            time_us = draw.choice([-(2**63), 2**63 - 1, draw.randrange(-(2**63), 2**63), draw.randrange(1_000)])
            reading = (draw.randrange(40), draw.uniform(-1e9, 1e9), time_us)
            batch.push(*reading, now=0)
            expected.append((keys[reading[0]], *reading[1:]))
            if draw.random() < 0.02:
                batch.mark(b"behind %d" % len(expected))
        sealed = batch.seal()
        if sealed.mark is not None:
            marks.append((len(expected) - count + sealed.mark.behind, sealed.mark.source_position))
        encoder.encode_batch(sealed, table)
        seq += count
    assert decode(encoder, limit + 64) == (expected, marks)


@pytest.mark.parametrize("dictionary", [Dictionary.PER_CALL, Dictionary.PER_MESSAGE])
@pytest.mark.parametrize("seed", range(10))
def test_what_is_said_of_a_series_is_told_once_in_a_call(dictionary, seed):
    draw = random.Random(seed)
    table, tags = SeriesTable(), {}
    for number in range(40):
        handle = table.intern(number, "x", "temperature")
        if draw.random() < 0.5:
            tags[number] = {f"tag{tag}": "v" * (1 + number * 5) for tag in range(number % 33)}
            table.tag(handle, tags[number])
    # Room for the largest series, and not for a full batch of columns beside it.
    limit = 5_800
    encoder = Encoder(dictionary, limit)
    sent, seq = [], 1
    for _ in range(draw.randint(1, 5)):
        batch = OpenBatch(seq, 60)
        for _ in range(draw.randint(1, 60)):
            sent.append(draw.randrange(40))
            batch.push(sent[-1], 1.0, 5, now=0)
            seq += 1
        encoder.encode_batch(batch.seal(), table)
    told = []
    decoded, _ = decode(encoder, limit + 64, told)
    assert [key[0] for key, _, _ in decoded] == sent
    # Of a call's dictionary all that stand before the last one in use are told.
    expected = range(max(sent) + 1) if dictionary is Dictionary.PER_CALL else set(sent)
    assert sorted(told, key=lambda one: one[0]) == sorted((number, tags[number]) for number in expected if number in tags)


@pytest.mark.parametrize("dictionary", [Dictionary.PER_CALL, Dictionary.PER_MESSAGE])
def test_many_tags_leave_readings_their_room(dictionary):
    table = SeriesTable()
    table.tag(table.intern(32, "x", "temperature"), {f"tag{tag}": "v" * 161 for tag in range(32)})
    encoder, batch = Encoder(dictionary, 5_800), OpenBatch(1, 60)
    for _ in range(60):
        batch.push(0, 1.0, 5, now=0)
    encoder.encode_batch(batch.seal(), table)
    told = []
    decoded, _ = decode(encoder, 5_800 + 64, told)
    assert (len(decoded), len(told)) == (60, 1)


def test_a_partial_batch_that_is_sent_again_leaves_out_a_mark_that_is_durable():
    batch = OpenBatch(1, 10)
    batch.extend(columns([0] * 5, range(5), range(5)), now=0)
    batch.mark(b"five")
    batch.extend(columns([0] * 5, range(5), range(5)), now=0)
    sealed = batch.seal()
    sealed.settle_through(5)
    assert sealed.mark.behind == 0
    sealed.settle_through(6)
    assert sealed.mark is None


# The parts.


def test_a_reading_that_does_not_fit_leaves_the_batch_as_it_was():
    batch = OpenBatch(1, 10)
    for bad in [(0, "71.5", 1), (0, 71.5, 1.5), (0, 71.5, 2**63), (-1, 71.5, 1)]:
        with pytest.raises((TypeError, OverflowError)):
            batch.push(*bad, now=0)
    batch.push(3, 71.5, 7, now=0)
    readings = batch.seal().readings
    assert (readings.series.tolist(), readings.values.tolist(), readings.timestamps_us.tolist()) == ([3], [71.5], [7])


@pytest.mark.parametrize("seed", range(10))
def test_whatever_is_acknowledged_the_rest_is_sent_again_in_order(seed):
    draw = random.Random(seed)
    start = draw.randrange(1_000)
    window, batch, held_bytes = Window(start), OpenBatch(start + 1, 20), 0
    for _ in range(50):
        for _ in range(draw.randint(1, 20)):
            batch.push(0, batch.next_seq, 0, now=0)
        sealed = batch.seal()
        held_bytes += sealed.size_bytes
        window.push(sealed)
        while window.next_unsent():
            pass
        seq = draw.randint(window.committed_seq, window.last_seq)
        held_bytes -= window.acknowledge(seq)
        assert window.committed_seq == seq
        window.rewind()
        resent = []
        while (unsent := window.next_unsent()) is not None:
            assert unsent.readings.values[0] == unsent.first_seq
            resent += unsent.readings.values.tolist()
        assert resent == list(range(seq + 1, window.last_seq + 1))
    held_bytes -= window.acknowledge(window.last_seq)
    assert window.is_empty()
    assert held_bytes == 0


def test_the_books_balance_over_a_broken_call():
    books = Books(100, 40)
    books.acknowledge(pb.StreamAck(committed=5, rejected=1), 106)
    books.acknowledge(pb.StreamAck(committed=9, rejected=1), 110)
    books.end_call()
    books.reconnect()
    books.recover(115, 43)
    books.acknowledge(pb.StreamAck(committed=4, rejected=1), 120)
    total = books.total()
    assert total.received == 20
    assert (total.committed, total.rejected, total.committed_seq, total.reconnects) == (16, 4, 120, 1)


def test_the_delay_stays_below_a_ceiling_that_doubles_up_to_the_maximum():
    backoff = Backoff(0.010, 0.035, random.Random(1))
    for ceiling_s in (0.010, 0.020, 0.035, 0.035):
        assert backoff.ceiling_s() == ceiling_s
        assert 0 <= backoff.next_delay_s() <= ceiling_s
    for _ in range(2_000):
        assert backoff.next_delay_s() <= 0.035
    backoff.reset()
    assert backoff.ceiling_s() == 0.010


def test_the_next_epoch_is_drawn_at_random_from_those_the_service_allows():
    hold = Hold(random.Random(1))
    assert hold.claim() is None
    steps = set()
    for _ in range(100):
        hold.gained(7)
        steps.add(hold.claim().next_epoch - 7)
    assert len(steps) > 90
    assert all(STEPS[0] <= step < STEPS[1] for step in steps)


def test_every_status_has_its_verdict():
    final = [code for code in Code if judge(Status(code)) is Verdict.FINAL]
    assert set(final) == {
        Code.INVALID_ARGUMENT,
        Code.NOT_FOUND,
        Code.ALREADY_EXISTS,
        Code.PERMISSION_DENIED,
        Code.UNIMPLEMENTED,
        Code.DATA_LOSS,
        Code.UNAUTHENTICATED,
    }
    assert judge(Status(Code.UNAUTHENTICATED), token_may_change=True) is Verdict.RETRY


# The machine.


def machine(position=None, **options):
    settings = Settings("http://nowhere:1", **{"stream_id": "a", "backoff_s": (1, 1), **options}).validated()
    hold = Hold(random.Random(1))
    if settings.stream_id is not None:
        position = position or pb.StreamPosition(epoch=1)
        hold.gained(position.epoch)
    return Machine(settings, hold, position, random.Random(1))


def push(made, count, now=0.0):
    first = made.inbox.next_seq
    series = made.series.intern(1, "a", "t")
    taken = made.inbox.extend(columns([series] * count, range(first, first + count), range(count)), now)
    assert taken == count


def begin_call(made, now=0.0):
    step = made.step(now)
    assert isinstance(step, Call)
    return pb.StreamReadingsRequest.FromString(step.first_message).header if step.first_message else None


def sent(made, now=0.0):
    """The values of all that the call has to send now, and what comes then."""
    values = []
    while isinstance(message := made.next_message(now), bytes):
        values += pb.StreamReadingsRequest.FromString(message).columns.sensor_value
    return values, message


def test_an_idle_producer_opens_no_call():
    made = machine()
    assert made.step(0) == Rest(None)
    push(made, 3)
    assert made.step(0.001) == Rest(0.005)
    header = begin_call(made, 0.005)
    assert (header.stream_id, header.epoch, header.first_seq) == ("a", 1, 1)
    assert sent(made, 0.005) == ([1, 2, 3], Rest(None))


def test_a_call_that_breaks_is_followed_by_another_that_sends_what_is_not_committed():
    made = machine()
    push(made, 10)
    begin_call(made, 1)
    sent(made, 1)
    made.take_ack(pb.StreamAck(committed_seq=4, committed=4), 1)
    made.call_ended(LOST, 1)
    assert made.trouble == sluicegate.Trouble("the wire is cut", persists=True)
    rest = made.step(1)
    assert 1 <= rest.until <= 2
    step = made.step(2)
    assert isinstance(step, Open)
    assert step.fresh
    assert step.request.resume.held_epoch == 1
    # Two more were committed, and nobody heard.
    made.opened(pb.StreamPosition(epoch=step.request.resume.next_epoch, committed_seq=6, rejected=1))
    header = begin_call(made, 2)
    assert (header.epoch, header.first_seq) == (step.request.resume.next_epoch, 7)
    assert sent(made, 2)[0] == [7, 8, 9, 10]
    made.take_ack(pb.StreamAck(committed_seq=10, committed=4), 2)
    assert made.progress == sluicegate.Progress(committed_seq=10, committed=9, rejected=1, reconnects=1)
    assert not made.trouble.persists


def test_an_unanswered_opening_is_asked_again_with_the_same_epoch():
    made = machine()
    push(made, 1)
    begin_call(made, 1)
    made.call_ended(LOST, 1)
    first = made.step(2).request
    made.open_failed(OpenFailure(LOST, sent=True), 2)
    assert made.step(4).request == first


def test_a_closed_machine_ends_when_everything_is_durable():
    made = machine()
    push(made, 2)
    made.inbox.ask_to_close()
    begin_call(made)
    assert sent(made) == ([1, 2], End())
    made.take_ack(pb.StreamAck(committed_seq=1, committed=1), 0)
    assert isinstance(made.step(0), Rest)
    made.take_ack(pb.StreamAck(committed_seq=2, committed=2), 0)
    made.call_ended(None, 0)
    assert made.step(0) == End()
    assert made.error is None
    assert made.progress.received == 2


def test_a_call_that_the_service_ends_with_readings_unacknowledged_is_repeated():
    made = machine()
    push(made, 2)
    made.inbox.ask_to_close()
    begin_call(made)
    sent(made)
    made.call_ended(None, 0)
    assert "left readings unacknowledged" in made.trouble.last_failure
    assert isinstance(made.step(1), Open)


def test_a_draining_call_sends_no_more_and_is_no_failure():
    made = machine()
    push(made, 2)
    begin_call(made, 1)
    sent(made, 1)
    made.take_ack(pb.StreamAck(committed_seq=2, committed=2, draining=True), 1)
    push(made, 2)
    assert made.next_message(1) == End()
    made.call_ended(None, 1)
    assert not made.trouble.persists
    step = made.step(2)
    assert isinstance(step, Open)
    assert step.fresh
    assert made.progress.reconnects == 0


def test_a_plain_call_is_ended_to_learn_what_is_durable_and_its_connection_is_kept():
    made = machine(acked=False)
    push(made, 2)
    begin_call(made, 1)
    assert sent(made, 1)[1] == Rest(None)
    assert made.inbox.ask_to_flush() == 2
    assert made.next_message(1) == End()
    made.take_summary(pb.StreamReadingsResponse(received=2, committed=2, committed_seq=2), 1)
    made.call_ended(None, 1)
    assert made.progress.committed_seq == 2
    push(made, 1, now=1)
    step = made.step(2)
    assert isinstance(step, Open)
    assert not step.fresh


def test_an_anonymous_call_counts_its_own_readings():
    made = machine(stream_id=None)
    push(made, 4)
    assert begin_call(made, 1) is None
    sent(made, 1)
    made.take_ack(pb.StreamAck(committed_seq=3, committed=3), 1)
    made.call_ended(LOST, 1)
    step = made.step(2)
    assert step.request is None
    made.opened(None)
    begin_call(made, 2)
    assert sent(made, 2)[0] == [4]
    rejected = pb.RejectedReading(seq=1, field="sensor_value", reason="bad")
    made.take_ack(pb.StreamAck(committed_seq=1, rejected=1, rejected_readings=[rejected]), 2)
    assert made.take_rejected() == [sluicegate.RejectedReading(4, "sensor_value", "bad")]


def test_a_call_that_stands_still_is_given_up_at_its_deadline_and_not_before():
    made = machine(give_up_after_s=10)
    push(made, 2)
    begin_call(made, 1)
    sent(made, 1)
    assert made.step(1) == Rest(11)
    made.take_ack(pb.StreamAck(committed_seq=1, committed=1), 5)
    assert made.step(5) == Rest(15)
    # A call that breaks after it stood still does not buy time.
    made.call_ended(LOST, 6)
    assert made.step(8).deadline == 15
    made.opened(pb.StreamPosition(epoch=made._hold.claim().next_epoch, committed_seq=1))
    begin_call(made, 9)
    assert made.step(14.9) == Rest(15)
    assert made.step(15) == End()
    assert isinstance(made.error, sluicegate.GaveUp)


def test_a_dictionary_that_is_too_large_goes_into_each_message():
    made = machine()
    push(made, 2)
    begin_call(made, 1)
    sent(made, 1)
    made.call_ended(Status(Code.RESOURCE_EXHAUSTED, "too many series"), 1)
    step = made.step(2)
    made.opened(pb.StreamPosition(epoch=step.request.resume.next_epoch))
    begin_call(made, 2)
    batch = pb.StreamReadingsRequest.FromString(made.next_message(2)).columns
    assert (batch.extend_dictionary, len(batch.series)) == (False, 1)


def test_what_is_left_of_an_ended_call_changes_nothing():
    made = machine()
    push(made, 2)
    begin_call(made, 1)
    sent(made, 1)
    number = made.call_number
    made.call_ended(LOST, 1)
    assert made.call_number != number
    made.take_ack(pb.StreamAck(committed_seq=2, committed=2), 1)
    made.call_ended(LOST, 1)
    assert made.progress == sluicegate.Progress(reconnects=1)
    assert made.next_message(1) == End()


def test_only_the_last_thousand_rejected_readings_are_kept():
    made = machine()
    push(made, 1_500)
    begin_call(made, 1)
    sent(made, 1)
    rejected = [pb.RejectedReading(seq=seq, field="f", reason="r") for seq in range(1, 1_501)]
    made.take_ack(pb.StreamAck(committed_seq=1_500, rejected=1_500, rejected_readings=rejected), 1)
    kept = made.take_rejected()
    assert (len(kept), kept[0].seq, kept[-1].seq) == (1_000, 501, 1_500)


def test_a_stream_goes_on_at_its_sources_position():
    # Of the seven that are committed the source stands behind the fifth.
    position = pb.StreamPosition(epoch=1, committed_seq=7, source_position=b"line 5", source_seq=5)
    made = machine(position, from_source_position=True)
    assert made.source_position == b"line 5"
    assert made.inbox.next_seq == 6
    push(made, 5)
    assert begin_call(made, 1).first_seq == 6
    assert sent(made, 1)[0] == [6, 7, 8, 9, 10]
    made.take_ack(pb.StreamAck(committed_seq=10, committed=3, duplicate=2, source_position=b"line 10"), 1)
    assert made.progress == sluicegate.Progress(committed_seq=10, committed=3, duplicate=2)
    assert made.source_position == b"line 10"
    made.take_ack(pb.StreamAck(committed_seq=10, committed=3, duplicate=2), 1)
    assert made.source_position == b"line 10", "a service that says nothing changes nothing"


def test_the_first_opening_gives_up_after_its_patience_and_at_once_where_another_attempt_would_end_the_same_way():
    opening = FirstOpening(Settings("http://nowhere:1", stream_id="a", connect_patience_s=7).validated(), random.Random(1), 0)
    assert opening.attempt(0).deadline == 7
    opening.failed(OpenFailure(LOST, sent=False), 1)
    with pytest.raises(sluicegate.GaveUp, match="the wire is cut"):
        opening.failed(OpenFailure(LOST, sent=False), 7)
    with pytest.raises(sluicegate.Refused, match="another token"):
        opening.failed(OpenFailure(Status(Code.UNAUTHENTICATED, "no token"), sent=True), 1)
