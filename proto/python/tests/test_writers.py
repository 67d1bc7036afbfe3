"""Who holds a stream, and whose readings are in it."""

import time

import grpc
import pytest
from conftest import PATIENCE_S, assert_stored_once_in_order, push_numbers
from fake import SILENT, CommittedUnseen, OtherWriter, Unanswered

import sluicegate

Code = grpc.StatusCode
AT_ONCE, LATE = Unanswered.AT_ONCE, Unanswered.LATE


@pytest.fixture
def connect_soon(connect):
    """A producer that asks again soon when opening its stream goes unanswered."""
    return lambda: connect(stream_id="a", connect_timeout_s=0.5, give_up_after_s=PATIENCE_S)


def test_a_second_writer_fences_the_first(connect, fake):
    first = connect(stream_id="a")
    push_numbers(first, range(100))
    first.flush(timeout_s=PATIENCE_S)
    second = connect(stream_id="a")
    assert second.next_seq() == 101
    push_numbers(first, range(100, 150))
    with pytest.raises(sluicegate.Fenced, match="another writer has taken over the stream 'a'"):
        first.flush(timeout_s=PATIENCE_S)
    with pytest.raises(sluicegate.Fenced):
        push_numbers(first, range(150, 151))
    push_numbers(second, range(100, 200))
    assert second.close(timeout_s=PATIENCE_S).committed == 100
    assert_stored_once_in_order(fake, 200)


def test_a_writer_that_comes_back_to_a_moved_stream_is_fenced(connect, fake):
    producer = connect(stream_id="a")
    push_numbers(producer, range(10))
    producer.flush(timeout_s=PATIENCE_S)
    with fake.lock:
        fake.streams["a"].committed_seq += 1_000
        fake.break_every = 1
    push_numbers(producer, range(10, 20))
    with pytest.raises(sluicegate.Fenced):
        producer.close(timeout_s=PATIENCE_S)


@pytest.mark.parametrize("code", [Code.ABORTED, Code.UNAVAILABLE, SILENT])
def test_a_writer_does_not_claim_what_another_one_committed_meanwhile(connect, fake, code):
    producer = connect(stream_id="a")
    push_numbers(producer, range(10))
    producer.flush(timeout_s=PATIENCE_S)
    # Nobody listens for a while, so that no request to open the stream even goes out.
    fake.stop()
    fake.incident = CommittedUnseen(Code.UNAVAILABLE)
    push_numbers(producer, range(10, 20))
    time.sleep(0.1)
    fake.start()
    producer.flush(timeout_s=PATIENCE_S)
    assert_stored_once_in_order(fake, 20)

    fake.incident = OtherWriter(commits=5, code=code)
    push_numbers(producer, range(20, 30))
    with pytest.raises(sluicegate.Fenced):  # its own readings 20 to 24 are not stored
        producer.close(timeout_s=PATIENCE_S)
    assert producer.progress().committed_seq == 20


def test_a_writer_that_comes_back_does_not_disturb_the_one_that_took_over(connect, fake):
    first = connect(stream_id="a")
    push_numbers(first, range(10))
    first.flush(timeout_s=PATIENCE_S)
    # The connection of the first one breaks, and it opens the stream again.
    fake.incident = OtherWriter(commits=0, code=Code.UNAVAILABLE)
    push_numbers(first, range(10, 20))
    with pytest.raises(sluicegate.Fenced):
        first.flush(timeout_s=PATIENCE_S)
    taken_over = fake.streams["a"].epoch
    second = connect(stream_id="a")
    assert fake.streams["a"].epoch == taken_over + 1
    push_numbers(second, range(10, 30))
    assert second.close(timeout_s=PATIENCE_S).committed == 20
    assert_stored_once_in_order(fake, 30)


@pytest.mark.parametrize("unanswered", [[], [AT_ONCE], [LATE, AT_ONCE], [AT_ONCE, LATE, LATE]])
def test_what_was_committed_unseen_is_known_however_often_opening_goes_unanswered(connect_soon, fake, unanswered):
    producer = connect_soon()
    push_numbers(producer, range(10))
    producer.flush(timeout_s=PATIENCE_S)
    with fake.lock:
        fake.unanswered_opens.extend(unanswered)
        fake.incident = CommittedUnseen(Code.UNAVAILABLE)
    push_numbers(producer, range(10, 30))
    books = producer.close(timeout_s=PATIENCE_S)
    assert (books.committed, books.duplicate) == (30, 0)
    assert not fake.unanswered_opens
    assert_stored_once_in_order(fake, 30)


def test_an_open_that_takes_effect_late_does_not_fence_its_own_producer(connect_soon, fake):
    fake.unanswered_opens.extend([LATE] * 2)
    producer = connect_soon()
    opened = fake.streams["a"].epoch
    push_numbers(producer, range(100))
    assert producer.close(timeout_s=PATIENCE_S).committed == 100
    assert fake.streams["a"].epoch >= opened + 3
    assert_stored_once_in_order(fake, 100)


def test_after_an_open_that_went_unanswered_nothing_of_another_writer_is_claimed(connect_soon, fake):
    fake.unanswered_opens.append(AT_ONCE)
    producer = connect_soon()
    fake.incident = OtherWriter(commits=5, code=Code.ABORTED)
    push_numbers(producer, range(10))
    with pytest.raises(sluicegate.Fenced):
        producer.close(timeout_s=PATIENCE_S)


@pytest.mark.parametrize("forgets_the_stream", [False, True])
def test_a_service_that_lost_acknowledged_readings_is_called_out(connect, fake, forgets_the_stream):
    producer = connect(stream_id="a")
    push_numbers(producer, range(10))
    producer.flush(timeout_s=PATIENCE_S)
    with fake.lock:
        if forgets_the_stream:
            fake.streams.clear()
        else:
            fake.streams["a"].committed_seq = 3
    push_numbers(producer, range(10, 20))
    with pytest.raises(sluicegate.PositionLost) as caught:
        producer.close(timeout_s=PATIENCE_S)
    assert (caught.value.acknowledged, caught.value.found) == (10, 0 if forgets_the_stream else 3)
