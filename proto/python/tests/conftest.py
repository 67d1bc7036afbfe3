import faulthandler

import pytest
from fake import Fake
from variants import Connector

PATIENCE_S = 60
"""Far more than anything here takes."""


@pytest.fixture(autouse=True)
def _patience():
    """A test that hangs says where."""
    faulthandler.dump_traceback_later(PATIENCE_S * 4, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(params=["threads", "asyncio"])
def connect_to(request):
    """Connects a producer of this kind to any target."""
    connector = Connector(request.param)
    yield connector
    connector.end()


@pytest.fixture
def fake():
    model = Fake()
    yield model
    model.stalled = False
    model.stop()


@pytest.fixture
def connect(connect_to, fake):
    """Connects a producer to the model, with waits that suit a test."""

    def connected(**options):
        given = {"backoff_s": (0.001, 0.01), "max_batch_readings": 50, **options}
        return connect_to(given.pop("target", fake.target), **given)

    return connected


def push_numbers(producer, numbers):
    """Pushes readings whose value is their number, over 17 series."""
    handles = [producer.series(i, f"sensor-{i}", "temperature") for i in range(17)]
    first = producer.next_seq()
    seqs = producer.push_all([(handles[number % 17], number, 1_000 * number) for number in numbers])
    assert seqs == list(range(first, first + len(seqs)))


def assert_stored_once_in_order(fake, count):
    with fake.lock:
        stored = list(fake.stored)
    assert [reading.value for reading in stored] == list(range(count))
    for number, reading in enumerate(stored):
        assert reading.series == (number % 17, f"sensor-{number % 17}", "temperature")
        assert reading.timestamp_us == 1_000 * number
