"""Positions in the producer's source: they go with the readings, and a new producer goes on there."""

import grpc
import numpy as np
import pytest
from conftest import PATIENCE_S
from fake import seeded

import sluicegate


def source(first, count=7_000):
    """A source whose items are one reading, or none: every third is left out."""
    return [(number, None if number % 3 == 0 else float(number)) for number in range(first, count)]


def position_of(number):
    return b"item %d" % number


def follow(producer, count=7_000):
    """Reads the source from where the stream stands in it."""
    known = producer.source_position()
    first = 0 if known is None else int(known.split()[1]) + 1
    handle = producer.series(1, "a", "t")
    for number, value in source(first, count):
        if value is None:
            producer.mark_source_position(position_of(number))
        else:
            producer.push_with_position(handle, value, number, position_of(number))


def test_a_source_with_gaps_is_stored_exactly_once_over_producers_that_stop_anywhere(connect, fake):
    expected = [value for _, value in source(0) if value is not None]
    for seed in range(6):
        fake.chaos = seeded(seed)
        producer = connect(stream_id="a", from_source_position=True, max_batch_readings=97)
        follow(producer, 1_000 * (seed + 1))
        producer.stop()
    fake.chaos = None
    producer = connect(stream_id="a", from_source_position=True)
    follow(producer)
    producer.close(timeout_s=PATIENCE_S)
    assert fake.values == expected
    # The last item is left out: what is told behind the last reading travels with the next one.
    assert fake.streams["a"].source_position in (position_of(6_998), position_of(6_999))


def test_the_position_that_is_durable_is_told(connect):
    producer = connect(stream_id="a")
    assert producer.source_position() is None
    handle = producer.series(1, "a", "t")
    producer.push_with_position(handle, np.arange(50), np.arange(50), b"fifty")
    producer.flush(timeout_s=PATIENCE_S)
    assert producer.source_position() == b"fifty"
    producer.push_columns(handle, np.arange(10), np.arange(10))
    producer.flush(timeout_s=PATIENCE_S)
    assert producer.source_position() == b"fifty"
    producer.mark_source_position(b"sixty")
    producer.push_columns(handle, np.arange(10), np.arange(10))
    producer.close(timeout_s=PATIENCE_S)
    again = connect(stream_id="a")
    assert again.source_position() == b"sixty"
    assert again.next_seq() == 71
    from_source = connect(stream_id="a", from_source_position=True)
    assert from_source.next_seq() == 61


@pytest.mark.parametrize(
    ("position", "says"), [(b"", "0 bytes"), (b"x" * 1_025, "1,025|1025 bytes"), ("text", "encode")], ids=["0", "1025", "text"]
)
def test_a_position_that_is_none_is_refused_and_nothing_is_taken(connect, position, says):
    producer = connect(stream_id="a")
    with pytest.raises(sluicegate.InvalidReadings, match=says):
        producer.push_with_position(producer.series(1, "a", "t"), 1, 1, position)
    with pytest.raises(sluicegate.InvalidReadings, match=says):
        producer.mark_source_position(position)
    assert producer.next_seq() == 1


def test_an_anonymous_producer_has_no_position(connect):
    producer = connect()
    with pytest.raises(sluicegate.InvalidReadings, match="connect with stream_id"):
        producer.push_with_position(producer.series(1, "a", "t"), 1, 1, b"a")


def test_what_is_there_already_is_counted_as_duplicate(connect, fake):
    producer = connect(stream_id="a")
    handle = producer.series(1, "a", "t")
    producer.push_with_position(handle, np.arange(40), np.arange(40), b"forty")
    producer.push_columns(handle, np.arange(40, 50), np.arange(40, 50))
    producer.close(timeout_s=PATIENCE_S)
    # The source stands behind forty, and ten more are committed. A call breaks meanwhile.
    again = connect(stream_id="a", from_source_position=True, max_batch_readings=3)
    fake.refuse = grpc.StatusCode.UNAVAILABLE
    again.push_columns(again.series(1, "a", "t"), np.arange(40, 60), np.arange(40, 60))
    with pytest.raises(sluicegate.TimedOut):
        again.wait_durable(60, timeout_s=0.1)
    fake.refuse = None
    books = again.close(timeout_s=PATIENCE_S)
    assert (books.committed, books.committed_seq) == (10, 60)
    assert fake.values == list(range(60))
