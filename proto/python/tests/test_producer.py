"""The producers against a model of the service that breaks calls, drains, refuses and stands still."""

import threading
import time

import grpc
import numpy as np
import pytest
from conftest import PATIENCE_S, assert_stored_once_in_order, push_numbers
from fake import seeded

import sluicegate

COUNT = 2_000


@pytest.mark.parametrize("encoding", ["columns", "rows"])
@pytest.mark.parametrize("acked", [True, False])
@pytest.mark.parametrize("break_every", [2, 3, 7])
def test_whatever_breaks_every_reading_is_stored_once_and_in_order(connect, fake, encoding, acked, break_every):
    fake.break_every = break_every
    fake.ack_every = 3 if break_every == 7 else None
    fake.max_dictionary = 10 if break_every == 3 else None
    producer = connect(
        stream_id="gateway-7",
        encoding=encoding,
        acked=acked,
        # Smaller than the total, so that acknowledgements make room, and every message fits the small dictionary.
        max_unacknowledged_bytes=20_000,
        max_batch_readings=10 if break_every == 3 else 50,
    )
    push_numbers(producer, range(COUNT // 2))
    assert producer.flush(timeout_s=PATIENCE_S) == COUNT // 2
    assert_stored_once_in_order(fake, COUNT // 2)
    push_numbers(producer, range(COUNT // 2, COUNT))
    books = producer.close(timeout_s=PATIENCE_S)
    assert_stored_once_in_order(fake, COUNT)
    assert (books.committed, books.committed_seq, books.received) == (COUNT, COUNT, COUNT)
    assert books.reconnects > 0


@pytest.mark.parametrize("seed", range(12))
def test_random_breaks_and_drains_lose_nothing_and_store_nothing_twice(connect, fake, seed):
    fake.chaos = seeded(seed)
    fake.ack_every = 1 + seed % 4
    producer = connect(stream_id="a", acked=seed % 3 != 0)
    for part in range(5):
        push_numbers(producer, range(part * 300, (part + 1) * 300))
        if part % 3 == 0:
            producer.flush(timeout_s=PATIENCE_S)
            assert_stored_once_in_order(fake, (part + 1) * 300)
    books = producer.close(timeout_s=PATIENCE_S)
    assert_stored_once_in_order(fake, 1_500)
    assert (books.received, books.duplicate) == (1_500, 0)


def test_a_draining_call_is_replaced_and_nothing_is_lost(connect, fake):
    fake.drain_every = 4
    producer = connect(stream_id="a")
    push_numbers(producer, range(3_000))
    books = producer.close(timeout_s=PATIENCE_S)
    assert_stored_once_in_order(fake, 3_000)
    assert (books.committed, books.reconnects) == (3_000, 0)
    assert fake.calls > 5


def test_a_producer_that_is_not_acknowledged_waits_at_its_limit(connect, fake):
    fake.stalled = True
    producer = connect(stream_id="a", max_unacknowledged_bytes=10_000)
    handle = producer.series(1, "a", "t")
    with pytest.raises(sluicegate.TimedOut) as caught:
        producer.push_columns(handle, np.arange(5_000), np.arange(5_000), timeout_s=0.2)
    taken = caught.value.taken
    assert 300 <= taken <= 500
    assert producer.next_seq() - 1 == taken
    with pytest.raises(sluicegate.TimedOut, match="no room"):
        producer.push(handle, 1, 1, timeout_s=0.05)
    assert producer.next_seq() - 1 == taken
    fake.stalled = False
    producer.push_columns(handle, np.arange(taken, 5_000), np.arange(taken, 5_000), timeout_s=PATIENCE_S)
    producer.close(timeout_s=PATIENCE_S)
    assert fake.values == list(range(5_000))


def test_a_partial_batch_is_sent_after_its_linger(connect):
    producer = connect(stream_id="a")
    push_numbers(producer, range(3))
    assert producer.wait_durable(3, timeout_s=PATIENCE_S) == 3
    assert producer.progress().committed == 3


@pytest.mark.parametrize("stream_id", ["a", None])
def test_a_rejected_reading_is_reported_with_its_position(connect, stream_id):
    producer = connect(**({"stream_id": stream_id} if stream_id else {}))
    push_numbers(producer, range(99))
    seq = producer.push(producer.series(1, "bad", "temperature"), float("nan"), 0)
    producer.flush(timeout_s=PATIENCE_S)
    (rejected,) = producer.take_rejected()
    assert (rejected.seq, rejected.field, rejected.reason) == (seq, "sensor_value", "not a number")
    assert producer.take_rejected() == []
    books = producer.close(timeout_s=PATIENCE_S)
    assert (books.received, books.committed, books.rejected) == (100, 99, 1)


def test_an_anonymous_producer_delivers_at_least_once(connect, fake):
    fake.break_every = 5
    producer = connect()
    push_numbers(producer, range(2_000))
    assert producer.close(timeout_s=PATIENCE_S).received == 2_000
    assert len(fake.values) > 2_000, "what was half stored came again"
    assert set(fake.values) == set(range(2_000))


def test_columns_arrive_like_single_readings(connect, fake):
    producer = connect(stream_id="a")
    handles = np.array([producer.series(i, f"sensor-{i}", "temperature") for i in range(17)])
    numbers = np.arange(1_000)
    assert producer.push_columns(handles[numbers % 17], numbers, 1_000 * numbers) == 1_000
    producer.close(timeout_s=PATIENCE_S)
    assert_stored_once_in_order(fake, 1_000)


def test_what_the_caller_writes_into_its_arrays_later_is_not_sent(connect, fake):
    fake.stalled = True
    producer = connect(stream_id="a", max_batch_readings=10_000)
    values, times = np.arange(1_000.0), np.arange(1_000)
    producer.push_columns(producer.series(1, "a", "t"), values, times)
    values[:], times[:] = -1, -1
    fake.stalled = False
    producer.close(timeout_s=PATIENCE_S)
    assert fake.values == list(range(1_000))


def test_single_readings_and_columns_keep_their_order(connect, fake):
    producer = connect(stream_id="a", max_batch_readings=64)
    handle = producer.series(1, "a", "t")
    sent = 0
    for _ in range(20):
        producer.push_all([(handle, sent + i, sent + i) for i in range(3)])
        producer.push_columns(handle, np.arange(sent + 3, sent + 50), np.arange(sent + 3, sent + 50))
        sent += 50
    producer.close(timeout_s=PATIENCE_S)
    assert fake.values == list(range(sent))


def test_a_refusal_that_would_repeat_ends_the_producer(connect, fake):
    producer = connect(stream_id="a")
    fake.refuse = grpc.StatusCode.INVALID_ARGUMENT
    push_numbers(producer, range(10))
    with pytest.raises(sluicegate.Refused) as caught:
        producer.flush(timeout_s=PATIENCE_S)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(sluicegate.Refused):
        producer.push(producer.series(1, "a", "t"), 1, 1)
    with pytest.raises(sluicegate.Refused):
        producer.close()


def test_a_position_that_stays_wrong_is_not_tried_for_ever(connect, fake):
    producer = connect(stream_id="a")
    fake.refuse = grpc.StatusCode.OUT_OF_RANGE
    push_numbers(producer, range(10))
    with pytest.raises(sluicegate.Refused):
        producer.close(timeout_s=PATIENCE_S)


def test_an_acknowledgement_of_what_was_not_sent_is_not_believed(connect, fake):
    fake.wrong_ack = 1_000_000
    producer = connect(stream_id="a")
    push_numbers(producer, range(10))
    books = producer.close(timeout_s=PATIENCE_S)
    # The call broke, and the stream knew where it stood.
    assert (books.committed, books.committed_seq) == (10, 10)
    assert books.reconnects > 0


def test_a_producer_without_progress_gives_up_after_its_deadline(connect, fake):
    producer = connect(stream_id="a", give_up_after_s=0.2)
    fake.refuse = grpc.StatusCode.UNAVAILABLE
    push_numbers(producer, range(10))
    with pytest.raises(sluicegate.GaveUp, match="refused on purpose"):
        producer.close(timeout_s=PATIENCE_S)


@pytest.mark.parametrize("acked", [True, False])
def test_a_producer_gives_up_on_a_call_that_stays_open_without_progress(connect, fake, acked):
    producer = connect(stream_id="a", acked=acked, give_up_after_s=0.3, max_unacknowledged_bytes=10_000)
    fake.stalled = True
    # More than it keeps: it is `push` that waits.
    with pytest.raises(sluicegate.GaveUp):
        push_numbers(producer, range(5_000))
    with pytest.raises(sluicegate.GaveUp):
        producer.close(timeout_s=PATIENCE_S)


@pytest.mark.parametrize("acked", [True, False])
def test_a_producer_that_goes_forward_or_has_nothing_to_send_does_not_give_up(connect, fake, acked):
    patience_s = 1
    producer = connect(stream_id="a", acked=acked, give_up_after_s=patience_s)
    push_numbers(producer, range(10))
    time.sleep(1.5 * patience_s)
    push_numbers(producer, range(10, 20))
    producer.flush(timeout_s=PATIENCE_S)
    time.sleep(1.5 * patience_s)
    count = 1_000 if acked else 20  # a plain call that is at its end and is not answered does not go forward
    fake.message_takes_s = patience_s / 10
    push_numbers(producer, range(20, count))
    assert producer.close(timeout_s=PATIENCE_S).committed == count


def test_trouble_is_told_while_it_lasts(connect, fake, caplog):
    producer = connect(stream_id="a")
    assert producer.trouble() == sluicegate.Trouble()
    fake.refuse = grpc.StatusCode.UNAVAILABLE
    push_numbers(producer, range(10))
    with pytest.raises(sluicegate.TimedOut):
        producer.flush(timeout_s=0.2)
    assert producer.trouble() == sluicegate.Trouble("refused on purpose", persists=True)
    fake.refuse = None
    producer.close(timeout_s=PATIENCE_S)
    assert producer.trouble() == sluicegate.Trouble("refused on purpose")
    assert "WARNING" in [record.levelname for record in caplog.records if record.name == "sluicegate"]


def test_a_closed_producer_takes_nothing_more(connect):
    producer = connect(stream_id="a")
    push_numbers(producer, range(10))
    books = producer.close(timeout_s=PATIENCE_S)
    assert producer.close() == books
    with pytest.raises(sluicegate.Closed, match="make another one"):
        push_numbers(producer, range(1))
    with pytest.raises(sluicegate.Closed):
        producer.flush()


def test_a_stopped_producer_goes_no_further(connect, fake):
    fake.stalled = True
    producer = connect(stream_id="a")
    push_numbers(producer, range(10))
    producer.stop()
    with pytest.raises(sluicegate.Stopped):
        push_numbers(producer, range(1))
    with pytest.raises(sluicegate.Stopped):
        producer.close()


def test_many_threads_may_push_into_one_producer(fake):
    with sluicegate.Producer.connect(fake.target, stream_id="a", max_batch_readings=50) as producer:
        handle = producer.series(1, "a", "t")

        def push(first):
            for number in range(first, first + 500):
                producer.push(handle, number, number)

        threads = [threading.Thread(target=push, args=(500 * i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(fake.values) == list(range(2_000))


def test_an_exception_in_a_with_block_stops_the_producer_at_once(fake):
    fake.stalled = True
    begun = time.monotonic()

    def interrupted():
        with sluicegate.Producer.connect(fake.target, stream_id="a") as producer:
            producer.push(producer.series(1, "a", "t"), 1, 1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - begun < 10
